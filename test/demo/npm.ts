/** The npm that is already on this machine, run by the Node that runs us. */
import { existsSync, realpathSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { installedIn, runCommand, type Run } from '../support/clients.ts'

const script = 'npm-cli.js'

/**
 * npm's script: the one that runs us (`npm run`), else the first on the PATH. Not by name, since
 * what lies on the PATH may be a link, a shell script or a .cmd file.
 */
export const findNpm = (env: NodeJS.ProcessEnv): string | undefined => {
  const running = env.npm_execpath
  if (running !== undefined && basename(running) === script && existsSync(running))
    return running
  const beside = ['node_modules', '../lib/node_modules', '../share/nodejs', '../share']
  for (const folder of [...(env.PATH ?? '').split(delimiter), dirname(process.execPath)]) {
    if (folder === '' || !existsSync(folder)) continue
    const link = join(folder, 'npm')
    const target = existsSync(link) ? realpathSync(link) : ''
    const candidates = [target, ...beside.map(way => join(folder, way, 'npm', 'bin', script))]
    const found = candidates.find(file => basename(file) === script && existsSync(file))
    if (found !== undefined) return found
  }
  return undefined
}

export type Install = {
  readonly run: Run
  /** What lies in node_modules afterwards, as `name@version`. */
  readonly installed: readonly string[]
}

/** `npm install <spec>` in an empty project with an empty cache, which goes away afterwards. */
export const npmInstall = async (
  npm: string,
  registry: string,
  spec: string,
): Promise<Install> => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-demo-'))
  try {
    await writeFile(join(folder, 'package.json'), '{ "private": true }\n')
    const env = {
      PATH: process.env.PATH,
      SystemRoot: process.env.SystemRoot,
      TMPDIR: folder,
      HOME: folder,
      USERPROFILE: folder,
      npm_config_registry: registry,
      npm_config_cache: join(folder, 'cache'),
      npm_config_update_notifier: 'false',
      npm_config_fund: 'false',
      npm_config_fetch_retries: '0',
      NO_COLOR: '1',
    }
    const args = [npm, 'install', '--ignore-scripts', spec]
    const run = await runCommand(process.execPath, args, { cwd: folder, env, timeout: 60_000 })
    return { run, installed: await installedIn(folder) }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
