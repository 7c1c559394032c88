import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

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
  settings: 'cache: { packumentTtl: 0s, negativeTtl: 0s }\nauditLog: { repeats: 0s }',
}

// eslint-disable-next-line typescript/no-explicit-any -- documents of a registry, looked into by hand
type Json = Record<string, any>

const openProxy = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({ ...base, ...options })
  t.teardown(() => proxy.close())
  const get = (path: string, init: RequestInit = {}) =>
    fetch(new URL(path, proxy.url), { redirect: 'manual', ...init })
  const json = async (path: string, init?: RequestInit): Promise<Json> =>
    (await (await get(path, init)).json()) as Json
  return { proxy, get, json }
}

/** Changes one byte of the signature. */
const flip = (bundle: object) => {
  const { signatures } = (bundle as { dsseEnvelope: { signatures: { sig: string }[] } })
    .dsseEnvelope
  const [first] = signatures
  if (!first) throw new Error('no signature to flip')
  const bytes = Buffer.from(first.sig, 'base64')
  bytes[20] = (bytes[20] ?? 0) ^ 1
  first.sig = bytes.toString('base64')
}

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())
const codes = (body: Json): string[] => (body['reasons'] as { code: string }[]).map(r => r.code)

t.test('an honest package', async t => {
  const { get, json, proxy } = await openProxy(t)
  const honest = await registry.publish({
    name: '@acme/honest',
    version: '1.0.0',
    provenance: true,
  })
  await registry.publish({ name: '@acme/honest', version: '1.1.0', provenance: true })

  t.test('its packument, in both forms', async t => {
    const full = await get('/@acme%2fhonest')
    const corgi = await get('/@acme/honest', {
      headers: { accept: 'application/vnd.npm.install-v1+json' },
    })
    t.equal(full.status, 200)
    t.match(full.headers.get('vary'), /accept/i)
    t.not(full.headers.get('etag'), corgi.headers.get('etag'), 'each form has its validator')
    const document = (await full.json()) as Json
    t.same(Object.keys(document['versions'] as Json), ['1.0.0', '1.1.0'])
    const { dist } = (document['versions'] as Json)['1.0.0'] as Json
    t.equal(dist.tarball, `${proxy.url}@acme/honest/-/honest-1.0.0.tgz`)
    t.equal(dist.attestations.url, `${proxy.url}-/npm/v1/attestations/@acme/honest@1.0.0`)
    t.ok(dist.signatures.length, 'signatures stay for clients that look')
    t.ok((document['time'] as Json)['1.0.0'])
    t.notOk('policyRestrictions' in document)
    const short = (await corgi.json()) as Json
    t.notOk('time' in short)
    t.ok(short['modified'])
    t.same((short['versions'] as Json)['1.0.0'].dist, dist)
  })

  t.test('validators, HEAD and plain encoding', async t => {
    const first = await get('/@acme%2fhonest')
    const etag = first.headers.get('etag') ?? ''
    t.match(etag, /^W\/"f-/)
    const held = { 'if-none-match': `"x", ${etag.replace('W/', '')}` }
    const again = await get('/@acme%2fhonest', { headers: held })
    t.equal(again.status, 304)
    t.equal((await bytesOf(again)).length, 0)
    const head = await get('/@acme%2fhonest', { method: 'HEAD' })
    t.same([head.status, head.headers.get('etag')], [200, etag])
    const plain = await get('/@acme%2fhonest', { headers: { 'accept-encoding': 'identity' } })
    t.equal(plain.headers.get('content-encoding'), null)
    const text = await bytesOf(plain)
    t.equal(Number(plain.headers.get('content-length')), text.length)
    t.same(JSON.parse(text.toString()), await json('/@acme%2fhonest'))
  })

  t.test('its tarball: GET, HEAD, Range, 304', async t => {
    const path = '/@acme/honest/-/honest-1.0.0.tgz'
    const whole = await get(path)
    t.equal(whole.status, 200)
    t.equal(whole.headers.get('content-encoding'), null)
    t.equal(Number(whole.headers.get('content-length')), honest.tarball.length)
    t.ok((await bytesOf(whole)).equals(honest.tarball), 'byte for byte')
    t.ok(
      (await bytesOf(await get('/@acme%2fhonest/-/honest-1.0.0.tgz'))).equals(honest.tarball),
    )
    const head = await get(path, { method: 'HEAD' })
    t.equal(Number(head.headers.get('content-length')), honest.tarball.length)
    const part = await get(path, { headers: { range: 'bytes=10-19' } })
    t.same(
      [part.status, part.headers.get('content-range')],
      [206, `bytes 10-19/${honest.tarball.length}`],
    )
    t.ok((await bytesOf(part)).equals(honest.tarball.subarray(10, 20)))
    const beyond = await get(path, { headers: { range: 'bytes=99999999-' } })
    t.equal(beyond.status, 416)
    const same = await get(path, {
      headers: { 'if-none-match': whole.headers.get('etag') ?? '' },
    })
    t.equal(same.status, 304)
  })

  t.test('a version, a dist-tag, the tags, keys and attestations', async t => {
    t.equal((await json('/@acme%2fhonest/1.0.0'))['version'], '1.0.0')
    t.equal((await json('/@acme%2fhonest/latest'))['version'], '1.1.0')
    t.equal((await get('/@acme%2fhonest/9.9.9')).status, 404)
    t.same(await json('/-/package/@acme%2fhonest/dist-tags'), { latest: '1.1.0' })
    t.same(await json('/-/npm/v1/keys'), JSON.parse(JSON.stringify(sigstore.keysEndpoint())))
    const attestations = await json('/-/npm/v1/attestations/@acme%2fhonest@1.0.0')
    t.equal((attestations['attestations'] as unknown[]).length, 2)
    t.same(await json('/-/ping'), {})
    t.equal((await json('/-/attestry/health/ready'))['status'], 'ready')
  })

  t.test('what is not there', async t => {
    for (const path of [
      '/no-such',
      '/@acme%2fhonest/-/honest-9.9.9.tgz',
      '/-/npm/v1/attestations/no-such@1.0.0',
      '/-/all',
    ]) {
      const response = await get(path)
      t.same(
        [response.status, ((await response.json()) as Json)['code']],
        [404, 'ENOTFOUND'],
        path,
      )
    }
    t.equal((await get('/@acme%2fhonest', { method: 'PUT', body: '{}' })).status, 405)
    t.equal((await get('/%')).status, 400)
  })

  t.test('the audit record', async t => {
    const entries = []
    await proxy.gate.idle()
    for await (const entry of proxy.store.audit.read({ name: '@acme/honest' }))
      entries.push(entry)
    t.ok(entries.length >= 5, 'every tarball request')
    t.match(entries[0], {
      decision: 'allow',
      rule: 'baseline#defaults',
      integrity: honest.integrity,
      client: { address: '127.0.0.1' },
      fresh: true,
    })
    t.match(entries.at(-1), { fresh: false })
  })
})

const denying = `version: 1
rules:
  - name: a bad release
    packages: ['told@1.1.0']
    deny: { reason: it steals tokens }
`

t.test('packages that are refused, each for its own reason', async t => {
  const { get, json } = await openProxy(t)
  const publish = async (name: string, version: string, options: Json = {}) =>
    registry.publish({ name, version, provenance: true, ...options })

  const refusedFor = async (t: Test, name: string, version: string, code: string) => {
    const file = `/${name}/-/${name}-${version}.tgz`
    const response = await get(file)
    t.equal(response.status, 403, file)
    const body = (await response.json()) as Json
    t.match(codes(body), [code])
    t.match(body, { code: 'EREFUSED', error: String, docs: String })
    t.equal(body['error'], body['message'])
    t.match(response.statusText, code, 'the reason phrase')
    t.match(response.headers.get('npm-notice'), code)
    const packument = await json(`/${name}`)
    t.notOk(
      version in ((packument['versions'] as Json | undefined) ?? {}),
      'hidden once judged',
    )
    return packument
  }

  t.test('a forged attestation', async t => {
    const name = 'forged'
    await publish(name, '1.0.0')
    const integrity = (await publish(name, '1.1.0')).integrity
    registry.amend(name, '1.1.0', {
      attestations: [
        await sigstore.attestProvenance({
          name,
          version: '1.1.0',
          integrity,
          tamper: {
            bundle: bundle => {
              flip(bundle)
            },
          },
        }),
      ],
    })
    const packument = await refusedFor(t, name, '1.1.0', 'INVALID_ATTESTATION')
    t.same(packument['dist-tags'], { latest: '1.0.0' }, 'latest is re-pointed')
    t.notOk('1.1.0' in (packument['time'] as Json))
    t.match(packument['policyRestrictions'], {
      message: /INVALID_ATTESTATION/,
      versions: { '1.1.0': { name } },
    })
    t.same(await json(`/-/package/${name}/dist-tags`), { latest: '1.0.0' })
    const exact = await get(`/${name}/1.1.0`)
    t.equal(exact.status, 403)
  })

  t.test('an attestation of another package', async t => {
    await publish('replayed', '1.0.0')
    const other = await publish('other', '1.0.0')
    registry.amend('replayed', '1.0.0', { attestations: other.attestations ?? [] })
    const response = await get('/replayed/-/replayed-1.0.0.tgz')
    t.equal(response.status, 403)
    t.match(codes((await response.json()) as Json), ['WRONG_SUBJECT'])
    const all = await get('/replayed')
    t.equal(all.status, 403, 'nothing is left of it')
    t.match(await all.json(), { code: 'EREFUSED' })
  })

  t.test('a registry signature over other bytes', async t => {
    const other = await publish('sig-other', '1.0.0')
    await publish('sig-wrong', '1.0.0', { provenance: undefined, signed: other.signatures })
    await publish('sig-wrong', '0.9.0', { provenance: undefined, tag: 'old' })
    await refusedFor(t, 'sig-wrong', '1.0.0', 'INVALID_SIGNATURE')
  })

  t.test('provenance dropped', async t => {
    await publish('dropped', '1.0.0')
    await publish('dropped', '1.0.1', { provenance: undefined })
    await refusedFor(t, 'dropped', '1.0.1', 'DOWNGRADED')
  })

  t.test('another publisher', async t => {
    await publish('taken', '1.0.0', {
      provenance: { repository: 'acme/taken', repositoryId: '11' },
    })
    await publish('taken', '1.0.1', {
      provenance: { repository: 'evil/taken', repositoryId: '66' },
    })
    await refusedFor(t, 'taken', '1.0.1', 'PUBLISHER_CHANGED')
  })

  t.test('bytes other than promised', async t => {
    await publish('flipped', '1.0.0', { tag: 'old' })
    await publish('flipped', '1.0.1')
    registry.faults.flipTarballs = true
    registry.faults.only = /flipped-1\.0\.1/
    t.teardown(() => registry.heal())
    await refusedFor(t, 'flipped', '1.0.1', 'INTEGRITY_MISMATCH')
  })

  t.test('a manifest that hides a dependency', async t => {
    await publish('confused', '1.0.0', { tag: 'old' })
    await publish('confused', '1.0.1', {
      manifest: { scripts: { postinstall: 'node evil.js' }, dependencies: { evil: '1.0.0' } },
      packumentManifest: { name: 'confused', version: '1.0.1', dependencies: {}, scripts: {} },
    })
    await refusedFor(t, 'confused', '1.0.1', 'MANIFEST_MISMATCH')
  })

  t.test('other bytes for a version that was admitted', async t => {
    const first = await publish('repinned', '1.0.0')
    t.equal((await get('/repinned/-/repinned-1.0.0.tgz')).status, 200)
    registry.unpublish('repinned', '1.0.0')
    await publish('repinned', '1.0.0', { files: { 'index.js': 'evil()' } })
    await json('/repinned')
    const response = await get('/repinned/-/repinned-1.0.0.tgz')
    t.equal(response.status, 403)
    const body = (await response.json()) as Json
    t.match(body['reasons'], [{ code: 'INTEGRITY_MISMATCH', wanted: first.integrity }])
  })

  t.test('pnpm is told in a dist-tag, and nobody else', async t => {
    const { get, proxy } = await openProxy(t, { policies: [denying] })
    await registry.publish({ name: 'told', version: '1.0.0' })
    await registry.publish({ name: 'told', version: '1.1.0' })
    const tags = async (agent: string, path = '/told') => {
      const answer = await get(path, { headers: { 'user-agent': agent } })
      const { 'dist-tags': found, versions } = (await answer.json()) as Json
      t.same(Object.keys(versions as Json), ['1.0.0'])
      return {
        tags: found as Json,
        etag: answer.headers.get('etag'),
        vary: answer.headers.get('vary'),
      }
    }
    const [npm, pnpm] = [await tags('npm/12.2.0 node/v24'), await tags('pnpm/12.0.0 npm/?')]
    t.same(npm.tags, { latest: '1.0.0' })
    const { latest, ...hints } = pnpm.tags
    t.equal(latest, '1.0.0')
    t.same(Object.values(hints), ['1.1.0'])
    t.match(Object.keys(hints)[0], /^REFUSED DENIED: it steals tokens\. See http/)
    t.ok(Object.keys(hints)[0]?.includes(`${proxy.url}-/attestry/why/told@1.1.0`))
    t.not(npm.etag, pnpm.etag)
    t.match(npm.vary, /user-agent/)
    t.same((await tags('yarn/1.22 npm/? pnpm/no')).tags, { latest: '1.0.0' })
    await registry.publish({ name: 'clean', version: '1.0.0' })
    const [a, b] = [
      await get('/clean'),
      await get('/clean', { headers: { 'user-agent': 'pnpm/1' } }),
    ]
    t.equal(
      a.headers.get('etag'),
      b.headers.get('etag'),
      'where nothing is refused it is the same',
    )
    t.notMatch(a.headers.get('vary'), /user-agent/)
    t.same(await (await get('/-/package/told/dist-tags')).json(), { latest: '1.0.0' })
  })

  t.test('why, as JSON and as a page', async t => {
    const why = await json('/-/attestry/why/taken@1.0.1')
    t.match(why, { decision: 'refuse', reasons: [{ code: 'PUBLISHER_CHANGED' }] })
    const page = await get('/-/attestry/why/taken@1.0.1', { headers: { accept: 'text/html' } })
    t.match(page.headers.get('content-type'), /text\/html/)
    t.match(await page.text(), /PUBLISHER_CHANGED/)
  })
})

t.test('faults of the upstream are never findings and never passes', async t => {
  let ahead = 0
  const { get, json } = await openProxy(t, { now: () => new Date(Date.now() + ahead) })
  const published = await registry.publish({
    name: 'steady',
    version: '1.0.0',
    provenance: true,
  })
  t.equal((await get('/steady/-/steady-1.0.0.tgz')).status, 200)
  await json('/steady')

  /** A version nobody has looked at yet. */
  const fresh = async (version: string) => {
    await registry.publish({ name: 'steady', version, provenance: true, tag: `v${version}` })
    // known before the fault begins, as after an install that was cut off
    t.ok(version in ((await json('/steady'))['versions'] as Json))
    return `/steady/-/steady-${version}.tgz`
  }
  const unchecked = async (t: Test, path: string, code: string) => {
    const response = await get(path)
    t.equal(response.status, 503)
    t.ok(response.headers.get('retry-after'))
    const body = (await response.json()) as Json
    t.equal(body['code'], code)
    return body
  }
  const cachedServes = async (t: Test) => {
    const response = await get('/steady/-/steady-1.0.0.tgz')
    t.ok((await bytesOf(response)).equals(published.tarball), 'what was admitted is served')
    t.equal((await get('/steady')).status, 200)
  }

  t.test('attestations claimed and not given', async t => {
    t.teardown(() => registry.heal())
    registry.faults.attestationsStatus = 404
    const path = await fresh('1.1.0')
    const body = await unchecked(t, path, 'EUNCHECKED')
    t.ok(codes(body).every(code => code === 'EVIDENCE_UNAVAILABLE'))
    registry.faults.attestationsStatus = 500
    await unchecked(t, path, 'EUNCHECKED')
    await cachedServes(t)
    registry.heal()
    t.equal((await get(path)).status, 200, 'and nothing of it is remembered')
  })

  t.test('down', async t => {
    t.teardown(() => registry.heal())
    registry.faults.attestationsStatus = 404
    const path = await fresh('1.2.0')
    registry.faults.down = true
    await cachedServes(t)
    t.ok((await get('/steady')).headers.get('attestry-stale'))
    await unchecked(t, path, 'EUNCHECKED')
    await unchecked(t, '/never-seen', 'EUPSTREAM')
    registry.heal()
    ahead += 60_000
    t.equal((await get('/steady')).headers.get('attestry-stale'), null, 'well again')
    t.equal((await get(path)).status, 200)
  })

  t.test('a tarball cut short', async t => {
    t.teardown(() => registry.heal())
    const path = await fresh('1.3.0')
    registry.faults.cutTarballs = true
    await unchecked(t, path, 'EUPSTREAM')
    registry.faults.chunked = true
    await unchecked(t, path, 'EUPSTREAM')
    await cachedServes(t)
    registry.heal()
    t.equal((await get(path)).status, 200)
  })

  t.test('garbage instead of documents', async t => {
    t.teardown(() => registry.heal())
    await registry.publish({ name: 'never-garbled', version: '1.0.0' })
    registry.faults.garbage = true
    const response = await get('/never-garbled')
    t.equal(response.status, 502)
    t.equal(((await response.json()) as Json)['code'], 'EUPSTREAMDATA')
    await cachedServes(t)
  })
})

t.test('many at once cause one request each', async t => {
  const { get } = await openProxy(t, { settings: 'cache: { packumentTtl: 5m }' })
  await registry.publish({ name: 'crowd', version: '1.0.0', provenance: true })
  const before = registry.requests.length
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => get(i % 2 ? '/crowd' : '/crowd/-/crowd-1.0.0.tgz')),
  )
  t.ok(answers.every(({ status }) => status === 200))
  const paths = registry.requests
    .slice(before)
    .map(({ path }) => path)
    .sort()
  t.same(paths, [...new Set(paths)])
  t.equal(paths.length, 3, 'packument, attestations, tarball')
})

