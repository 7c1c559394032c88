import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { openAdvisories } from '../../lib/gate/advisories.ts'
import { readTree } from '../../lib/gate/audit-report.ts'
import { defaultPassLimits } from '../../lib/gate/pass-through.ts'
import { openRouting } from '../../lib/gate/routing.ts'
import type { ForwardRequest, Upstream } from '../../lib/upstream/upstream.ts'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRecorder } from '../support/recorder.ts'
import { startRegistry } from '../support/registry.ts'

const BULK = '/-/npm/v1/security/advisories/bulk'
const OLD = '/-/npm/v1/security/audits'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const policy = `version: 1
rules:
  - name: a bad release
    packages: ['banned@1.1.0', 'banned@1.2.0']
    deny: { reason: it steals tokens }
  - name: only watched
    packages: ['watched@1.0.0']
    mode: observe
    deny: { reason: not yet }
`

await registry.publish({ name: 'banned', version: '1.0.0' })
await registry.publish({ name: 'banned', version: '1.1.0' })
await registry.publish({ name: 'banned', version: '1.2.0', tag: false })
await registry.publish({ name: 'watched', version: '1.0.0' })
await registry.publish({ name: 'leaf', version: '1.0.0' })
const { attestations } = await registry.publish({
  name: 'a',
  version: '1.0.0',
  provenance: true,
})
await registry.publish({ name: 'forged', version: '1.0.0', attestations })

const open = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policy],
    upstreamSettings: ['retries: 0'],
    ...options,
  })
  t.teardown(() => proxy.close())
  const post = (body: unknown, path = BULK, headers: Record<string, string> = {}) =>
    fetch(new URL(path, proxy.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body:
        typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    })
  const json = async (...args: Parameters<typeof post>) =>
    (await (await post(...args)).json()) as Json
  return { proxy, post, json }
}

t.test('what is refused is an advisory', async t => {
  const { json, post, proxy } = await open(t)
  const everything = {
    banned: ['1.0.0', '1.1.0', '1.2.0'],
    watched: ['1.0.0'],
    leaf: ['1.0.0'],
    forged: ['1.0.0'],
    'no-such': ['1.0.0'],
  }
  const first = await json(everything)
  t.same(Object.keys(first), ['banned'], 'nobody has looked at the forged one yet')
  const [advisory] = first['banned'] as Json[]
  t.match(advisory, {
    title: 'DENIED: it steals tokens',
    severity: 'high',
    vulnerable_versions: '1.1.0',
    url: `${proxy.url}-/attestry/why/banned@1.1.0`,
    cvss: { score: 0 },
  })
  t.same(
    first['banned'].map((a: Json) => a['vulnerable_versions'] as string),
    ['1.1.0', '1.2.0'],
  )
  t.not(first['banned'][1].id, advisory?.['id'])
  t.ok(Number.isInteger(advisory?.['id']) && advisory?.['id'] < 2 ** 31)

  t.equal((await fetch(`${proxy.url}forged/-/forged-1.0.0.tgz`)).status, 403)
  const second = await json(everything)
  t.match(second['forged'], [{ severity: 'critical', title: /^WRONG_SUBJECT: / }])
  t.equal(second['banned'][0].id, advisory?.['id'], 'the same finding, the same number')
  t.not(second['forged'][0].id, advisory?.['id'])
  t.equal((await post(everything)).headers.get('attestry-notes'), null, 'all was looked at')
})

t.test('bodies as clients send them, and worse', async t => {
  const { post, json, proxy } = await open(t, { settings: 'limits: { audit: 64KiB }' })
  const packed = gzipSync(JSON.stringify({ banned: ['1.1.0'] }))
  const gzip = { 'content-encoding': 'gzip' }
  t.same(Object.keys(await json(packed, BULK, gzip)), ['banned'])
  const status = async (...args: Parameters<typeof post>) => {
    const answer = await post(...args)
    return [answer.status, ((await answer.json()) as Json)['code'] as string]
  }
  const bomb = gzipSync(JSON.stringify({ a: 'x'.repeat(1_000_000) }))
  t.ok(bomb.length < 10_000)
  t.same(await status(bomb, BULK, gzip), [413, 'ETOOLARGE'])
  t.same(await status('x'.repeat(100_000)), [413, 'ETOOLARGE'])
  t.same(await status(packed.subarray(0, 20), BULK, gzip), [400, 'EBADREQUEST'])
  t.same(await status(packed, BULK, { 'content-encoding': 'br' }), [400, 'EBADREQUEST'])
  for (const body of ['', '{', '[]', '"x"', 'null'])
    t.same(await status(body), [400, 'EBADREQUEST'], JSON.stringify(body))
  const odd = '{"__proto__":["1.0.0"],"banned":["1.1.0","../x",3,null],"../x":["1.0.0"],"a":1}'
  t.same(Object.keys(await json(odd)), ['banned'])
  t.equal((await fetch(new URL(BULK, proxy.url))).status, 404, 'with GET there is nothing')
})

