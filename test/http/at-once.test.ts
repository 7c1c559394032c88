/** What is answered at once from memory: the same answers as the long way gives, under the same rules. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { openTokens } from '../../lib/access/tokens.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import type { StoredAuditEntry } from '../../lib/store/store.ts'
import type { RecordedVerdict } from '../../lib/types.ts'
import { viaHeader } from '../../lib/upstream/loop.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
await registry.publish({ name: 'app', version: '1.0.0', provenance: true })
await registry.publish({ name: 'app', version: '1.1.0', provenance: true })

const corgi = 'application/vnd.npm.install-v1+json'
const gzip = { 'accept-encoding': 'gzip', accept: corgi }
const tarball = 'app/-/app-1.1.0.tgz'

const denying = (rest: string) => `version: 1
rules:
  - { name: held back, packages: ['app@1.1.0'], ${rest} }
`
const policyOf = (text: string) => [parsePolicy(text, { file: 'p.yaml', name: 'p.yaml' })]
const deny = denying('deny: { reason: the team waits }')

type Headers = Readonly<Record<string, string>>

const open = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    ...options,
  })
  t.teardown(() => proxy.close())
  const get = async (path: string, headers: Headers = {}, method: 'GET' | 'HEAD' = 'GET') => {
    const answer = await request(new URL(path, proxy.url), { method, headers })
    const body = Buffer.from(await answer.body.arrayBuffer())
    const { date: _date, ...said } = answer.headers
    return { status: answer.statusCode, headers: said, body }
  }
  const versions = async (path: string, headers: Headers = {}) => {
    const { body, status } = await get(path, { accept: corgi, ...headers })
    return status === 200
      ? Object.keys((JSON.parse(body.toString()) as { versions: object }).versions)
      : status
  }
  /** Until everything about the package is known and in memory. */
  const settle = async (prefix = '', headers: Headers = {}) => {
    for (let i = 0; i < 3; i++) {
      await get(`${prefix}app`, { ...gzip, ...headers })
      await get(`${prefix}app`, { accept: corgi, ...headers })
      await get(`${prefix}app`, headers)
      await get(`${prefix}${tarball}`, headers)
      await proxy.gate.idle()
    }
  }
  const audit = async () => {
    // repeated verdicts are written behind the answers
    await proxy.gate.idle()
    const entries: StoredAuditEntry[] = []
    for await (const entry of proxy.store.audit.read()) entries.push(entry)
    return entries
  }
  return { proxy, get, versions, settle, audit }
}

t.test('the same answers as the long way', async t => {
  const { proxy, get, settle } = await open(t)
  await settle()
  t.ok(proxy.gate.ready.packument('app', 'abbreviated'), 'it is ready')
  const etag = String((await get('app', gzip)).headers['etag'])
  const bytes = String((await get(tarball)).headers['etag'])
  const cases: readonly (readonly [string, string, Headers, number])[] = [
    ['abbreviated, gzip', 'app', gzip, 200],
    ['abbreviated, plain', 'app', { accept: corgi }, 200],
    ['full, plain', 'app', {}, 200],
    ['not modified', 'app', { ...gzip, 'if-none-match': etag }, 304],
    ['modified', 'app', { ...gzip, 'if-none-match': '"other"' }, 200],
    ['tarball', tarball, {}, 200],
    ['tarball, not modified', tarball, { 'if-none-match': `W/${bytes}` }, 304],
    ['tarball, part', tarball, { range: 'bytes=1-5' }, 206],
    ['ping', '-/ping?write=true', {}, 200],
  ]
  for (const [title, path, headers, status] of cases) {
    const named = { ...headers, 'x-request-id': 'balancer-1' }
    const short = await get(path, named)
    // what another instance sent is looked at more closely
    const long = await get(path, { ...named, [viaHeader]: 'another' })
    t.equal(short.status, status, title)
    t.same(short.headers, long.headers, `${title}: headers`)
    t.ok(short.body.equals(long.body), `${title}: bytes`)
  }
  t.equal((await get('app', { [viaHeader]: proxyInstance(await get('app')) })).status, 508)
  t.same((await get('app', gzip, 'HEAD')).body.length, 0)
  t.equal((await get('nowhere')).status, 404)
})

const proxyInstance = ({ headers }: { headers: Record<string, unknown> }) =>
  String(headers['attestry-instance'])

