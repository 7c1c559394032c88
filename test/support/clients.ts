/**
 * The package managers people use, at exact versions, run for real: each with a home, a cache and
 * a project of its own. They are installed once from the npm registry into a shared folder of the
 * system's temporary directory; where that registry cannot be reached, tests skip and say so.
 *
 * Release age: the test registry dates its releases far enough back for every client's own age
 * gate (24 hours in pnpm 11 and 12), so those gates stay at their defaults.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installOnce, type Installed, type NotInstalled } from './install.ts'
import { bareEnv, runCommand, type Run, type RunOptions } from './run.ts'

export { runCommand, type Run } from './run.ts'

export const clientNames = [
  'npm11',
  'npm12',
  'pnpm10',
  'pnpm11',
  'pnpm12',
  'yarn1',
  'yarn4',
  'bun',
  'deno',
] as const

export type ClientName = (typeof clientNames)[number]

const specs: Readonly<Record<ClientName, string>> = {
  npm11: 'npm:npm@11.21.0',
  npm12: 'npm:npm@12.2.0',
  pnpm10: 'npm:pnpm@10.34.9',
  pnpm11: 'npm:pnpm@11.28.11',
  pnpm12: 'npm:pnpm@12.21.0',
  yarn1: 'npm:yarn@1.22.22',
  yarn4: 'npm:@yarnpkg/cli-dist@4.18.1',
  bun: '1.4.5',
  deno: '2.9.6',
}

export type Clients = Installed

/** Installs them where that was not done before. Safe when several processes try at once. */
export const installClients = (): Promise<Clients | NotInstalled> =>
  installOnce('clients', { dependencies: specs })

/** The program that a client's package brings for this platform, in `@scope/name-*`. */
const binary = async (folder: string, scope: string, name: RegExp, path: string) => {
  const scoped = join(folder, 'node_modules', scope)
  const names: string[] = await readdir(scoped).catch(() => [])
  const found = names.filter(n => name.test(n)).toSorted()
  const file = found.map(n => join(scoped, n, path)).find(existsSync)
  if (file === undefined) throw new Error(`no ${scope} program for this platform`)
  return [file] as const
}

const commandOf = async (
  client: ClientName,
  folder: string,
): Promise<readonly [string, ...string[]]> => {
  const script = (...path: string[]) =>
    [process.execPath, join(folder, 'node_modules', client, ...path)] as const
  switch (client) {
    case 'npm11':
    case 'npm12':
      return script('bin', 'npm-cli.js')
    case 'pnpm10':
      return script('bin', 'pnpm.cjs')
    case 'pnpm11':
      return script('bin', 'pnpm.mjs')
    case 'pnpm12':
      return binary(folder, '@pnpm', /^exe\./, 'pnpm')
    case 'yarn1':
    case 'yarn4':
      return script('bin', 'yarn.js')
    case 'bun':
      return binary(folder, '@oven', /^bun-/, join('bin', 'bun'))
    case 'deno':
      return binary(folder, '@deno', /./, 'deno')
  }
}

const yarn4Settings = (registry: string) =>
  [
    `npmRegistryServer: ${JSON.stringify(registry)}`,
    'unsafeHttpWhitelist: ["127.0.0.1"]',
    'nodeLinker: node-modules',
    'enableGlobalCache: false',
    'enableTelemetry: false',
    'enableProgressBars: false',
    '',
  ].join('\n')

/** Its registry setting goes where its users put it; update checks and retries are off. */
const clientEnv = (client: ClientName, home: string): NodeJS.ProcessEnv => ({
  ...bareEnv(home),
  ...(client.startsWith('npm')
    ? { npm_config_update_notifier: 'false', npm_config_fetch_retries: '0' }
    : {}),
  ...(client === 'pnpm10' ? { npm_config_fetch_retries: '0' } : {}),
  ...(client.startsWith('pnpm') ? { pnpm_config_fetch_retries: '0' } : {}),
  ...(client === 'yarn1' ? { YARN_CACHE_FOLDER: join(home, 'yarn') } : {}),
  ...(client === 'bun' ? { BUN_INSTALL: join(home, 'bun') } : {}),
  ...(client === 'deno' ? { DENO_DIR: join(home, 'deno'), DENO_NO_UPDATE_CHECK: '1' } : {}),
})

const installArgs: Readonly<Record<ClientName, { any: string[]; frozen: string[] }>> = {
  npm11: { any: ['install'], frozen: ['ci'] },
  npm12: { any: ['install'], frozen: ['ci'] },
  pnpm10: {
    any: ['install', '--no-frozen-lockfile'],
    frozen: ['install', '--frozen-lockfile'],
  },
  pnpm11: {
    any: ['install', '--no-frozen-lockfile'],
    frozen: ['install', '--frozen-lockfile'],
  },
  pnpm12: {
    any: ['install', '--no-frozen-lockfile'],
    frozen: ['install', '--frozen-lockfile'],
  },
  yarn1: { any: ['install'], frozen: ['install', '--frozen-lockfile'] },
  yarn4: { any: ['install', '--no-immutable'], frozen: ['install', '--immutable'] },
  bun: { any: ['install'], frozen: ['install', '--frozen-lockfile'] },
  deno: { any: ['install'], frozen: ['install', '--frozen'] },
}

