/**
 * One client's way through the scenarios: what it did in each, as its user sees it. Scenarios that
 * can share a run of the client do, because runs are what takes time.
 */
import { appendFile, cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  hasTerminals,
  moveRegistry,
  openProject,
  type ClientName,
  type Clients,
  type Project,
} from '../../support/clients.ts'
import type { Json } from '../../support/json.ts'
import type { Run } from '../../support/run.ts'
import type { Scenario } from './scenarios.ts'
import type { World } from './world.ts'

/** What a client did. */
export type Seen = Pick<Run, 'code' | 'output'> & {
  readonly installed: readonly string[]
}

export type Journey = {
  /** A text says what is not on this machine. */
  readonly seen: (scenario: Scenario) => Promise<Seen | string>
  readonly close: () => Promise<void>
}

const password = 'correct horse battery staple'

export const auditArgs = (client: ClientName): readonly string[] =>
  // yarn 4 looks for deprecations as well, and breaks off at a version the registry does not show
  client === 'yarn4' ? ['npm', 'audit', '--all', '--recursive', '--no-deprecations'] : ['audit']

export const publishArgs = (client: ClientName): readonly string[] => {
  if (client === 'yarn4') return ['npm', 'publish']
  if (client === 'yarn1') return ['publish', '--non-interactive', '--no-git-tag-version']
  return client.startsWith('pnpm') ? ['publish', '--no-git-checks'] : ['publish']
}

export const loginArgs = (client: ClientName): readonly string[] =>
  client === 'yarn4'
    ? ['npm', 'login']
    : client === 'pnpm11' || client === 'pnpm12'
      ? ['login']
      : ['login', '--auth-type=legacy']

const whoamiArgs = (client: ClientName): readonly string[] =>
  client === 'yarn4' ? ['npm', 'whoami'] : ['whoami']

/** yarn 1 audits at one registry whatever it is told, and it is not that of its settings. */
const patchedYarn = async (folder: string, to: string, url: string): Promise<string> => {
  await cp(join(folder, 'node_modules', 'yarn1'), to, { recursive: true })
  const source = join(to, 'lib', 'cli.js')
  const text = await readFile(source, 'utf8')
  const patched = text.replace(
    /(YARN_REGISTRY = exports\.YARN_REGISTRY = )'[^']+'/,
    (_, start: string) => `${start}${JSON.stringify(url.replace(/\/$/, ''))}`,
  )
  if (patched === text) throw new Error('yarn 1 is not as it was')
  await writeFile(source, patched)
  return join(to, 'bin', 'yarn.js')
}

/** Gives the client a token for `url`, where its users put it. */
const bringToken = async (client: ClientName, { cwd }: Project, url: string, token: string) => {
  const host = url.replace('http:', '')
  await appendFile(join(cwd, '.npmrc'), `${host}:_authToken=${token}\nalways-auth=true\n`)
  if (client === 'yarn4')
    await appendFile(join(cwd, '.yarnrc.yml'), `npmAuthToken: ${JSON.stringify(token)}\n`)
}