t.test('the first verdict is remembered, unless the package is another since', async t => {
  await registry.publish({ name: 'once', version: '1.0.0', provenance: true })
  let later = 0
  const { get, audit } = await open(t, { now: () => new Date(Date.now() + later) })
  const statuses = async (...versions: readonly string[]) => {
    const asked: number[] = []
    for (const version of versions) asked.push((await get(`once/-/once-${version}.tgz`)).status)
    return asked
  }
  const fresh = async () => (await audit()).map(entry => entry.fresh)
  t.same(await statuses('1.0.0', '1.0.0'), [200, 200])
  t.same(await fresh(), [true, false], 'what is learnt from the bytes themselves is no change')
  await registry.publish({ name: 'once', version: '1.1.0', provenance: true })
  later = 600_000
  t.same(await statuses('1.1.0', '1.0.0', '1.0.0'), [200, 200, 200])
  t.same((await fresh()).slice(2), [true, true, false], 'judged again among other releases')
})

t.test('a changed policy counts for the very next request', async t => {
  const { proxy, get, versions, settle } = await open(t)
  await settle()
  t.same(await versions('app'), ['1.0.0', '1.1.0'])
  const etag = String((await get('app', gzip)).headers['etag'])
  t.ok(
    proxy.gate.ready.tarball({ name: 'app', version: '1.1.0' }, { address: 'x' }, () => false),
  )
  proxy.gate.adopt(policyOf(deny))
  t.equal((await get(tarball)).status, 403)
  t.same(await versions('app'), ['1.0.0'])
  t.equal((await get('app', { ...gzip, 'if-none-match': etag })).status, 200)
  await settle()
  const { status, body } = await get('app')
  t.equal(status, 200)
  t.match(body.toString(), 'policyRestrictions', 'also once it is ready again')
  t.equal((await get(tarball, { 'if-none-match': '*' })).status, 403)
  proxy.gate.adopt([])
  t.equal((await get(tarball)).status, 200)
  t.same(await versions('app'), ['1.0.0', '1.1.0'])
})

t.test('time ends what it ends', async t => {
  let clock = Date.parse('2026-06-01T00:00:00Z')
  const until = `${denying(
    "allow: { reason: for now, by: ana@acme.example, until: '2026-06-01T01:00:00Z' }",
  )}defaults: { where: 'pkg.version == "1.0.0"' }
`
  const file = join(t.testdir({ 'p.yaml': until }), 'p.yaml')
  const { versions, get, settle } = await open(t, {
    policies: [until],
    now: () => new Date(clock),
    settings: 'cache: { packumentTtl: 3h }',
  })
  t.ok(file)
  await settle()
  t.same(await versions('app'), ['1.0.0', '1.1.0'])
  t.equal((await get(tarball)).status, 200)
  clock += 3_600_000 + 1
  t.same(await versions('app'), ['1.0.0'], 'the waiver is over')
  t.equal((await get(tarball)).status, 403)
  const asked = registry.asked(/^\/app$/).length
  clock += 2 * 3_600_000
  await get('app', gzip)
  t.equal(registry.asked(/^\/app$/).length, asked + 1, 'and so is what the upstream said')
})

t.test('every tarball that is sent is on record', async t => {
  const { get, settle, audit, proxy } = await open(t, {
    settings: 'auditLog: { repeats: 0s }',
  })
  await settle()
  const etag = String((await get(tarball)).headers['etag'])
  const before = (await audit()).length
  t.equal((await get(tarball, { 'user-agent': 'npm/99' })).status, 200)
  t.equal((await get(tarball, { 'if-none-match': etag })).status, 304)
  const added = (await audit()).slice(before)
  t.equal(added.length, 2)
  t.match(added[0], {
    client: { address: '127.0.0.1', agent: 'npm/99' },
    package: { name: 'app', version: '1.1.0' },
    integrity: etag.slice(1, -1),
    decision: 'allow',
    fresh: false,
    policyDigest: proxy.gate.policyDigest,
  })
})

