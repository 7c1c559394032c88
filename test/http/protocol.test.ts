/**
 * The registry protocol as clients speak it, against a running proxy: encodings of names, validators
 * and what caches may do with them, fields that must be kept, every vehicle of a refusal, and what
 * changes when a version is not there.
 */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRecorder } from '../support/recorder.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const rule = (mode: string) => `version: 1
mode: ${mode}
rules:
  - { name: bad releases, packages: ['lib@1.1.0', '@s/n@2.0.0', gone], deny: { reason: it is bad } }
`
const open = async (t: Test, options: Partial<ProxyOptions> = {}, mode = 'enforce') => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [rule(mode)],
    ...options,
  })
  t.teardown(() => proxy.close())
  return proxy
}

const manifest = {
  bin: { lib: 'index.js' },
  engines: { node: '>=20' },
  os: ['linux', 'darwin'],
  cpu: ['x64', 'arm64'],
  libc: ['glibc'],
  funding: 'https://lib.example/',
  peerDependencies: { peer: '1' },
  peerDependenciesMeta: { peer: { optional: true } },
  optionalDependencies: { maybe: '1' },
  bundleDependencies: ['inner'],
}
const published = {
  hasInstallScript: true,
  _hasShrinkwrap: false,
  _npmUser: {
    name: 'ana',
    email: 'ana@acme.example',
    trustedPublisher: { id: 'github', oidcConfigId: 'oidc:1' },
  },
}
await registry.publish({
  name: 'lib',
  version: '1.0.0',
  manifest,
  packumentManifest: published,
  provenance: true,
  size: 5_000,
})
await registry.publish({ name: 'lib', version: '1.1.0', provenance: true })
await registry.publish({ name: 'lib', version: '1.2.0-rc.1', provenance: true, tag: 'next' })
registry.tag('lib', 'bad', '1.1.0')
for (const version of ['1.0.0', '2.0.0']) await registry.publish({ name: '@s/n', version })
await registry.publish({ name: 'gone', version: '1.0.0' })

const main = await open(t)
const abbreviated = 'application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*'

type Asked = { status: number; phrase: string; headers: IncomingHttpHeaders; body: Buffer }

/** As it is on the wire: nothing added, nothing decoded. */
const raw = (
  path: string,
  headers: Record<string, string> = {},
  {
    method = 'GET',
    base = main.url,
    body,
  }: { method?: string; base?: string; body?: Buffer } = {},
): Promise<Asked> =>
  new Promise((done, fail) => {
    const at = new URL(base)
    const out = httpRequest(
      { host: at.hostname, port: at.port, path, method, headers, agent: false },
      answer => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', fail)
        answer.on('end', () => {
          const { statusCode: status = 0, statusMessage: phrase = '', headers: said } = answer
          done({ status, phrase, headers: said, body: Buffer.concat(chunks) })
        })
      },
    )
    out.on('error', fail)
    out.end(body)
  })
const json = async (path: string, headers?: Record<string, string>, base?: string) =>
  JSON.parse(
    (await raw(path, headers, base === undefined ? {} : { base })).body.toString(),
  ) as Json

t.test('names in every encoding, GET and HEAD', async t => {
  for (const path of ['/@s%2fn', '/@s%2Fn', '/@s/n', '/%40s%2fn'])
    for (const rest of ['', '/1.0.0', '/latest', '/-/n-1.0.0.tgz', '/-/@s/n-1.0.0.tgz']) {
      if (rest.startsWith('/-/@') && path === '/%40s%2fn') continue
      const got = await raw(`${path}${rest}`)
      const head = await raw(`${path}${rest}`, {}, { method: 'HEAD' })
      t.same([got.status, head.status], [200, 200], `${path}${rest}`)
      t.ok(got.body.length > 0)
      t.equal(head.body.length, 0)
      t.equal(head.headers['content-length'], got.headers['content-length'], 'the same length')
      t.equal(head.headers.etag, got.headers.etag)
      t.equal(head.headers['content-type'], got.headers['content-type'])
    }
  for (const id of ['@s%2fn@1.0.0', '@s/n@1.0.0', '@s%2Fn@1.0.0'])
    t.equal((await raw(`/-/npm/v1/attestations/${id}`)).status, 404, id)
  for (const id of ['lib@1.0.0'])
    for (const method of ['GET', 'HEAD'])
      t.equal((await raw(`/-/npm/v1/attestations/${id}`, {}, { method })).status, 200, id)
  for (const path of ['/@s%2fn', '/@s/n'])
    t.same(await json(`/-/package${path}/dist-tags`), { latest: '1.0.0' })
  const refused = await raw('/lib/-/lib-1.1.0.tgz', {}, { method: 'HEAD' })
  t.same([refused.status, refused.body.length], [403, 0])
  t.equal((await raw('/-/ping?write=true')).status, 200)
  for (const method of ['GET', 'HEAD'])
    t.equal((await raw('/-/whoami', {}, { method })).status, 401, 'HEAD as GET')
})

t.test('what is not of a registry, or cannot cross a proxy, is answered fast', async t => {
  for (const [method, path] of [
    ['POST', '/-/npm/v1/oidc/token/exchange/package/@s%2fn'],
    ['PUT', '/-/pnpm/v1/publish'],
    ['GET', '/-/pnpr'],
    ['GET', '/-/pnpr/x'],
    ['GET', '/-/all'],
    ['GET', '/-/_view/starredByUser?key=%22a%22'],
    ['GET', '/-/by-user/ana'],
  ] as const) {
    const before = registry.requests.length
    const started = performance.now()
    const answer = await raw(path, { 'content-type': 'application/json' }, { method })
    t.equal(answer.status, 404, path)
    t.ok(performance.now() - started < 2_000, 'at once')
    const { error, message } = JSON.parse(answer.body.toString()) as Json
    t.equal(error, message)
    t.equal(registry.requests.length, before, 'nobody is asked')
  }
})

t.test('validators', async t => {
  const full = await raw('/lib')
  const short = await raw('/lib', { accept: abbreviated })
  t.not(full.headers.etag, short.headers.etag, 'each form has its own')
  t.match(full.headers.vary, /\baccept\b/i)
  t.match(full.headers.vary, /\baccept-encoding\b/i)
  t.match(full.headers['content-type'], /^application\/json/)
  t.equal(short.headers['content-type'], 'application/vnd.npm.install-v1+json')
  t.match(full.headers['cache-control'], /max-age=\d+/)
  t.notMatch(full.headers['cache-control'], /no-store|no-cache/, 'pnpm 12 would ask each time')

  const same = { 'if-none-match': String(full.headers.etag) }
  const again = await raw('/lib', same)
  t.same([again.status, again.body.length], [304, 0])
  t.equal(again.headers.etag, full.headers.etag)
  t.equal(
    (await raw('/lib', { ...same, accept: abbreviated })).status,
    200,
    'of the other form',
  )
  t.equal((await raw('/lib', { 'if-none-match': '"other"' })).status, 200)
  for (const headers of [
    {},
    { 'if-modified-since': new Date(Date.now() + 86_400_000).toUTCString() },
    { 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'cross-site' },
  ])
    for (const path of ['/lib', '/lib/1.0.0', '/lib/-/lib-1.0.0.tgz'])
      t.equal((await raw(path, headers)).status, 200, 'never 304 without a validator')

  await t.test(
    'change with the policy and with the public URL, and with nothing else',
    async t => {
      const other = await open(t, { policies: [] })
      const elsewhere = await open(t, { settings: 'publicUrl: https://npm.acme.example/x/' })
      const twin = await open(t, { settings: `publicUrl: ${main.url}` })
      const etag = async (port: number) =>
        (await raw('/lib', {}, { base: `http://127.0.0.1:${port}` })).headers.etag
      const tags = [full.headers.etag, await etag(other.port), await etag(elsewhere.port)]
      t.equal(new Set(tags).size, 3)
      t.equal(await etag(twin.port), full.headers.etag, 'the same bytes, the same validator')
      const theirs = await raw('/lib', {}, { base: registry.url })
      t.ok(theirs.headers.etag)
      t.not(full.headers.etag, theirs.headers.etag)
    },
  )
})