const makeUser = async (url: string, name: string): Promise<string> => {
  const answer = await fetch(`${url}-/user/org.couchdb.user:${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name, password }),
  })
  if (answer.status !== 201) throw new Error(`no user: ${answer.status}`)
  return ((await answer.json()) as { token: string }).token
}

export const openJourney = (clients: Clients, client: ClientName, world: World): Journey => {
  const { proxy, earlier, verdaccio } = world
  const open: Project[] = []
  const once = new Map<string, Promise<unknown>>()
  /** The same run for all that want it. */
  const shared = <T>(key: string, run: () => Promise<T>): Promise<T> => {
    const made = once.get(key) ?? run()
    once.set(key, made)
    return made as Promise<T>
  }
  const project = async (wanted: Readonly<Record<string, string>>, url = proxy.url) => {
    const made = await openProject(clients, client, url, wanted)
    open.push(made)
    return made
  }
  const tell = async (made: Project, run: Promise<Run>): Promise<Seen> => {
    const { code, output } = await run
    return { code, output, installed: await made.installed() }
  }
  const installing = async (wanted: Readonly<Record<string, string>>) => {
    const made = await project(wanted)
    return tell(made, made.install())
  }

  /** What differs between clients and between runs, taken out. */
  const plain = (text: string) =>
    text
      .replaceAll('\r', '')
      .replaceAll(proxy.url, 'http://127.0.0.1:4877/')
      .replaceAll(proxy.url.slice(0, -1), 'http://127.0.0.1:4877')
      // pnpm 12 breaks lines also within addresses
      .replaceAll(/(http:\S*[-/])\n +(?=\S*\.tgz)/g, '$1')
      .replaceAll(/\b(forged|mine|user)-(np|pnp|yarn|bun|deno)m?\d*/g, '$1')
      // yarn 4 numbers sets of peers
      .replaceAll(/\(p[0-9a-f]{6}\)/g, '(p…)')
      .replaceAll(/\b[\d.]+ ?m?s\b/g, 'a moment')

  const tree = () =>
    shared('tree', async () => {
      const made = await project({
        app: '^1.0.0',
        leaf: '1.0.0',
        '@acme/lib': '~1.0.0',
        tagged: 'next',
        host: '1.0.0',
        widget: '^1.0.0',
        banned: 'latest',
      })
      return { made, fresh: await tell(made, made.install()) }
    })
  /** A project whose lockfile and node_modules hold what has been refused since. */
  const locked = () =>
    shared('locked', async () => {
      const made = await project({ banned: '1.1.0', leaf: '1.0.0' }, earlier.url)
      const before = await made.install()
      if (before.code !== 0) throw new Error(before.output)
      await moveRegistry(made, earlier.url, proxy.url)
      return made
    })
  const auditing = async (made: Project): Promise<Seen> => {
    const args = auditArgs(client)
    if (client !== 'yarn1') return tell(made, made.run(args))
    const yarn = await shared('yarn', () =>
      patchedYarn(clients.folder, join(made.cwd, '..', 'yarn'), proxy.url),
    )
    return tell(made, made.runScript(yarn, args))
  }

  const publishing = async (): Promise<Seen | string> => {
    if ('missing' in verdaccio) return verdaccio.missing
    const name = `@private/mine-${client}`
    const made = await project({})
    const manifest = { name, version: '1.0.0', license: 'MIT' }
    await writeFile(join(made.cwd, 'package.json'), JSON.stringify(manifest))
    await bringToken(client, made, proxy.url, await makeUser(proxy.url, `publisher-${client}`))
    if (client === 'yarn4') await made.install()
    const { code, output } = await made.run(publishArgs(client))
    // what counts is that it is there, and comes back through Attestry
    const there = await fetch(`${verdaccio.url}@private%2fmine-${client}/1.0.0`)
    const back = await fetch(`${proxy.url}@private/mine-${client}/-/mine-${client}-1.0.0.tgz`)
    const shown = (await (
      await fetch(`${proxy.url}@private%2fmine-${client}/1.0.0`)
    ).json()) as Json
    if (shown['dist']?.signatures?.length !== 1) throw new Error(`${name} is not signed`)
    const arrived = there.status === 200 && back.status === 200
    return { code, output, installed: arrived ? [`${name}@1.0.0`] : [] }
  }

  const loggingIn = async (): Promise<Seen | string> => {
    if ('missing' in verdaccio) return verdaccio.missing
    const terminal = client === 'pnpm11' || client === 'pnpm12'
    if (terminal && !hasTerminals())
      return 'there is no script of util-linux to make a terminal'
    const name = `user-${client}`
    await makeUser(proxy.url, name)
    const made = await project({})
    const answers = [
      [/name:[^]{0,90}$/i, name],
      [/password:[^]{0,90}$/i, password],
      [/email[^]{0,90}$/i, `${name}@acme.example`],
    ] as const
    const { code, output } = await made.run(loginArgs(client), answers, { terminal })
    const who = await made.run(whoamiArgs(client))
    const known = who.code === 0 && who.output.includes(name)
    return { code: known ? code : (who.code ?? 1), output, installed: [] }
  }

  const runs: Readonly<Record<Scenario, () => Promise<Seen | string>>> = {
    range: async () => (await tree()).fresh,
    exact: async () => (await tree()).fresh,
    scoped: async () => (await tree()).fresh,
    tag: async () => (await tree()).fresh,
    optional: async () => (await tree()).fresh,
    peer: async () => (await tree()).fresh,
    older: async () => (await tree()).fresh,
    latest: async () => (await tree()).fresh,
    frozen: async () => {
      const { made } = await tree()
      return tell(made, made.installFrozen())
    },
    pinned: () => installing({ widget: '1.1.0' }),
    all: () => installing({ outlaw: '^1.0.0' }),
    tarball: () => installing({ [`forged-${client}`]: '1.0.0' }),
    'optional refused': () => installing({ tolerant: '1.0.0' }),
    audit: async () => auditing(await locked()),
    'clean audit': async () => auditing((await tree()).made),
    locked: async () => {
      const made = await locked()
      return tell(made, made.installFrozen())
    },
    publish: publishing,
    login: loggingIn,
  }

  return {
    seen: async scenario => {
      const seen = await runs[scenario]()
      if (typeof seen === 'string') return seen
      const { code, output, installed } = seen
      return { code, output: plain(output), installed: installed.map(plain) }
    },
    close: async () => {
      for (const made of open) await made.remove()
    },
  }
}
