import { chmod, readdir, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { writeTarget } from '../../lib/cli/learn/target.ts'
import { localSigstore, type GithubPublisher } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { lockfile, projectsOver, servedOver, type Locked } from './learn-project.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const base: ProxyOptions = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  settings: 'cache: { packumentTtl: 0s, negativeTtl: 0s }',
}

const mono: GithubPublisher = { repository: 'acme/mono', repositoryId: '501', ownerId: '77' }
const tool: GithubPublisher = { repository: 'acme/tool', repositoryId: '502', ownerId: '77' }
const at = (publisher: GithubPublisher, ref: string): GithubPublisher => ({ ...publisher, ref })

const locked: Locked[] = []
const publish = async (
  name: string,
  version: string,
  provenance?: GithubPublisher,
  more: { readonly signed?: boolean } = {},
): Promise<Locked> => {
  const { integrity } = await registry.publish({
    name,
    version,
    ...(provenance && { provenance }),
    ...more,
  })
  return { name, version, integrity }
}

for (const [name, version] of [
  ['@acme/core', '2.0.0'],
  ['@acme/core', '2.1.0'],
  ['@acme/util', '2.0.0'],
] as const)
  locked.push(await publish(name, version, at(mono, `refs/tags/v${version}`)))
await publish('tool', '1.0.0')
locked.push(await publish('tool', '1.1.0', at(tool, 'refs/heads/main')))
locked.push(await publish('plain', '1.0.0'), await publish('@plain/a', '1.0.0'))
locked.push(await publish('@plain/b', '1.0.0'))
locked.push(await publish('bare', '1.0.0', undefined, { signed: false }))

const project = projectsOver(base, locked)
const served = servedOver(base)

