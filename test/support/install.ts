/** Programs from the npm registry that tests run: installed once, into the system's temporary folder. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from './run.ts'

export type Installed = {
  readonly kind: 'ready'
  /** Its node_modules holds them. */
  readonly folder: string
}

export type NotInstalled = { readonly kind: 'missing'; readonly reason: string }

/** Safe when several processes try at once; where the registry cannot be reached it says why. */
export const installOnce = async (
  what: string,
  manifest: {
    readonly dependencies: Readonly<Record<string, string>>
    readonly overrides?: Readonly<Record<string, string>>
  },
): Promise<Installed | NotInstalled> => {
  const key = createHash('sha256')
    .update(JSON.stringify([...Object.values(manifest), process.platform, process.arch]))
    .digest('hex')
    .slice(0, 12)
  const folder = join(tmpdir(), `attestry-${what.replaceAll(' ', '-')}-${key}`)
  if (existsSync(join(folder, 'node_modules'))) return { kind: 'ready', folder }
  const staging = await mkdtemp(`${folder}-`)
  try {
    await writeFile(
      join(staging, 'package.json'),
      JSON.stringify({ private: true, ...manifest }),
    )
    const args =
      'install --ignore-scripts --no-audit --no-fund --no-bin-links --no-package-lock'
    // with the settings of this process: only they know how the registry is reached
    const retries = {
      npm_config_fetch_retry_mintimeout: '500',
      npm_config_fetch_retry_maxtimeout: '2000',
    }
    const run = await runCommand('npm', args.split(' '), {
      cwd: staging,
      env: { ...process.env, ...retries },
      timeout: 150_000,
    })
    if (run.code !== 0) {
      const lines = run.stderr.split('\n').filter(line => line.startsWith('npm error'))
      const why = lines.slice(0, 3).join('; ') || 'npm did not end in time'
      return { kind: 'missing', reason: `${what} could not be installed: ${why}` }
    }
    try {
      await rename(staging, folder)
    } catch {
      // somebody else was quicker: theirs is the same
      if (!existsSync(join(folder, 'node_modules'))) throw new Error(`cannot create ${folder}`)
    }
    return { kind: 'ready', folder }
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}