t.test('upstreams are asked for their own, and heard about their own', async t => {
  const [first, acme] = [await startRecorder(), await startRecorder()]
  t.teardown(() => Promise.all([first.close(), acme.close()]))
  const one = (id: number) => [{ id, title: 't', severity: 'low', vulnerable_versions: '*' }]
  first.on(/bulk/, { body: { leaf: one(1), '@acme/a': one(2), other: one(3) } })
  acme.on(/bulk/, { body: { '@acme/a': one(4), leaf: one(5) } })
  first.on(/GET \/leaf/, {
    body: { name: 'leaf', versions: { '1.0.0': { name: 'leaf', version: '1.0.0' } } },
  })
  const deny = 'version: 1\nrules: [{ name: d, packages: [leaf], deny: { reason: no } }]'
  const options = (more = '') => ({
    upstream: first.url,
    policies: [deny],
    upstreamSettings: ['token: OWN', 'retries: 0', ...(more ? [more] : [])],
    upstreams: [`acme: { url: "${acme.url}", packages: ['@acme/*'], token: ACME, retries: 0 }`],
  })
  const { json, post } = await open(t, options())
  const asked = { leaf: ['1.0.0'], '@acme/a': ['1.0.0'] }
  const body = await json(asked, BULK, { authorization: 'Bearer CLIENT' })
  t.match(body, { '@acme/a': [{ id: 4 }], leaf: [{ id: 1 }, { title: /^DENIED/ }] })
  t.same(
    Object.values(body).map(list => (list as unknown[]).length),
    [2, 1],
  )
  const bulks = () => [first, acme].map(r => r.seen.findLast(s => s.method === 'POST'))
  t.same(
    bulks().map(request => JSON.parse(String(request?.body)) as unknown),
    [{ leaf: ['1.0.0'] }, { '@acme/a': ['1.0.0'] }],
  )
  t.same(
    bulks().map(request => request?.headers.authorization),
    ['Bearer OWN', 'Bearer ACME'],
  )
  t.notMatch(
    first.transcript(),
    /acme|CLIENT/i,
    'no private name, no credentials of the client',
  )

  t.test('an audit is answered whatever they do', async t => {
    for (const answer of [
      { status: 404 },
      { status: 500 },
      { status: 401 },
      { body: '<html>' },
      { body: '[]' },
      { status: 302, headers: { location: acme.url } },
      { headers: { 'content-encoding': 'gzip' }, body: 'no gzip' },
    ]) {
      first.on(/bulk/, answer)
      const answered = await post(asked)
      t.equal(answered.status, 200, JSON.stringify(answer))
      const got = (await answered.json()) as Json
      t.match(got, { leaf: [{ title: /^DENIED/ }], '@acme/a': [{ id: 4 }] })
      if (answer.body !== '[]') t.match(answered.headers.get('attestry-notes'), /npm/)
    }
    await acme.close()
    const alone = await post(asked)
    t.equal(alone.status, 200)
    t.match(alone.headers.get('attestry-notes'), /acme/)
  })

  t.test('off: our own findings alone', async t => {
    const before = first.seen.length
    const off = await open(t, options('passThrough: off'))
    t.match(await off.json({ leaf: ['1.0.0'] }), { leaf: [{ title: /^DENIED/ }] })
    t.notOk(first.seen.slice(before).some(({ method }) => method === 'POST'))
  })
})