t.test('encodings', async t => {
  const zipped = await raw('/lib', { 'accept-encoding': 'gzip, deflate, br' })
  t.equal(zipped.headers['content-encoding'], 'gzip')
  t.same(JSON.parse(gunzipSync(zipped.body).toString()), await json('/lib'))
  for (const accept of ['identity', 'br', 'gzip;q=0'])
    t.notOk((await raw('/lib', { 'accept-encoding': accept })).headers['content-encoding'])
  // pnpm 11 asks for identity, pnpm 12 for zstd and gzip: a tarball is as it was admitted
  for (const accept of ['identity', 'zstd, gzip', 'gzip, deflate, br']) {
    const tarball = await raw('/lib/-/lib-1.0.0.tgz', { 'accept-encoding': accept })
    t.notOk(tarball.headers['content-encoding'])
    t.equal(tarball.headers['content-length'], String(tarball.body.length))
  }
})

t.test('every field is kept, and addresses are ours', async t => {
  const theirs = (await (await fetch(`${registry.url}lib`)).json()) as Json
  const full = await json('/lib')
  const version = full['versions']['1.0.0']
  const { dist, ...rest } = version
  const { dist: from, ...before } = theirs['versions']['1.0.0']
  t.same(rest, before)
  t.match(version, { ...manifest, ...published })
  t.equal(dist.tarball, `${main.url}lib/-/lib-1.0.0.tgz`)
  t.equal(dist.attestations.url, `${main.url}-/npm/v1/attestations/lib@1.0.0`)
  t.same(dist.attestations.provenance, from.attestations.provenance)
  t.same(dist.signatures, from.signatures)
  t.same([dist.integrity, dist.shasum], [from.integrity, from.shasum])
  t.same(full['name'], 'lib')

  const short = await json('/lib', { accept: abbreviated })
  t.match(short['versions']['1.0.0'], { ...manifest, ...published, dist })
  t.equal(short['modified'], theirs['time'].modified)
  t.notOk('time' in short)
  t.same(await json('/lib/1.0.0'), version, 'alone the same, with its signatures')

  await t.test('below a path', async t => {
    const proxy = await open(t, { settings: 'publicUrl: https://tools.example/a/npm/' })
    const base = `http://127.0.0.1:${proxy.port}`
    for (const path of ['/lib', '/a/npm/lib']) {
      const { dist: there } = (await json(path, {}, base))['versions']['1.0.0']
      t.equal(there.tarball, 'https://tools.example/a/npm/lib/-/lib-1.0.0.tgz')
      // npm takes the path of it, and asks it of the registry's host
      const { pathname } = new URL(there.attestations.url)
      t.equal((await raw(pathname, {}, { base })).status, 200)
    }
  })
})