t.test('also where one entry stands for several', async t => {
  const counted = new Map<boolean, number>()
  const observer = {
    onVerdict: ({ fresh }: RecordedVerdict) =>
      void counted.set(fresh, (counted.get(fresh) ?? 0) + 1),
  }
  const folder = t.testdir()
  const options = { storage: join(folder, 'store'), observer }
  const { get, settle, audit, proxy } = await open(t, options)
  await settle()
  const etag = String((await get(tarball)).headers['etag'])
  const ways: readonly Headers[] = [
    {},
    { 'if-none-match': etag },
    { range: 'bytes=0-9' },
    { [viaHeader]: 'another' },
  ]
  for (let round = 0; round < 5; round++)
    for (const way of ways) await get(tarball, { ...way, 'user-agent': 'npm/99' })
  const ours = (entries: readonly StoredAuditEntry[]) =>
    entries.filter(({ client }) => client.agent === 'npm/99')
  t.match(ours(await audit()), [{ fresh: false, times: undefined }], 'the first at once')
  await proxy.close()
  const store = await openLocalStore({ path: options.storage })
  t.teardown(() => store.close())
  const entries: StoredAuditEntry[] = []
  for await (const entry of store.audit.read()) entries.push(entry)
  t.match(ours(entries), [{}, { times: 19, fresh: false, integrity: etag.slice(1, -1) }])
  const [, gathered] = ours(entries)
  t.ok(gathered?.last && gathered.at <= gathered.last)
  const total = (fresh: boolean) =>
    entries.reduce((sum, entry) => sum + (entry.fresh === fresh ? (entry.times ?? 1) : 0), 0)
  t.equal(total(false), counted.get(false), 'as many as were told to log and metrics')
  t.equal(total(true), counted.get(true))
})

t.test('what is gathered ends with the verdict', async t => {
  const { proxy, get, settle, audit } = await open(t)
  await settle()
  const agent = { 'user-agent': 'npm/98' }
  const ask = async (times: number) => {
    for (let i = 0; i < times; i++) await get(tarball, agent)
  }
  await ask(3)
  const digest = proxy.gate.policyDigest
  proxy.gate.adopt(policyOf(denying('allow: { reason: r, by: me, until: 2999-01-01 }')))
  await ask(3)
  const ours = (await audit()).filter(({ client }) => client.agent === 'npm/98')
  const inTime = ours.toSorted((a, b) => (a.at < b.at ? -1 : 1))
  t.match(inTime, [
    { fresh: false, policyDigest: digest },
    { fresh: true, policyDigest: proxy.gate.policyDigest },
    { fresh: false, policyDigest: proxy.gate.policyDigest },
  ])
})

t.test('a forwarded address is taken from those who are trusted with it', async t => {
  const { get, settle, audit } = await open(t, {
    settings: 'server: { trustedProxies: [127.0.0.1] }',
  })
  await settle()
  await get(tarball, { 'x-forwarded-for': '10.1.2.3' })
  t.equal((await audit()).at(-1)?.client.address, '10.1.2.3')
})

t.test('where tokens are asked for, nothing goes out without one', async t => {
  const { proxy, get, settle } = await open(t, { settings: 'access: tokens' })
  const tokens = openTokens(proxy.store.records, () => new Date())
  const { token } = await tokens.create({ name: 'ci' })
  const ours = { authorization: `Bearer ${token}` }
  await settle('', ours)
  t.equal((await get('app', { ...gzip, ...ours })).status, 200)
  for (const path of ['app', tarball]) {
    t.equal((await get(path, gzip)).status, 401, path)
    t.equal((await get(path, { 'if-none-match': '*' })).status, 401, path)
  }
  await tokens.revoke('ci')
  t.equal((await get('app', { ...gzip, ...ours })).status, 401, 'a revoked one')
})

t.test('every view has answers of its own', async t => {
  const folder = t.testdir({ 'mobile.yaml': deny })
  const { proxy, get, versions, settle } = await open(t, {
    settings: `views: { mobile: { policies: [${JSON.stringify(join(folder, 'mobile.yaml'))}] } }`,
  })
  const tokens = openTokens(proxy.store.records, () => new Date())
  const { token } = await tokens.create({ name: 'phone', view: 'mobile' })
  await settle()
  await settle('v/mobile/')
  for (let i = 0; i < 2; i++) {
    t.same(await versions('app'), ['1.0.0', '1.1.0'])
    t.same(await versions('v/mobile/app'), ['1.0.0'])
    t.equal((await get(`v/mobile/${tarball}`)).status, 403)
    const bound = { authorization: `Bearer ${token}` }
    t.same(await versions('app', bound), ['1.0.0'], 'a caller bound to it')
    t.equal((await get(tarball, bound)).status, 403)
    t.equal((await get(tarball)).status, 200)
  }
  proxy.gate.view('mobile', proxy.url).adopt([])
  t.same(await versions('v/mobile/app'), ['1.0.0', '1.1.0'], 'its layers only')
})
