import t, { type Test } from 'tap'
import { openPins } from '../../lib/gate/pins.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry, type TestRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const registryOf = async (t: Test, options: Parameters<typeof startRegistry>[0] = {}) => {
  const registry = await startRegistry({ sigstore, ...options })
  t.teardown(() => registry.close())
  return registry
}

const open = async (t: Test, upstream: string, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({
    upstream,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings: 'cache: { packumentTtl: 0s, negativeTtl: 0s }',
    ...options,
  })
  t.teardown(() => proxy.close())
  const get = (path: string) => fetch(new URL(path, proxy.url))
  const json = async (path: string) => (await (await get(path)).json()) as Json
  return { proxy, get, json }
}

const codes = (body: Json) => (body['reasons'] as { code: string }[]).map(({ code }) => code)
const versions = async (json: (path: string) => Promise<Json>, name: string) =>
  Object.keys(((await json(`/${name}`))['versions'] as object | undefined) ?? {})

/** What was asked, but for the keys of the registry. */
const names = ({ requests }: TestRegistry) => requests.map(({ path }) => path)

t.test('names that are reserved', async t => {
  const open1 = await registryOf(t)
  const acme = await registryOf(t, { token: 'ACME' })
  for (const name of ['@acme/a', 'internal-tool', 'left-pad', '@acme/open']) {
    await open1.publish({ name, version: '9.9.9' })
    await acme.publish({ name, version: '1.0.0' })
  }
  const reserving = [
    `acme: { url: "${acme.url}", registryKeys: %keys%, token: ACME, packages: ['@acme/*', internal-*, secret], retries: 0 }`,
  ]
  const options = { upstreams: reserving, upstreamSettings: ["packages: ['@acme/open']"] }

  t.test('come from their upstream, all others from the first', async t => {
    const { json, get } = await open(t, open1.url, options)
    t.same(await versions(json, '@acme%2fa'), ['1.0.0'])
    t.same(await versions(json, 'internal-tool'), ['1.0.0'])
    t.same(await versions(json, 'left-pad'), ['9.9.9'])
    t.same(await versions(json, '@acme%2fopen'), ['9.9.9'], 'a name goes before a pattern')
    t.equal((await get('/@acme/a/-/a-1.0.0.tgz')).status, 200)
    t.equal((await get('/@acme/a/-/a-9.9.9.tgz')).status, 404)
    t.notMatch(names(open1).join(), /acme\/a|internal|secret/, 'never asked for')
    t.notMatch(names(acme).join(), /left-pad/)
    for (const { headers } of open1.requests) t.equal(headers.authorization, undefined)
  })

  t.test('are asked of nobody else when theirs has none or is down', async t => {
    const { get } = await open(t, open1.url, options)
    await open1.publish({ name: 'secret', version: '1.0.0' })
    const before = open1.requests.length
    t.equal((await get('/secret')).status, 404)
    acme.faults.down = true
    t.teardown(() => acme.heal())
    t.equal((await get('/@acme%2fa')).status, 503)
    t.equal((await get('/-/npm/v1/attestations/@acme%2fa@1.0.0')).status, 503)
    t.equal(open1.requests.length, before)
  })

  t.test('what was fetched before they were reserved does not stand in', async t => {
    const storage = t.testdir()
    const before = await open(t, open1.url, { storage })
    t.equal((await before.get('/@acme/a/-/a-9.9.9.tgz')).status, 200)
    await acme.publish({ name: '@acme/a', version: '9.9.9', files: { 'ours.js': '' } })
    const { json, get } = await open(t, open1.url, { ...options, storage })
    t.same(await versions(json, '@acme%2fa'), ['1.0.0', '9.9.9'])
    const got = await get('/@acme/a/-/a-9.9.9.tgz')
    t.equal(got.status, 200)
    const ours = await fetch(`${acme.url}@acme/a/-/a-9.9.9.tgz`, {
      headers: { authorization: 'Bearer ACME' },
    })
    t.ok(Buffer.from(await got.arrayBuffer()).equals(Buffer.from(await ours.arrayBuffer())))
  })

  t.test('by two at once: asked of neither', async t => {
    const policy = 'version: 1\nrules: [{ name: r, packages: [internal-tool], upstream: npm }]'
    const { get } = await open(t, open1.url, { ...options, policies: [policy] })
    const before = [open1.requests.length, acme.requests.length]
    const answer = await get('/internal-tool')
    t.equal(answer.status, 500)
    t.match(await answer.json(), { code: 'ECONFIG' })
    t.same([open1.requests.length, acme.requests.length], before)
  })

  t.test(
    'a policy put in force later: what another upstream said of the name serves no more',
    async t => {
      const { proxy, json, get } = await open(t, open1.url, {
        upstreams: [`acme: { url: "${acme.url}", registryKeys: %keys%, token: ACME }`],
        settings: 'cache: { packumentTtl: 1h }',
      })
      t.same(await versions(json, '@acme%2fa'), ['9.9.9'])
      const policy =
        'version: 1\nrules: [{ name: ours, packages: ["@acme/*"], upstream: acme }]'
      proxy.gate.adopt([parsePolicy(policy, { file: 'p.yaml' })])
      t.same(await versions(json, '@acme%2fa'), ['1.0.0', '9.9.9'])
      t.equal((await get('/@acme/a/-/a-1.0.0.tgz')).status, 200)
    },
  )
})