t.test('that there is none is asked once: most look-ups of attestations find none', async t => {
  const asked = (what: RegExp) => registry.requests.filter(({ path }) => what.test(path)).length
  for (const [what, ...paths] of [
    [
      /attestations.*gone@1\.0\.0/,
      '/-/npm/v1/attestations/gone@1.0.0',
      '/-/npm/v1/attestations/gone%401.0.0',
    ],
    [/^\/?no-such-thing$/, '/no-such-thing', '/no-such-thing/1.0.0'],
  ] as const) {
    const before = asked(what)
    for (const path of [...paths, ...paths]) t.equal((await raw(path)).status, 404, path)
    t.equal(asked(what) - before, 1, String(what))
  }
})

t.test('a version that is not there', async t => {
  for (const accept of ['application/json', abbreviated]) {
    const document = await json('/lib', { accept })
    t.same(Object.keys(document['versions']), ['1.0.0', '1.2.0-rc.1'])
    t.same(
      document['dist-tags'],
      { latest: '1.0.0', next: '1.2.0-rc.1' },
      'latest moves, bad goes',
    )
    const { message, versions } = document['policyRestrictions']
    t.same(versions, { '1.1.0': { name: 'lib', version: '1.1.0' } })
    t.match(
      message,
      /lib@1\.1\.0 DENIED: it is bad\. See http:.*\/-\/attestry\/why\/lib@1\.1\.0/,
    )
  }
  const { time } = await json('/lib')
  t.same(Object.keys(time), ['created', 'modified', '1.0.0', '1.2.0-rc.1'])
  t.same(await json('/-/package/lib/dist-tags'), { latest: '1.0.0', next: '1.2.0-rc.1' })
  t.equal((await json('/lib/latest'))['version'], '1.0.0')
  t.equal((await raw('/lib/bad')).status, 404)
  t.equal((await raw('/-/package/lib/dist-tags/bad')).status, 404)

  const pnpm = { 'user-agent': 'pnpm/12.21.0 npm/? node/? linux x64' }
  const tags = (await json('/lib', pnpm))['dist-tags'] as Record<string, string>
  const hint = Object.keys(tags).find(tag => tag.startsWith('REFUSED'))
  t.match(hint, /^REFUSED DENIED: it is bad\. See http:.*why\/lib@1\.1\.0$/)
  t.equal(tags[hint ?? ''], '1.1.0')
  t.match((await raw('/lib', pnpm)).headers.vary, /user-agent/, 'no cache gives it to others')
})

