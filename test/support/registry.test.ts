import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { integrityOf, localSigstore } from './local-sigstore.ts'
import { packTarball, startRegistry } from './registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore, prefix: '/npm/' })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
t.afterEach(() => registry.heal())

const widget = await registry.publish({
  name: '@acme/widget',
  version: '1.0.0',
  provenance: { repository: 'acme/widget' },
})
await registry.publish({
  name: 'app',
  version: '1.0.0',
  dependencies: { '@acme/widget': '^1.0.0' },
})
await registry.publish({
  name: 'app',
  version: '1.1.0-rc.1',
  tag: 'next',
  signed: false,
  manifest: { description: 'soon', scripts: { postinstall: 'true' } },
  packumentManifest: { scripts: undefined },
})

const corgi = 'application/vnd.npm.install-v1+json'
const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(registry.url + path, { headers })
type Version = {
  name: string
  description?: string
  scripts?: object
  dependencies?: object
  dist: { tarball: string; integrity: string; signatures?: object[]; attestations?: object }
}
type Packument = {
  name: string
  'dist-tags': object
  versions: Record<string, Version>
  time?: Record<string, string>
}
const packument = async (path: string, headers = {}) =>
  (await (await get(path, headers)).json()) as Packument

t.test('a packument in both forms', async t => {
  const full = await packument('app')
  const abbreviated = await packument('app', { accept: corgi })
  t.match(full, { name: 'app', 'dist-tags': { latest: '1.0.0', next: '1.1.0-rc.1' } })
  t.same(full.time?.['1.0.0'], '2026-01-01T00:01:00.000Z')
  t.equal(full.versions['1.1.0-rc.1']?.description, 'soon')
  t.equal(abbreviated.versions['1.1.0-rc.1']?.description, undefined)
  t.equal(abbreviated.time, undefined)
  t.match(abbreviated.versions['1.0.0'], { dependencies: { '@acme/widget': '^1.0.0' } })
  t.equal(full.versions['1.1.0-rc.1']?.scripts, undefined, 'the packument lies where asked to')
  t.equal(full.versions['1.1.0-rc.1']?.dist.signatures, undefined)
  t.equal(full.versions['1.0.0']?.dist.signatures?.length, 1)
})

t.test('names, versions and tags are found however they are written', async t => {
  for (const path of ['@acme/widget', '@acme%2fwidget', '@acme%2Fwidget']) {
    t.equal((await packument(path)).name, '@acme/widget', path)
  }
  t.match(await (await get('app/next')).json(), { version: '1.1.0-rc.1' })
  t.match(await (await get('-/package/app/dist-tags')).json(), { next: '1.1.0-rc.1' })
  for (const path of ['nothing', 'app/9.9.9', '-/npm/v1/attestations/app@1.0.0', '-/x']) {
    t.equal((await get(path)).status, 404, path)
  }
  t.equal((await fetch(new URL('/app', registry.url))).status, 404, 'outside the prefix')
})

t.test('validators and compression', async t => {
  const first = await get('app')
  const other = await get('app', { accept: corgi })
  const etag = first.headers.get('etag') ?? ''
  t.not(etag, other.headers.get('etag'), 'each form has its own')
  t.equal(first.headers.get('content-encoding'), 'gzip')
  t.equal((await get('app', { 'if-none-match': etag })).status, 304)
  await registry.publish({ name: 'app', version: '1.0.1', signed: false })
  t.equal((await get('app', { 'if-none-match': etag })).status, 200)
  registry.unpublish('app', '1.0.1')
  registry.tag('app', 'latest', '1.0.0')
})