t.test('a restart without an upstream', async t => {
  const storage = t.testdir()
  const first = await startProxy({ ...base, storage })
  const published = await registry.publish({ name: 'kept', version: '1.0.0', provenance: true })
  await fetch(`${first.url}kept/-/kept-1.0.0.tgz`).then(bytesOf)
  await first.close()
  registry.faults.down = true
  t.teardown(() => registry.heal())
  const { get, json } = await openProxy(t, { storage })
  t.ok((await bytesOf(await get('/kept/-/kept-1.0.0.tgz'))).equals(published.tarball))
  t.same(Object.keys((await json('/kept'))['versions'] as Json), ['1.0.0'])
})

t.test('policy from files', async t => {
  await registry.publish({
    name: 'ruled',
    version: '1.0.0',
    provenance: { repository: 'acme/ruled', repositoryId: '42' },
  })
  const policy = (repositoryId: string, mode = 'enforce') => `
version: 1
mode: ${mode}
rules:
  - name: ours
    packages: [ruled]
    require:
      provenance:
        issuer: https://token.actions.githubusercontent.com
        repository: https://github.com/acme/ruled
        repositoryId: "${repositoryId}"
`
  const ask = async (t: Test, text: string) => {
    const { get } = await openProxy(t, { policies: [text] })
    return get('/ruled/-/ruled-1.0.0.tgz')
  }
  t.equal((await ask(t, policy('42'))).status, 200)
  const refused = await ask(t, policy('43'))
  t.equal(refused.status, 403)
  t.match(((await refused.json()) as Json)['reasons'], [
    { code: 'IDENTITY_MISMATCH', field: 'repositoryId', wanted: '43', found: '42' },
  ])
  t.equal((await ask(t, policy('43', 'observe'))).status, 200, 'observe lets it through')
})

t.test('a large tarball is streamed', async t => {
  const { get } = await openProxy(t)
  const big = await registry.publish({ name: 'big', version: '1.0.0', size: 3_000_000 })
  const digest = (bytes: Buffer) => createHash('sha512').update(bytes).digest('base64')
  const response = await get('/big/-/big-1.0.0.tgz')
  t.equal(`sha512-${digest(await bytesOf(response))}`, big.integrity)
  const part = await get('/big/-/big-1.0.0.tgz', { headers: { range: 'bytes=-100' } })
  t.ok((await bytesOf(part)).equals(big.tarball.subarray(-100)))
})

t.test('stored packuments are gzip', async t => {
  const { proxy } = await openProxy(t)
  await registry.publish({ name: 'packed', version: '1.0.0' })
  const { representation } = await proxy.gate.packument('packed', 'full')
  t.equal(gunzipSync(representation.gzip).length, representation.size)
})