t.test('a refusal, in every vehicle', async t => {
  for (const path of [
    '/lib/-/lib-1.1.0.tgz',
    '/gone',
    '/gone/-/gone-1.0.0.tgz',
    '/lib/1.1.0',
  ]) {
    const { status, phrase, headers, body } = await raw(path)
    t.equal(status, 403, path)
    t.match(phrase, /^Refused by policy (lib@1\.1\.0|gone@1\.0\.0) DENIED it is bad$/)
    t.match(headers['npm-notice'], /refused by policy\. DENIED: it is bad\. See http/)
    t.match(headers['cache-control'], 'no-store')
    t.notOk(headers.etag)
    const said = JSON.parse(body.toString()) as Json
    t.equal(said['error'], said['message'], 'npm 11 reads the one, npm 12 either')
    t.match(said, { code: 'EREFUSED', reasons: [{ code: 'DENIED' }], docs: /why/ })
    for (const text of [phrase, String(headers['npm-notice'])]) t.match(text, /^[\x20-\x7e]+$/)
    t.equal((await raw(path, { 'if-none-match': '*' })).status, 403, 'no 304 stands in for it')
  }
  t.equal((await raw('/nothing')).status, 404)
})

t.test('bun, which shows of a refusal where it was led, is led to the reason', async t => {
  const agent = { 'user-agent': 'Bun/1.4.5' }
  for (const path of [
    '/lib/-/lib-1.1.0.tgz',
    '/gone',
    '/gone/-/gone-1.0.0.tgz',
    '/lib/1.1.0',
  ]) {
    const id = path.startsWith('/gone') ? 'gone@1.0.0' : 'lib@1.1.0'
    const { status, headers, body } = await raw(path, agent)
    t.equal(status, 302, path)
    t.equal(headers.location, `${main.url}-/attestry/refused/${id}/DENIED:_it_is_bad`)
    t.match(headers['cache-control'], 'no-store', 'for nobody else, and not for long')
    t.match(JSON.parse(body.toString()), { code: 'EREFUSED', reasons: [{ code: 'DENIED' }] })
    const { pathname } = new URL(String(headers.location))
    for (const accept of ['*/*', 'text/html', 'application/vnd.npm.install-v1+json, */*']) {
      const there = await raw(pathname, { accept })
      t.equal(there.status, 403, 'whoever asks: another answer would pass for the package')
      t.match(JSON.parse(there.body.toString()), { code: 'EREFUSED', docs: /why/ })
    }
    t.equal((await raw(path, { 'user-agent': 'Ban/1' })).status, 403, 'and nobody else')
  }
  t.equal((await raw('/-/attestry/refused/lib@1.0.0/x')).status, 403, 'also what is served')
  t.equal((await raw('/-/attestry/refused/@s%2fn@2.0.0/x')).status, 403)
  for (const path of ['lib@1.1.0', '../x', 'lib/x']) {
    const { status } = await raw(`/-/attestry/refused/${path}`)
    t.ok(status === 400 || status === 404, `${path}: ${status}`)
  }
  const below = await open(t, { settings: 'publicUrl: https://tools.example/a/npm/' })
  const { headers } = await raw('/@s%2fn/-/n-2.0.0.tgz', agent, {
    base: `http://127.0.0.1:${below.port}`,
  })
  t.equal(
    headers.location,
    'https://tools.example/a/npm/-/attestry/refused/@s/n@2.0.0/DENIED:_it_is_bad',
  )
  t.equal((await raw('/lib/-/lib-1.0.0.tgz', agent)).status, 200)
})