t.test('tarballs are real, and the same every time', async t => {
  const { dist } = (await packument('@acme/widget')).versions['1.0.0'] ?? {}
  const bytes = Buffer.from(await (await fetch(dist?.tarball ?? '')).arrayBuffer())
  t.equal(integrityOf(bytes), dist?.integrity)
  t.equal(dist?.integrity, widget.integrity)
  t.equal(gunzipSync(bytes).toString('latin1', 0, 21), 'package/package.json\0')
  t.same(packTarball({ 'a.txt': 'a' }), packTarball({ 'a.txt': 'a' }))
  t.ok(
    (await registry.publish({ name: 'big', version: '1.0.0', size: 5e6 })).tarball.length > 5e6,
  )
})

t.test('attestations and keys', async t => {
  const answer = await get('-/npm/v1/attestations/@acme%2fwidget@1.0.0')
  const { attestations } = (await answer.json()) as { attestations: object[] }
  t.equal(attestations.length, 2)
  t.match((await packument('@acme/widget')).versions['1.0.0']?.dist.attestations, {
    url: `${registry.url}-/npm/v1/attestations/@acme/widget@1.0.0`,
    provenance: { predicateType: 'https://slsa.dev/provenance/v1' },
  })
  t.same(await (await get('-/npm/v1/keys')).json(), sigstore.keysEndpoint())
})

t.test('a packument grows', async t => {
  registry.grow('huge', 2_000_000)
  const { length } = await (await get('huge')).text()
  t.ok(length > 1_800_000 && length < 2_400_000, `${length} bytes`)
})

t.test('faults, switched while it runs', async t => {
  const { faults } = registry
  const path = '@acme/widget/-/widget-1.0.0.tgz'
  const sha = async () => {
    const bytes = Buffer.from(await (await get(path)).arrayBuffer())
    return createHash('sha1').update(bytes).digest('hex')
  }
  faults.flipTarballs = true
  t.not(await sha(), widget.shasum)
  registry.heal()
  t.equal(await sha(), widget.shasum)
  faults.cutTarballs = true
  await t.rejects(sha())
  registry.heal()
  faults.down = true
  await t.rejects(get('app'))
  registry.heal()
  faults.status = 503
  t.equal((await get('app')).status, 503)
  faults.only = /^\/-\//
  t.equal((await get('app')).status, 200, 'only where asked')
  registry.heal()
  faults.hang = true
  await t.rejects(fetch(`${registry.url}app`, { signal: AbortSignal.timeout(100) }))
  registry.heal()
  faults.chunked = true
  t.equal((await get(path)).headers.get('content-length'), null)
  registry.heal()
  faults.garbage = true
  await t.rejects(packument('app'))
  registry.heal()
  faults.stripSignatures = true
  faults.stripAttestations = true
  const { dist } = (await packument('@acme/widget')).versions['1.0.0'] ?? {}
  t.same([dist?.signatures, dist?.attestations], [undefined, undefined])
  registry.heal()
  faults.attestationsStatus = 404
  faults.keysStatus = 500
  t.equal((await get('-/npm/v1/attestations/@acme%2fwidget@1.0.0')).status, 404)
  t.equal((await get('-/npm/v1/keys')).status, 500)
})

t.test('requests are logged, and a token may be asked for', async t => {
  registry.requests.length = 0
  await get('@acme%2fwidget', { 'x-test': 'yes' })
  t.match(registry.asked('/@acme/widget'), [
    { method: 'GET', rawPath: '/npm/@acme%2fwidget', headers: { 'x-test': 'yes' } },
  ])
  const closed = await startRegistry({ token: 's3cret' })
  t.teardown(() => closed.close())
  t.equal((await fetch(`${closed.url}-/ping`)).status, 401)
  const headers = { authorization: 'Bearer s3cret' }
  t.equal((await fetch(`${closed.url}-/ping`, { headers })).status, 200)
})

t.test('a release can be amended after its publication', async t => {
  registry.amend('@acme/widget', '1.0.0', { signatures: [] })
  t.equal((await packument('@acme/widget')).versions['1.0.0']?.dist.signatures, undefined)
  t.throws(() => registry.amend('@acme/widget', '9.9.9', {}))
})