t.test('the bytes a version means belong to one upstream', async t => {
  const store = await openLocalStore({ path: t.testdir() })
  t.teardown(() => store.close())
  const pins = openPins(store)
  const id = { name: 'a', version: '1.0.0' }
  const pin = (digest: string) =>
    ({ integrity: `sha512-${digest}`, size: 1, at: '2026-01-01T00:00:00.000Z' }) as const
  t.equal(await pins.get(id, 'one'), undefined)
  const [first, other] = await Promise.all([
    pins.putIfAbsent(id, 'one', pin('first')),
    pins.putIfAbsent(id, 'two', pin('other')),
  ])
  t.same(first, { ...pin('first'), upstream: 'one' })
  t.same(other, { ...pin('other'), upstream: 'two' }, 'nobody gets the bytes of the other')
  t.same(await pins.putIfAbsent(id, 'one', pin('later')), first, 'once and for ever')
  t.same(await pins.putIfAbsent(id, 'two', pin('later')), other)
  t.same(await pins.get(id, 'one'), first)
  t.same(await pins.get(id, 'two'), other)
  t.equal(await pins.get(id, 'three'), undefined)
  // of a time when the upstream was not kept: whoever asks first
  await store.records.put('pin', 'a@2.0.0', pin('old'))
  const old = { name: 'a', version: '2.0.0' }
  t.same(await pins.get(old, 'one'), pin('old'))
  t.same(await pins.putIfAbsent(old, 'one', pin('later')), pin('old'))
})

t.test('trust roots and keys of its own', async t => {
  const other = await localSigstore()
  t.teardown(() => other.close())
  const first = await registryOf(t)
  const acme = await registryOf(t, { sigstore: other })
  await acme.publish({ name: '@acme/a', version: '1.0.0', provenance: true })
  await first.publish({ name: 'b', version: '1.0.0', provenance: true })
  const files = t.testdir({
    'root.json': JSON.stringify(other.trustedRoot),
    'keys.json': JSON.stringify(other.registryKeys()),
  })
  const acmeWith = (more: string) => [
    `acme: { url: "${acme.url}", packages: ['@acme/*'], registryKeys: { file: "${files}/keys.json" }${more} }`,
  ]
  const own = await open(t, first.url, {
    upstreams: acmeWith(`, trustRoots: [{ file: "${files}/root.json" }]`),
  })
  t.equal((await own.get('/@acme/a/-/a-1.0.0.tgz')).status, 200)
  t.equal((await own.get('/b/-/b-1.0.0.tgz')).status, 200)
  const without = await open(t, first.url, { upstreams: acmeWith('') })
  const refused = await without.get('/@acme/a/-/a-1.0.0.tgz')
  t.equal(refused.status, 403)
  t.same([...new Set(codes((await refused.json()) as Json))], ['INVALID_ATTESTATION'])
})

