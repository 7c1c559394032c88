/**
 * Real package managers: all lock one project to the same list, and each that is said to go past
 * the proxy does so before the fix and does not after it, without touching the fixed file.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { bypasses, fixBypasses } from '../../lib/lockfile/bypass.ts'
import { readLockfile } from '../../lib/lockfile/read.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import { installClients, openProject, type ClientName } from '../support/clients.ts'
import { startRegistry, type TestRegistry } from '../support/registry.ts'
import { fromRegistry } from './samples.ts'

const lockfiles: Partial<Record<ClientName, string>> = {
  npm11: 'package-lock.json',
  npm12: 'package-lock.json',
  pnpm10: 'pnpm-lock.yaml',
  pnpm11: 'pnpm-lock.yaml',
  pnpm12: 'pnpm-lock.yaml',
  yarn1: 'yarn.lock',
  yarn4: 'yarn.lock',
  bun: 'bun.lock',
}

const publishAll = async (registry: TestRegistry) => {
  const publish = (name: string, version: string, dependencies?: Record<string, string>) =>
    registry.publish({ name, version, ...(dependencies && { dependencies }) })
  await publish('plain', '1.0.0')
  await publish('plain', '2.0.0')
  await publish('leaf', '1.0.0')
  await publish('shared', '1.0.0', { leaf: '^1.0.0' })
  await publish('@scope/thing', '1.2.3', { shared: '^1.0.0', old: 'npm:plain@^1.0.0' })
  await publish('devtool', '1.0.0', { shared: '^1.0.0', 'dev-only': '^1.0.0' })
  await publish('dev-only', '1.0.0')
  await publish('maybe', '1.0.0', { 'maybe-dep': '^1.0.0' })
  await publish('maybe-dep', '1.0.0')
  await publish('host', '1.0.0')
  await publish('host', '2.0.0')
  const manifest = { peerDependencies: { host: '*' } }
  await registry.publish({ name: 'peered', version: '1.0.0', manifest })
}

const expected = [
  '@scope/thing@1.2.3',
  'dev-only@1.0.0 dev',
  'devtool@1.0.0 dev',
  'host@1.0.0',
  'host@2.0.0',
  'leaf@1.0.0',
  'maybe-dep@1.0.0 optional',
  'maybe@1.0.0 optional',
  'peered@1.0.0',
  'plain@1.0.0',
  'plain@2.0.0',
  'shared@1.0.0',
]

const writeProject = async (cwd: string, client: ClientName) => {
  const write = async (folder: string, manifest: object) => {
    await mkdir(join(cwd, folder), { recursive: true })
    await writeFile(join(cwd, folder, 'package.json'), JSON.stringify(manifest))
  }
  const sibling = /^(npm|yarn1)/.test(client) ? '^1.0.0' : 'workspace:*'
  await write('.', {
    name: 'project',
    version: '1.0.0',
    private: true,
    workspaces: ['packages/*'],
    dependencies: { '@scope/thing': '^1.0.0', plain: '^2.0.0', renamed: 'npm:plain@^1.0.0' },
    devDependencies: { devtool: '^1.0.0' },
    optionalDependencies: { maybe: '^1.0.0' },
  })
  const member = (name: string, dependencies: object) =>
    write(`packages/${name}`, { name, version: '1.0.0', dependencies })
  await member('a', { peered: '^1.0.0', host: '^1.0.0', b: sibling })
  await member('b', { peered: '^1.0.0', host: '^2.0.0' })
  if (client.startsWith('pnpm'))
    await writeFile(join(cwd, 'pnpm-workspace.yaml'), 'packages: [packages/*]\n')
}

/** Has the lockfile want everything from elsewhere, in the form that its client knows. */
const pointElsewhere = (client: ClientName, text: string, from: string, to: string): string => {
  const tarball = (name: string, version: string) =>
    `${to}${name}/-/${name.split('/').at(-1) ?? ''}-${version}.tgz`
  if (client.startsWith('pnpm'))
    return text.replace(
      /^( {2}'?(@?[^@\n]+)@([\d.]+)'?:\n {4}resolution: \{integrity: [^}]+)\}/gm,
      (_, start: string, name: string, version: string) =>
        `${start}, tarball: ${tarball(name, version)}}`,
    )
  if (client === 'yarn4')
    return text.replace(
      /resolution: "(@?[^@"]+)@npm:([\d.]+)"/g,
      (_, name: string, version: string) =>
        `resolution: "${name}@npm:${version}::__archiveUrl=${encodeURIComponent(tarball(name, version))}"`,
    )
  return text.replaceAll(from, to)
}