t.test('a first policy', async t => {
  const { learn, read, folder } = await project(t)
  const shown = await learn()
  t.equal(shown.code, 0, shown.stderr)
  t.match(shown.stdout, /^# Who builds what is in package-lock\.json/)
  t.match(
    shown.stdout,
    `  mono: { github: acme/mono#501, workflow: release.yml, trigger: push } # learned
`,
  )
  t.match(
    shown.stdout,
    `  - name: '@acme/* are built by acme/mono' # learned
    packages: ['@acme/*'] # all 2 seen of @acme
    require: { provenance: mono, registrySignature: required }

  - name: tool is built by acme/tool # learned
    packages: [tool]
    versions: '>=1.1.0'
    require: { provenance: tool, registrySignature: required }

  - name: signed by the registry, nobody says who built them # learned
    packages: ['@plain/*', plain] # all 2 seen of @plain
    require: { registrySignature: required }

  - name: signed by nobody # learned
    packages: [bare]
    require: { registrySignature: if-present }
`,
  )
  t.match(shown.stderr, /8 package versions in package-lock\.json/)
  t.match(shown.stderr, /run this again with --write/)
  t.strictSame(
    (await readdir(folder)).filter(name => name.endsWith('.yaml')),
    ['attestry.yaml'],
  )

  const written = await learn(['--write'])
  t.equal(written.code, 0)
  t.equal(written.stdout, '')
  const policy = await read()
  t.equal(policy, shown.stdout)
  const again = await learn(['--write'])
  t.match(again, { code: 0, stdout: '', stderr: /says all of it already/ })
  t.equal(await read(), policy)

  const all = await served(t, policy, [...locked, { name: 'tool', version: '1.0.0' }])
  t.strictSame(
    [...new Set(Object.values(all))],
    [200],
    'what was learned is served, and older ones',
  )
})

t.test('signed again by another: refused', async t => {
  const { learn } = await project(t)
  const { stdout: policy } = await learn()
  const others: Readonly<Record<string, GithubPublisher>> = {
    '2.2.0': at(mono, 'refs/tags/v2.2.0'),
    '2.2.1': at({ ...mono, repository: 'evil/mono', repositoryId: '666' }, 'refs/tags/v2.2.1'),
    '2.2.2': at({ ...mono, repositoryId: '666' }, 'refs/tags/v2.2.2'),
    '2.2.3': at({ ...mono, workflow: '.github/workflows/evil.yml' }, 'refs/tags/v2.2.3'),
    '2.2.4': at(mono, 'refs/heads/main'),
    '2.2.5': at(mono, 'refs/tags/v2.2.4'),
    '2.2.6': at({ ...mono, trigger: 'pull_request_target' }, 'refs/tags/v2.2.6'),
    '2.2.7': at({ ...mono, runner: 'self-hosted' }, 'refs/tags/v2.2.7'),
    '2.2.8': at(
      { ...mono, signer: 'evil/x/.github/workflows/x.yml@refs/heads/main' },
      'refs/tags/v2.2.8',
    ),
  }
  const name = '@acme/late'
  const wanted: Record<string, number> = {}
  for (const [version, publisher] of Object.entries(others)) {
    for (const one of ['@acme/core', name]) {
      await publish(one, version, publisher)
      // the caller is what is pinned; whom it calls is its own affair
      wanted[`${one}@${version}`] = ['2.2.0', '2.2.8'].includes(version) ? 200 : 403
    }
  }
  await publish('@acme/core', '2.3.0')
  const ids = [...Object.keys(wanted), '@acme/core@2.3.0'].map(id => {
    const [, name = '', version = ''] = /^(.+)@([^@]+)$/.exec(id) ?? []
    return { name, version }
  })
  t.strictSame(await served(t, policy, ids), { ...wanted, '@acme/core@2.3.0': 403 })
  for (const id of ids) registry.unpublish(id.name, id.version)
})

t.test('running it again: a difference, and what people wrote stays', async t => {
  const { learn, read, write } = await project(t, { packages: locked.slice(0, 3) })
  t.equal((await learn(['--write'])).code, 0)
  const mine = (await read())
    .replace(
      'rules:\n',
      'rules:\n  # look at this one by hand\n  - packages: [ plain ]   # mine\n    allow: { reason: "read" }\n\n',
    )
    .replace('continuity: release-line', 'continuity:   package # stricter')
  await write(mine)
  await write(lockfile(locked), 'package-lock.json')

  const shown = await learn()
  t.equal(shown.code, 0, shown.stderr)
  t.match(shown.stdout, /^--- attestry\.policy\.yaml\n\+\+\+ attestry\.policy\.yaml\n@@ /)
  const changed = shown.stdout.split('\n').filter(line => /^[-+](?![-+]{2})/.test(line))
  t.strictSame(
    changed.filter(line => line.startsWith('-')),
    [],
    'nothing is taken away',
  )
  t.ok(changed.includes('+  - name: tool is built by acme/tool # learned'))
  t.match(shown.stderr, '1 left to rules of your own')
  t.match(shown.stderr, '3 of them as learned before')
  t.equal(await read(), mine, 'nothing is written')

  const written = await learn(['--write'])
  t.equal(written.stdout, shown.stdout)
  const after = await read()
  for (const line of mine.split('\n')) t.ok(after.split('\n').includes(line), line)
  t.notMatch(after, /[[ ]plain[,\]].*\n.*registrySignature/, 'plain has a rule')
  t.match(await learn(), { code: 0, stdout: '' })
  const statuses = await served(t, after, locked)
  t.strictSame([...new Set(Object.values(statuses))], [200])
})

t.test('what is refused is never learned', async t => {
  const forged = await publish('forged', '1.0.0', at(tool, 'refs/tags/v1.0.0'))
  registry.amend('forged', '1.0.0', {
    signatures: [sigstore.signRegistry('tool', '1.1.0', forged.integrity)],
  })
  const other = { ...(locked[0] as Locked), integrity: forged.integrity }
  const { learn } = await project(t, { packages: [...locked.slice(1), forged, other] })
  const shown = await learn()
  t.equal(shown.code, 1)
  t.notMatch(shown.stdout, 'forged')
  t.notMatch(shown.stdout, "'@acme/*'", 'a scope of which one was refused is not taken whole')
  t.match(shown.stderr, /2 refused, and not learned/)
  t.match(shown.stderr, /forged@1\.0\.0\n +INVALID_SIGNATURE/)
  t.match(shown.stderr, /@acme\/core@2\.0\.0\n +INTEGRITY_MISMATCH/)
  registry.unpublish('forged', '1.0.0')

  await t.test('by the policy that is added to', async t => {
    const { learn, read } = await project(t, { packages: locked.slice(0, 3) })
    await learn(['--write'])
    const policy = await read()
    const moved = await publish('@acme/core', '2.9.0', at(mono, 'refs/heads/main'))
    const { learn: relearn, write, read: reread } = await project(t, { packages: [moved] })
    await write(policy)
    const refused = await relearn(['--write'])
    t.match(refused, { code: 1, stdout: '', stderr: /IDENTITY_MISMATCH/ })
    t.equal(await reread(), policy)
    await write(policy.replace('mode: enforce', 'mode: observe'))
    t.match(
      await relearn(),
      { code: 1, stderr: /IDENTITY_MISMATCH/ },
      'observed is refused as well',
    )
    await write(policy)
    const afresh = await relearn(['--afresh', '--write'])
    t.equal(afresh.code, 0, afresh.stderr)
    t.match(afresh.stdout, /^-  mono: .*\n\+  mono: .* branch: main, /m)
    t.match(afresh.stdout, "-    packages: ['@acme/*']")
    const evil = { ...mono, repository: 'evil/mono', repositoryId: '666' }
    const taken = await publish('@acme/core', '2.9.1', at(evil, 'refs/tags/v2.9.1'))
    await write(policy.replace('release-line', 'off'))
    await write(lockfile([taken, locked[2] as Locked]), 'package-lock.json')
    const another = await relearn(['--afresh', '--write'])
    t.match(another, { code: 1, stdout: '', stderr: /PUBLISHER_CHANGED/ }, 'nor afresh')
    t.match(await reread(), "packages: ['@acme/*']")
    registry.unpublish('@acme/core', '2.9.0')
    registry.unpublish('@acme/core', '2.9.1')
  })
})

t.test('what cannot be checked is not learned, and keeps what guards it', async t => {
  const { folder, learn, read, write } = await project(t, {
    upstreamSettings: ['retries: 0'],
  })
  await learn(['--write'])
  const policy = await read()
  await write(
    lockfile([
      ...locked,
      { name: 'gone', version: '1.0.0', integrity: locked[0]?.integrity ?? '' },
    ]),
    'package-lock.json',
  )
  const missing = await learn()
  t.match(missing, { code: 2, stdout: '', stderr: /gone@1\.0\.0\n +ENOTFOUND/ })
  await rm(join(folder, 'store'), { recursive: true })
  registry.faults.attestationsStatus = 503
  t.teardown(() => registry.heal())
  const down = await learn(['--afresh', '--write'])
  registry.heal()
  t.match(
    down,
    { code: 2, stdout: '', stderr: /5 could not be checked/ },
    'no rule is given up',
  )
  t.equal(await read(), policy)
})

t.test('a policy that would say nothing is not made', async t => {
  const { learn, folder } = await project(t)
  const { code, stderr } = await learn(['--offline', '--write', '--storage=empty'])
  t.match({ code, stderr }, { code: 2, stderr: /There was nothing to learn/ })
  t.notOk((await readdir(folder)).includes('attestry.policy.yaml'))
})

t.test('from the audit record', async t => {
  const { folder, learn, write } = await project(t)
  await publish('tool', '9.9.9', at({ ...tool, repositoryId: '666' }, 'refs/heads/main'))
  const proxy = await startProxy({
    ...base,
    storage: join(folder, 'store'),
    policies: ['version: 1\nrules: [{ packages: [plain], deny: { reason: no } }]'],
  })
  for (const path of [
    '@acme/core/-/core-2.0.0.tgz',
    'plain/-/plain-1.0.0.tgz',
    'tool/-/tool-9.9.9.tgz',
  ])
    await (await fetch(new URL(path, proxy.url))).arrayBuffer()
  await proxy.close()
  registry.unpublish('tool', '9.9.9')
  await write('{', 'package-lock.json')
  const shown = await learn(['--from-record', '--days', '2'])
  t.equal(shown.code, 0, shown.stderr)
  t.match(shown.stdout, "packages: ['@acme/core']")
  t.notMatch(shown.stdout, 'plain')
  t.match(shown.stderr, /1 package version admitted since/)
  t.match(await learn(['--from-record', 'package-lock.json']), { code: 2, stderr: /EUSAGE/ })
  t.match(await learn(['--days', '3']), { code: 2, stderr: /EUSAGE/ })
})

t.test('--json', async t => {
  const { learn, read } = await project(t)
  const { stdout, stderr, code } = await learn(['--json', '--write'])
  t.equal(code, 0)
  t.equal(stderr, '')
  const report = JSON.parse(stdout) as Record<string, unknown>
  t.match(report, {
    source: { kind: 'lockfile', file: 'package-lock.json' },
    file: 'attestry.policy.yaml',
    exists: false,
    written: true,
    exitCode: 0,
    counts: { seen: 8, built: 4, signed: 3, unsigned: 1, refused: 0, unknown: 0 },
    identities: [{ name: 'mono', fields: { repositoryId: '501' } }, { name: 'tool' }],
    refused: [],
    unknown: [],
    policy: await read(),
    diff: '',
  })
  t.match((report['rules'] as object[])[0], {
    kind: 'built',
    packages: ['@acme/*'],
    identities: ['mono'],
    registrySignature: 'required',
  })
  t.match(
    (report['observations'] as { name: string }[]).find(o => o.name === 'tool'),
    { place: 'learned', states: { provenance: 'verified' }, identity: { repositoryId: '502' } },
  )
})

t.test('which file, and how it is written', async t => {
  const { folder, learn, read, write } = await project(t)
  t.equal((await learn(['-o', 'sub.yaml', '-w'])).code, 0)
  await chmod(join(folder, 'sub.yaml'), 0o600)
  await symlink('sub.yaml', join(folder, 'link.yaml'))
  const policy = await read('sub.yaml')
  await write(policy.replace(/\n {2}- name: tool [\s\S]*?\n\n/, '\n'), 'sub.yaml')
  t.equal((await learn(['-o', 'link.yaml', '-w'])).code, 0)
  t.match(await read('sub.yaml'), 'tool is built by acme/tool')
  t.equal((await stat(join(folder, 'sub.yaml'))).mode & 0o777, 0o600)
  t.ok(
    (await readdir(folder, { withFileTypes: true }))
      .find(e => e.name === 'link.yaml')
      ?.isSymbolicLink(),
  )
  t.notOk((await readdir(folder)).some(name => name.endsWith('.tmp')))

  const since = { file: join(folder, 'sub.yaml'), shown: 'sub.yaml', text: `${policy}\n` }
  await t.rejects(writeTarget(since, 'version: 1\n'), { code: 'EPOLICY' }, 'changed meanwhile')
  t.equal(await read('sub.yaml'), policy)
  await t.rejects(writeTarget({ file: since.file, shown: 'sub.yaml' }, ''), { code: 'EPOLICY' })

  t.match(await learn(['-o', 'no/such/folder.yaml', '-w']), { code: 2, stderr: /EPOLICY/ })
  t.match(await learn(['-o', '.']), { code: 2, stderr: /EPOLICY/ })
  const crlf = policy.replaceAll('\n', '\r\n').replace(/ {2}- name: tool [\s\S]*?\r\n\r\n/, '')
  await write(crlf, 'crlf.yaml')
  t.equal((await learn(['-o', 'crlf.yaml', '-w'])).code, 0)
  t.equal(await read('crlf.yaml'), (await read('sub.yaml')).replaceAll('\n', '\r\n'))
  await write('version: 1\nrulez: []\n', 'bad.yaml')
  t.match(await learn(['-o', 'bad.yaml']), { code: 2, stderr: /bad\.yaml:2:1/ })
  await write('version: 1\nrules: [{ packages: [x], deny: { reason: y } }]\n', 'flow.yaml')
  t.match(await learn(['-o', 'flow.yaml']), { code: 2, stderr: /EPOLICY/ })
  t.match(await learn(['nowhere.lock']), { code: 2, stderr: /ELOCKFILE/ })
  t.match(await learn(['a', 'b']), { code: 2, stderr: /EUSAGE/ })
  t.match(await learn(['--help']), { code: 0, stdout: /attestry learn/ })
})

t.test('among several policies', async t => {
  const org = 'version: 1\ndefaults: { minimumAge: off }\n'
  const team = 'version: 1\nrules:\n  - packages: [bare]\n    deny: { reason: unsigned }\n'
  const { learn, read } = await project(t, { policies: [org, team] })
  t.match(await learn(), { code: 2, stderr: /EUSAGE/ })
  const shown = await learn(['-o', 'policy-0.yaml', '-w'])
  t.equal(shown.code, 1, 'the other layer refuses one')
  t.match(shown.stderr, /bare@1\.0\.0\n +DENIED/)
  t.match(await read('policy-0.yaml'), '@acme/*')
  t.notMatch(await read('policy-0.yaml'), 'bare')
  t.equal(await read('policy-1.yaml'), team)

  const alone = await project(t, { policies: [org] })
  t.equal((await alone.learn(['-w'])).code, 0)
  t.match(await alone.read('policy-0.yaml'), '@acme/*', 'the one that is configured')
})

t.test('on a terminal', async t => {
  const { learn } = await project(t)
  for (const columns of [80, 140]) {
    const { stderr } = await learn([], columns)
    const last = stderr.split('\r').at(-1) ?? ''
    const widths = last.split('\n').map(line => stripVTControlCharacters(line).length)
    t.ok(Math.max(...widths) <= columns, `at ${columns}`)
    t.match(stderr, /verifying/)
  }
  t.notMatch((await learn()).stderr, /verifying/)
})