t.test('bytes from a mirror, evidence from the registry', async t => {
  const registry = await registryOf(t)
  const mirror = await registryOf(t)
  const both = async (publication: Parameters<TestRegistry['publish']>[0]) => {
    const original = await registry.publish(publication)
    // as mirrors are: no signatures, no attestations
    await mirror.publish({ ...publication, signed: false, attestations: [] })
    return original
  }
  const from = ['evidenceFrom: npm-itself']
  const source = [`npm-itself: { url: "${registry.url}", registryKeys: %keys%, retries: 0 }`]
  const options = { upstreamSettings: [...from, 'retries: 0'], upstreams: source }
  const policies = ['version: 1\ndefaults: { require: { provenance: any } }']

  await both({ name: 'a', version: '1.0.0', provenance: true })
  await both({ name: 'a', version: '1.1.0', provenance: true })
  await registry.publish({ name: 'a', version: '2.0.0', provenance: true })

  t.test('what the mirror stripped is proven all the same', async t => {
    const alone = await open(t, mirror.url, { policies })
    t.equal((await alone.get('/a/-/a-1.0.0.tgz')).status, 403, 'not by the mirror alone')
    const { json, get } = await open(t, mirror.url, { ...options, policies })
    const document = await json('/a')
    t.same(Object.keys(document['versions'] as object), ['1.0.0', '1.1.0'])
    t.same(document['dist-tags'], { latest: '1.1.0' }, 'latest of what the mirror has')
    const { dist } = (document['versions'] as Json)['1.0.0'] as Json
    t.ok(dist.signatures.length && dist.attestations)
    const asked = registry.asked(/\.tgz$/).length
    t.equal((await get('/a/-/a-1.0.0.tgz')).status, 200)
    t.equal(registry.asked(/\.tgz$/).length, asked, 'no bytes from the registry')
    t.equal((await get('/-/npm/v1/attestations/a@1.0.0')).status, 200)
    t.equal((await get('/-/npm/v1/keys')).status, 200)
    t.equal((await get('/a/-/a-2.0.0.tgz')).status, 404, 'not mirrored')
  })

  t.test('what the mirror hides is a predecessor all the same', async t => {
    const publisher = (owner: string, repositoryId: string) => ({
      provenance: { repository: `${owner}/pkg`, repositoryId },
    })
    const acme = { version: '1.0.0', ...publisher('acme', '1') }
    await registry.publish({ name: 'lost', publishedAt: '2026-01-01T00:00:00Z', ...acme })
    await both({ name: 'lost', version: '1.0.1' })
    await registry.publish({ name: 'taken', publishedAt: '2026-01-01T00:00:00Z', ...acme })
    await both({
      name: 'taken',
      version: '1.0.1',
      publishedAt: '2026-03-01T00:00:00Z',
      ...publisher('thief', '2'),
    })
    const { json, get } = await open(t, mirror.url, options)
    t.same(await versions(json, 'lost'), [], 'hidden as well')
    const lost = await get('/lost/-/lost-1.0.1.tgz')
    t.same([lost.status, codes((await lost.json()) as Json)], [403, ['DOWNGRADED']])
    t.same(await versions(json, 'taken'), ['1.0.1'], 'nobody has looked yet')
    t.notOk('_attestryElsewhere' in (await json('/taken')), 'it is not told')
    const taken = await get('/taken/-/taken-1.0.1.tgz')
    t.same([taken.status, codes((await taken.json()) as Json)], [403, ['PUBLISHER_CHANGED']])
    t.equal((await get('/taken/-/taken-1.0.0.tgz')).status, 404)
  })

  t.test('a split view is refused, and both are named', async t => {
    await both({ name: 'split', version: '1.0.0' })
    await registry.publish({ name: 'split', version: '1.1.0' })
    await mirror.publish({ name: 'split', version: '1.1.0', files: { 'evil.js': '' } })
    await mirror.publish({ name: 'split', version: '1.2.0' })
    await mirror.publish({ name: 'invented', version: '1.0.0' })
    const waive = 'version: 1\nrules: [{ name: w, packages: [split], allow: { reason: no } }]'
    const { json, get } = await open(t, mirror.url, { ...options, policies: [waive] })
    t.same(await versions(json, 'split'), ['1.0.0'], 'also with a waiver')
    t.equal((await get('/split/-/split-1.0.0.tgz')).status, 200)
    const differs = await get('/split/-/split-1.1.0.tgz')
    t.equal(differs.status, 403)
    t.match(await differs.json(), {
      reasons: [
        { code: 'INTEGRITY_MISMATCH', wanted: /^sha512-.*npm-itself/, found: /^sha512-.*npm/ },
      ],
    })
    for (const path of ['/split/-/split-1.2.0.tgz', '/invented/-/invented-1.0.0.tgz']) {
      const invented = await get(path)
      t.equal(invented.status, 403, path)
      t.match(await invented.json(), {
        reasons: [{ code: 'INTEGRITY_MISMATCH', wanted: /nothing/, found: /sha512/ }],
      })
    }
    t.equal((await get('/invented')).status, 403, 'the whole package')
    t.equal((await get('/-/attestry/why/split@1.1.0')).status, 200)
  })

  t.test('the bytes themselves: packuments that agree prove nothing', async t => {
    await both({ name: 'bytes', version: '1.0.0' })
    const { get } = await open(t, mirror.url, options)
    mirror.faults.flipTarballs = true
    t.teardown(() => mirror.heal())
    const answer = await get('/bytes/-/bytes-1.0.0.tgz')
    t.equal(answer.status, 403)
    t.match(await answer.json(), {
      reasons: [{ code: 'INTEGRITY_MISMATCH', message: /npm-itself/ }],
    })
  })

  t.test('one of the two is down', async t => {
    await both({ name: 'b', version: '1.0.0', provenance: true })
    const { get, json } = await open(t, mirror.url, { ...options, policies })
    registry.faults.down = true
    t.teardown(() => {
      registry.heal()
      mirror.heal()
    })
    t.equal((await get('/b')).status, 503, 'what could not be looked at is no absence')
    registry.heal()
    t.same(await versions(json, 'b'), ['1.0.0'])
    registry.faults.down = true
    const stale = await get('/b')
    t.same([stale.status, stale.headers.has('attestry-stale')], [200, true])
  })

  t.test('asked conditionally, of both; one that changed is enough', async t => {
    await both({ name: 'c', version: '1.0.0' })
    const { json } = await open(t, mirror.url, options)
    t.same(await versions(json, 'c'), ['1.0.0'])
    const count = () => [mirror, registry].map(r => r.asked('/c').length)
    const before = count()
    t.same(await versions(json, 'c'), ['1.0.0'])
    t.same(
      count(),
      before.map(n => n + 1),
    )
    t.ok(registry.asked('/c').at(-1)?.headers['if-none-match'])
    await mirror.publish({ name: 'c', version: '1.1.0', signed: false })
    t.same(await versions(json, 'c'), ['1.0.0'], 'not in the registry')
    await registry.publish({ name: 'c', version: '1.1.0' })
    t.same(await versions(json, 'c'), ['1.0.0', '1.1.0'])
  })

  t.test('a store from before evidence came from elsewhere', async t => {
    const storage = t.testdir()
    const hour = { settings: 'cache: { packumentTtl: 1h }', storage }
    const alone = await open(t, mirror.url, hour)
    t.same(await versions(alone.json, 'split'), ['1.0.0', '1.1.0', '1.2.0'])
    const { json } = await open(t, mirror.url, { ...options, ...hour })
    t.same(await versions(json, 'split'), ['1.0.0'], 'is asked for anew')
  })
})