const clients = await installClients()
if (clients.kind !== 'ready') t.test('clients', { skip: clients.reason }, t => t.end())
else {
  const names = Object.keys(lockfiles) as ClientName[]
  const [ours, foreign] = await Promise.all([
    startRegistry({ prefix: '/npm/' }),
    startRegistry(),
  ])
  t.teardown(() => Promise.all([ours.close(), foreign.close()]))
  await Promise.all([publishAll(ours), publishAll(foreign)])

  const options = { registry: ours.url, npmRegistry }
  const tarballs = (registry: TestRegistry) => registry.asked(/\.tgz$/).length

  for (const client of names)
    t.test(client, async t => {
      const file = lockfiles[client] ?? ''
      const project = await openProject(clients, client, ours.url)
      t.teardown(() => project.remove())
      await writeProject(project.cwd, client)
      const run = await project.install()
      t.equal(run.code, 0, run.output)
      const path = join(project.cwd, file)
      const text = await readFile(path, 'utf8')

      t.test('locks the same list as all others', t => {
        const lockfile = readLockfile(text, { file })
        const isYarn = client.startsWith('yarn')
        t.same(
          fromRegistry(lockfile.packages, p =>
            isYarn ? '' : `${p.dev ? ' dev' : ''}${p.optional ? ' optional' : ''}`,
          ),
          isYarn ? expected.map(line => line.replace(/ .*/, '')) : expected,
        )
        const lines = text.split('\n')
        const misplaced = lockfile.packages.filter(p => {
          const own =
            p.key
              .split(/\/?node_modules\//)
              .at(-1)
              ?.split(', ')[0] ?? ''
          return lines[p.line - 1]?.includes(own) !== true
        })
        t.same(misplaced, [], 'lines are those of the keys')
        t.same(bypasses(lockfile, options), [])
        t.equal(
          lockfile.packages.some(({ kind }) => kind === 'workspace'),
          client !== 'yarn1',
          'yarn 1 locks no workspaces',
        )
        t.end()
      })

      t.test('goes past the proxy before the fix, through it afterwards', async t => {
        const away = pointElsewhere(client, text, ours.url, foreign.url)
        const lockfile = readLockfile(away, { file })
        const found = bypasses(lockfile, options)
        t.equal(found.length, lockfile.packages.filter(p => p.kind === 'registry').length)
        t.ok(found.every(({ reason, fix }) => reason === 'foreign-host' && fix === 'rewrite'))

        await writeFile(path, away)
        foreign.requests.length = 0
        const before = await project.installFrozen()
        const said = found[0]?.clients.some(name => name.replace(' ', '') === client)
        t.equal(before.code === 0, said, before.output)
        if (said === true) t.ok(tarballs(foreign) > 0, 'went elsewhere')

        const fixed = fixBypasses(away, lockfile, options)
        t.same([fixed.fixed, fixed.left], [found.length, []])
        await writeFile(path, fixed.text)
        foreign.requests.length = 0
        ours.requests.length = 0
        const after = await project.installFrozen()
        t.equal(after.code, 0, after.output)
        t.equal(foreign.requests.length, 0, 'nothing was asked elsewhere')
        t.ok(tarballs(ours) > 0)
        t.equal(await readFile(path, 'utf8'), fixed.text, 'the client leaves the file as it is')
      })
    })
}
