/** The lines for each package manager, and that the real ones go by them. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { clientLines, fileText, type NpmrcClient } from '../../lib/cli/npmrc/lines.ts'
import {
  clientNames,
  installClients,
  openProject,
  type ClientName,
  type Project,
} from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry, type TestRegistry } from '../support/registry.ts'
import { runCli } from './console.ts'

const cwd = t.testdir({
  'attestry.yaml': 'publicUrl: https://packages.acme.example/npm\n',
  'any-port.yaml': 'listen: 127.0.0.1:0\n',
})
const run = (...args: string[]) => runCli(['npmrc', ...args], { cwd })

t.test('the command', async t => {
  const all = await run()
  t.equal(all.code, 0, all.stderr)
  for (const line of [
    'registry=https://packages.acme.example/npm/\n',
    'registry "https://packages.acme.example/npm/"\n',
    'npmRegistryServer: "https://packages.acme.example/npm/"\n',
    '[install]\nregistry = "https://packages.acme.example/npm/"\n',
    '# Yarn 1: .yarnrc\n',
    'replace-registry-host',
  ])
    t.ok(all.stdout.includes(line), line)
  t.notMatch(all.stdout, /unsafeHttpWhitelist/, 'https needs no exception')
  t.match(await run('--client', 'yarn', '--url', 'http://[::1]:4877'), {
    code: 0,
    stdout: /^unsafeHttpWhitelist:\n {2}- "\\\\\[::1\\\\\]"$/m,
  })
  const json = await run('--json', '--url', 'http://proxy.acme.example:81')
  t.match(JSON.parse(json.stdout), {
    url: 'http://proxy.acme.example:81/',
    clients: {
      npm: { file: '.npmrc', lines: 'registry=http://proxy.acme.example:81/\n' },
      pnpm: { file: '.npmrc' },
      yarn: { file: '.yarnrc.yml', lines: /- "proxy\.acme\.example"\n$/ },
      yarn1: { file: '.yarnrc' },
      bun: { file: 'bunfig.toml' },
      deno: { file: '.npmrc' },
    },
  })
  t.match(await run('--help'), { code: 0, stdout: /--client/ })
})

t.test('wrong usage', async t => {
  const wrong: readonly (readonly [said: RegExp, ...args: string[]])[] = [
    [/did you mean "yarn"/, '--client', 'yran'],
    [/http or https/, '--url', 'packages.acme.example'],
    [/http or https/, '--url', 'ftp://packages.acme.example'],
    [/no user/, '--url', 'https://me:secret@packages.acme.example'],
    [/no user/, '--url', 'https://packages.acme.example/?a'],
    [/options only/, 'npm'],
    [/--url/, '--config', 'any-port.yaml'],
  ]
  for (const [said, ...args] of wrong) {
    const { code, stdout, stderr } = await run(...args)
    t.match({ code, stdout }, { code: 2, stdout: '' }, args.join(' '))
    t.match(stderr, said)
    t.match(stderr, /^EUSAGE: /m)
    t.notMatch(stderr, /secret/)
  }
})

const lineName: Readonly<Record<ClientName, NpmrcClient>> = {
  npm11: 'npm',
  npm12: 'npm',
  pnpm10: 'pnpm',
  pnpm11: 'pnpm',
  pnpm12: 'pnpm',
  yarn1: 'yarn1',
  yarn4: 'yarn',
  bun: 'bun',
  deno: 'deno',
}

/** What Yarn 4 needs to make a node_modules; it has nothing to do with registries. */
const yarnRest = 'nodeLinker: node-modules\nenableTelemetry: false\n'

/** Puts exactly the printed lines in the place of whatever named a registry. */
const adopt = async ({ cwd }: Project, client: ClientName, url: string) => {
  const lines = clientLines(lineName[client], url)
  for (const file of ['.npmrc', '.yarnrc', '.yarnrc.yml', 'bunfig.toml'])
    await rm(join(cwd, file), { force: true })
  const rest = client === 'yarn4' ? yarnRest : ''
  await writeFile(join(cwd, lines.file), fileText(lines) + rest)
}

/** Where a frozen install asks when its lockfile was made with another registry. */
type Elsewhere = 'attestry' | 'past it' | 'nowhere'
const elsewhere: Readonly<Record<ClientName, Elsewhere>> = {
  npm11: 'past it',
  npm12: 'nowhere',
  pnpm10: 'attestry',
  pnpm11: 'attestry',
  pnpm12: 'attestry',
  yarn1: 'past it',
  yarn4: 'attestry',
  bun: 'past it',
  deno: 'past it',
}

const tarballsAsked = ({ requests }: TestRegistry, from: number) =>
  requests.slice(from).filter(({ path }) => path.endsWith('.tgz'))

const clients = await installClients()
if (clients.kind === 'missing') {
  t.comment(`without real clients: ${clients.reason}`)
} else {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
  })
  t.teardown(async () => {
    await proxy.close()
    await registry.close()
    await sigstore.close()
  })
  for (const name of ['npm', 'pnpm', '@acme/attestry-lines-scoped'])
    await registry.publish({ name, version: '1.0.0' })
  await registry.publish({
    name: 'attestry-lines',
    version: '1.0.0',
    dependencies: { '@acme/attestry-lines-scoped': '1.0.0' },
  })
  const dependencies = { 'attestry-lines': '1.0.0' }
  const tree = ['@acme/attestry-lines-scoped@1.0.0', 'attestry-lines@1.0.0']
  const strangers = (from: number) =>
    registry.requests.slice(from).filter(({ headers }) => !headers['attestry-via'])

  for (const client of clientNames) {
    t.test(client, async t => {
      t.test('its lines lead it here', async t => {
        const project = await openProject(clients, client, 'http://127.0.0.1:9/', dependencies)
        t.teardown(() => project.remove())
        await adopt(project, client, proxy.url)
        const from = registry.requests.length
        const run = await project.install()
        t.equal(run.code, 0, run.output)
        t.same(await project.installed(), tree)
        t.same(
          strangers(from).map(({ rawPath }) => rawPath),
          [],
        )
      })

      t.test('a lockfile made with another registry', async t => {
        const project = await openProject(clients, client, registry.url, dependencies)
        t.teardown(() => project.remove())
        const before = await project.install()
        t.equal(before.code, 0, before.output)
        await adopt(project, client, proxy.url)
        const from = registry.requests.length
        const run = await project.installFrozen()
        const past = tarballsAsked(registry, from).some(
          ({ headers }) => !headers['attestry-via'],
        )
        const went = past ? 'past it' : run.code === 0 ? 'attestry' : 'nowhere'
        t.equal(went, elsewhere[client], run.output)
      })
    })
  }

  t.test('npm is led here from any lockfile with replace-registry-host=always', async t => {
    for (const client of ['npm11', 'npm12'] as const) {
      const project = await openProject(clients, client, registry.url, dependencies)
      t.teardown(() => project.remove())
      t.equal((await project.install()).code, 0)
      await adopt(project, client, proxy.url)
      const file = join(project.cwd, '.npmrc')
      await writeFile(file, `${await readFile(file, 'utf8')}replace-registry-host=always\n`)
      const from = registry.requests.length
      const run = await project.installFrozen()
      t.equal(run.code, 0, run.output)
      t.same(await project.installed(), tree)
      t.same(strangers(from), [])
    }
  })
}