/** Every package below node_modules as `name@version`, sorted. */
export const installedIn = async (cwd: string): Promise<readonly string[]> => {
  const found = new Set<string>()
  const visit = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      // links lead to packages that are met at their own place
      if (!entry.isDirectory()) continue
      const path = join(folder, entry.name)
      const manifest = join(path, 'package.json')
      const inModules = /[\\/]node_modules([\\/]@[^\\/]+)?$/.test(folder)
      if (inModules && existsSync(manifest)) {
        const { name, version } = JSON.parse(await readFile(manifest, 'utf8')) as {
          name?: string
          version?: string
        }
        if (name !== undefined && version !== undefined) found.add(`${name}@${version}`)
      }
      await visit(path)
    }
  }
  await visit(join(cwd, 'node_modules'))
  return [...found].toSorted()
}

export type Project = {
  readonly cwd: string
  /** Resolves and installs, as after a change of package.json. */
  install(): Promise<Run>
  /** Installs what the lockfile says, from empty caches and an empty node_modules. */
  installFrozen(): Promise<Run>
  /** Any other command; some ask their questions only where there is a terminal. */
  run(
    args: readonly string[],
    answers?: RunOptions['answers'],
    options?: { readonly terminal: boolean },
  ): Promise<Run>
  /** Another program of the same kind, by its file, with everything else the same. */
  runScript(file: string, args: readonly string[]): Promise<Run>
  setDependencies(dependencies: Readonly<Record<string, string>>): Promise<void>
  installed(): Promise<readonly string[]>
  remove(): Promise<void>
}

/** `script` of util-linux gives a program a terminal; others of that name take other arguments. */
export const hasTerminals = (): boolean =>
  spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0

const onTerminal = (
  wanted: boolean,
  command: string,
  args: readonly string[],
): readonly [string, readonly string[]] => {
  if (!wanted) return [command, args]
  const quoted = [command, ...args].map(word => `'${word.replaceAll("'", `'\\''`)}'`)
  return ['script', ['-qec', quoted.join(' '), '/dev/null']]
}

/** A project in a fresh folder whose settings name `registry`. */
export const openProject = async (
  { folder }: Clients,
  client: ClientName,
  registry: string,
  dependencies: Readonly<Record<string, string>> = {},
): Promise<Project> => {
  const root = await mkdtemp(join(tmpdir(), 'attestry-project-'))
  const cwd = join(root, 'project')
  const command = await commandOf(client, folder)
  let home = join(root, 'home')
  const newHome = async () => {
    await mkdir(home, { recursive: true })
  }
  const setDependencies = (wanted: Readonly<Record<string, string>>) =>
    writeFile(
      join(cwd, 'package.json'),
      JSON.stringify({
        name: 'project',
        version: '1.0.0',
        private: true,
        dependencies: wanted,
      }),
    )
  await mkdir(cwd)
  await newHome()
  await setDependencies(dependencies)
  await writeFile(join(cwd, '.npmrc'), `registry=${registry}\n`)
  if (client === 'yarn4') {
    await writeFile(join(cwd, '.yarnrc.yml'), yarn4Settings(registry))
    await writeFile(join(cwd, 'yarn.lock'), '')
  }
  const run = (
    [first, ...own]: readonly [string, ...string[]],
    args: readonly string[],
    answers?: RunOptions['answers'],
    { terminal } = { terminal: false },
  ) =>
    runCommand(...onTerminal(terminal, first, [...own, ...args]), {
      cwd,
      env: clientEnv(client, home),
      timeout: 60_000,
      ...(answers && { answers }),
      ...(terminal && { hesitation: 500 }),
    })
  return {
    cwd,
    install: () => run(command, installArgs[client].any),
    installFrozen: async () => {
      home = join(root, `home-${Date.now()}`)
      await newHome()
      for (const leftover of ['node_modules', '.yarn']) {
        await rm(join(cwd, leftover), { recursive: true, force: true })
      }
      return run(command, installArgs[client].frozen)
    },
    run: (args, answers, options) => run(command, args, answers, options),
    runScript: (file, args) => run([process.execPath, file], args),
    setDependencies,
    installed: () => installedIn(cwd),
    remove: () => rm(root, { recursive: true, force: true, maxRetries: 3 }),
  }
}

const lockfiles = [
  'package-lock.json',
  'pnpm-lock.yaml',
  'yarn.lock',
  'bun.lock',
  'deno.lock',
  '.npmrc',
  '.yarnrc.yml',
]

/** The project as its next clone would find it when `to` answers where `from` did. */
export const moveRegistry = async ({ cwd }: Pick<Project, 'cwd'>, from: string, to: string) => {
  for (const name of lockfiles) {
    const file = join(cwd, name)
    const text = await readFile(file, 'utf8').catch(() => undefined)
    if (text !== undefined) await writeFile(file, text.replaceAll(from, to))
  }
}