t.test('what cannot be decided is no refusal', async t => {
  registry.faults.attestationsStatus = 500
  t.teardown(() => registry.heal())
  const strict = `version: 1
defaults: { require: { provenance: required } }
`
  const proxy = await open(t, { policies: [strict], upstreamSettings: ['retries: 0'] })
  const { status, phrase, headers, body } = await raw(
    '/lib/-/lib-1.0.0.tgz',
    {},
    { base: proxy.url },
  )
  t.equal(status, 503)
  t.match(phrase, /^Could not check lib@1\.0\.0/)
  t.ok(headers['retry-after'])
  t.match(JSON.parse(body.toString()), { code: 'EUNCHECKED', error: /could not be checked/ })
})

t.test('advisories: bodies as clients send them', async t => {
  const path = '/-/npm/v1/security/advisories/bulk'
  const asked = Buffer.from(JSON.stringify({ lib: ['1.1.0', '1.0.0'], other: ['1.0.0'] }))
  const ask = async (encoding: string, body: Buffer) =>
    raw(
      path,
      { 'content-type': 'application/json', 'content-encoding': encoding },
      { method: 'POST', body },
    )
  for (const [encoding, body] of [
    ['identity', asked],
    ['gzip', gzipSync(asked)],
    ['zstd', zstdCompressSync(asked)],
  ] as const) {
    const { status, body: answer } = await ask(encoding, body)
    t.equal(status, 200, encoding)
    const { lib, ...others } = JSON.parse(answer.toString()) as Json
    t.match(lib, [
      { title: 'DENIED: it is bad', vulnerable_versions: '1.1.0', severity: 'high' },
    ])
    t.equal(lib.length, 1)
    t.same(others, {})
  }
  t.equal((await ask('zstd', gzipSync(asked))).status, 400, 'not what it says')
  t.equal((await ask('br', asked)).status, 400)
  const bomb = Buffer.alloc(40 * 1024 * 1024, ' ')
  for (const [encoding, body] of [
    ['gzip', gzipSync(bomb)],
    ['zstd', zstdCompressSync(bomb)],
  ] as const)
    t.equal((await ask(encoding, body)).status, 413, `${encoding} that grows`)
  t.match(
    registry.asked(path).at(-1)?.body.toString(),
    'other',
    'their names went to the upstream',
  )
})