t.test('a name nobody can look up holds nothing up', async t => {
  registry.faults.hang = true
  registry.faults.only = /unknown/
  t.teardown(() => registry.heal())
  const { post, proxy } = await open(t, { upstreamSettings: ['timeout: 30m', 'retries: 0'] })
  await fetch(`${proxy.url}banned`)
  const names = Array.from({ length: 40 }, (_, i) => [`unknown-${i}`, ['1.0.0']])
  const answer = await post({ ...Object.fromEntries(names), banned: ['1.1.0'] })
  t.equal(answer.status, 200)
  t.match(answer.headers.get('attestry-notes'), /^40 packages/)
  t.match(await answer.json(), { banned: [{ title: /^DENIED/ }] })
})

t.test('an upstream that keeps silent is not waited for', async t => {
  const silent = {
    name: 'npm',
    url: 'http://x/',
    forward: ({ signal }: ForwardRequest) =>
      new Promise((_, reject) => {
        // as a socket would, it keeps the process alive
        const open = setTimeout(() => reject(new Error('waited for')), 5_000)
        signal?.addEventListener('abort', () => {
          clearTimeout(open)
          reject(new AttestryError('EUPSTREAMTIMEOUT', 'late'))
        })
      }),
  } as unknown as Upstream
  const advisories = openAdvisories({
    routing: openRouting({
      upstreams: new Map([['npm', silent]]),
      terms: new Map(),
      policies: () => [],
    }),
    findings: () => Promise.resolve({ advisories: new Map(), unlooked: 0 }),
    limits: defaultPassLimits,
    patience: 20,
  })
  t.match(await advisories(new Map([['a', ['1.0.0']]]), {}), { notes: [/npm: late/] })
})

t.test('the form of older clients', async t => {
  const { json, post } = await open(t)
  const tree = {
    name: '@acme/secret-project',
    version: '1.0.0',
    requires: { app: '^1.0.0' },
    dependencies: {
      '.': {
        version: '',
        dependencies: {
          leaf: { version: '1.0.0', dependencies: { banned: { version: '1.1.0' } } },
          banned: { version: '1.1.0' },
        },
      },
      banned: { version: '1.0.0' },
    },
  }
  registry.requests.length = 0
  for (const path of [OLD, `${OLD}/quick`]) {
    const packed = gzipSync(JSON.stringify(tree))
    const report = await json(packed, path, { 'content-encoding': 'gzip' })
    const [[id, advisory] = []] = Object.entries(report['advisories'] as Json) as [
      string,
      Json,
    ][]
    t.match(advisory, {
      id: Number(id),
      module_name: 'banned',
      title: /^DENIED/,
      findings: [{ version: '1.1.0', paths: ['leaf>banned', 'banned'] }],
    })
    t.match(report['actions'], [{ module: 'banned', resolves: [{ path: 'leaf>banned' }, {}] }])
    t.match(report['metadata'], { vulnerabilities: { high: 2, critical: 0 } })
  }
  const sent = registry.asked(/security/)
  t.same([...new Set(sent.map(({ path }) => path))], [BULK])
  t.notMatch(sent.map(({ body }) => body.toString()).join(), 'secret')
  t.match(await json({}, OLD), { advisories: {}, metadata: { vulnerabilities: { high: 0 } } })
  for (const body of ['[]', '{"dependencies":[]}', '{"dependencies":1}'])
    t.ok((await post(body, OLD)).status < 500, body)

  t.test('trees that no lockfile has', async t => {
    const isName = () => true
    let deep: Json = {}
    for (let n = 0; n < 300; n++) deep = { dependencies: { [`a${n}`]: deep } }
    t.throws(() => readTree(deep, isName), { code: 'EBADREQUEST' })
    const many = Array.from({ length: 200_001 }, (_, i) => [`a${i}`, {}])
    t.throws(() => readTree({ dependencies: Object.fromEntries(many) }, isName), {
      code: 'EBADREQUEST',
    })
    const wide = Array.from({ length: 500 }, (_, i) => [
      `p${i}`,
      { version: '1.0.0', dependencies: { x: { version: '1.0.0' } } },
    ])
    const { places } = readTree({ dependencies: Object.fromEntries(wide) }, isName)
    t.equal(places.get('x')?.get('1.0.0')?.length, 100)
  })
})