t.test('deprecation steers only when asked to', async t => {
  const plain = await open(t, {}, 'observe')
  const shown = async (base: string) => (await json('/lib', {}, base))['versions']
  t.notOk('deprecated' in (await shown(plain.url))['1.1.0'])
  const proxy = await open(t, { settings: 'observe: { deprecate: true }' }, 'observe')
  const { '1.0.0': good, '1.1.0': bad } = await shown(proxy.url)
  t.notOk('deprecated' in good)
  t.match(
    bad.deprecated,
    /^Policy would refuse it\. DENIED: it is bad\. See http.*lib@1\.1\.0$/,
  )
  const short = await json('/lib', { accept: abbreviated }, proxy.url)
  t.equal(short['versions']['1.1.0'].deprecated, bad.deprecated)
  t.equal((await json('/lib/1.1.0', {}, proxy.url))['deprecated'], bad.deprecated)
  t.equal((await raw('/lib/-/lib-1.1.0.tgz', {}, { base: proxy.url })).status, 200)
  t.notOk('policyRestrictions' in (await json('/lib', {}, proxy.url)))
  // nobody has looked at it yet, and that is nothing against it
  const unlooked = `version: 1
mode: observe
defaults: { require: { provenance: required } }
`
  const fresh = await open(t, {
    settings: 'observe: { deprecate: true }',
    policies: [unlooked],
  })
  t.notOk('deprecated' in (await shown(fresh.url))['1.0.0'])
  t.match(
    (await json('/@s%2fn', {}, fresh.url))['versions']['1.0.0'].deprecated,
    /NO_PROVENANCE/,
  )
  // what its publisher said stays, and what is refused is not deprecated but gone
  registry.amend('lib', '1.1.0', { manifest: { deprecated: 'use 1.2.0' } })
  t.teardown(() => registry.amend('lib', '1.1.0', { manifest: {} }))
  const later = await open(t, { settings: 'observe: { deprecate: true }' }, 'observe')
  t.match((await shown(later.url))['1.1.0'].deprecated, /^use 1\.2\.0 Policy would refuse it\./)
  const enforcing = await open(t, { settings: 'observe: { deprecate: true }' })
  t.notOk('1.1.0' in (await shown(enforcing.url)))
})

t.test('what an upstream restricts or has staged itself', async t => {
  const upstream = await startRecorder()
  t.teardown(() => upstream.close())
  const one = (version: string) => ({
    name: 'lib',
    version,
    dist: { shasum: 'a'.repeat(40), tarball: `${upstream.url}lib/-/lib-${version}.tgz` },
  })
  upstream.on(/^GET \/lib/, {
    body: {
      name: 'lib',
      'dist-tags': { latest: '1.1.0' },
      versions: { '1.0.0': one('1.0.0'), '1.1.0': one('1.1.0') },
      policyRestrictions: {
        message: 'lib@0.9.0 is refused there.',
        versions: { '0.9.0': one('0.9.0') },
      },
      stagedVersions: { versions: { '1.3.0': one('1.3.0') } },
    },
  })
  const proxy = await open(t, { upstream: upstream.url })
  for (const accept of ['application/json', abbreviated]) {
    const document = await json('/lib', { accept }, proxy.url)
    const { message, versions } = document['policyRestrictions']
    t.match(message, /^lib@1\.1\.0 DENIED: it is bad[^\n]*\nlib@0\.9\.0 is refused there\.$/)
    t.same(Object.keys(versions).toSorted(), ['0.9.0', '1.1.0'])
    t.same(versions['0.9.0'], { name: 'lib', version: '0.9.0' }, 'no address of theirs')
    const staged = document['stagedVersions'].versions['1.3.0']
    t.equal(staged.dist.tarball, `${proxy.url}lib/-/lib-1.3.0.tgz`)
    t.notMatch(JSON.stringify(document), upstream.url)
  }
  const staged = await raw('/lib/-/lib-1.3.0.tgz', {}, { base: proxy.url })
  t.equal(staged.status, 404, 'what is not published is judged by nobody, and not served')
})
