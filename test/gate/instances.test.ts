/** Several instances on one store: what one does, none does again, and what one learns, all know. */
import t, { type Test } from 'tap'
import { eventually } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const open = async (t: Test, count = 3) => {
  const storage = t.testdir()
  let clock = Date.parse('2026-06-01T00:00:00Z')
  const options = {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    upstreamSettings: ['retries: 0'],
    settings: 'cache: { packumentTtl: 1m }',
    storage,
    now: () => new Date(clock),
  }
  const proxies: Proxy[] = []
  for (let index = 0; index < count; index++) {
    const proxy = await startProxy(options)
    t.teardown(() => proxy.close())
    proxies.push(proxy)
  }
  const pass = (seconds: number) => {
    clock += seconds * 1000
  }
  return { proxies, pass }
}

const versions = async (proxy: Proxy, name: string) => {
  const body = (await (await fetch(`${proxy.url}${name}`)).json()) as { versions?: object }
  return Object.keys(body.versions ?? {})
}
const tarball = async (proxy: Proxy, name: string, version = '1.0.0') => {
  const response = await fetch(`${proxy.url}${name}/-/${name}-${version}.tgz`)
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) }
}
const asks = (path: RegExp) => registry.asked(path).length

t.test('a cold start asks the upstream for each thing once', async t => {
  const published = new Map<string, Buffer>()
  for (let index = 0; index < 12; index++) {
    const name = `cold-${index}`
    const provenance = index % 3 === 0 ? {} : ({ provenance: true } as const)
    published.set(
      name,
      (await registry.publish({ name, version: '1.0.0', ...provenance })).tarball,
    )
  }
  const { proxies } = await open(t)
  registry.requests.length = 0
  await Promise.all(
    proxies.flatMap(proxy =>
      [...published].map(async ([name, wanted]) => {
        t.same(await versions(proxy, name), ['1.0.0'])
        const { status, bytes } = await tarball(proxy, name)
        t.equal(status, 200)
        t.ok(bytes.equals(wanted))
      }),
    ),
  )
  await Promise.all(proxies.map(({ gate }) => gate.idle()))
  for (const name of published.keys()) {
    t.equal(asks(new RegExp(`^/${name}$`)), 1, 'packument')
    t.equal(asks(new RegExp(`^/${name}/-/`)), 1, 'tarball')
  }
  t.equal(asks(/attestations\/cold-/), 8)
})

t.test('one instance asks again when time has passed, and all have what it found', async t => {
  await registry.publish({ name: 'moves', version: '1.0.0' })
  const { proxies, pass } = await open(t, 2)
  const [one, two] = proxies as [Proxy, Proxy]
  t.same(await versions(one, 'moves'), ['1.0.0'])
  t.same(await versions(two, 'moves'), ['1.0.0'])
  await registry.publish({ name: 'moves', version: '1.1.0' })
  t.equal((await tarball(two, 'moves', '1.1.0')).status, 404, 'nobody has seen it')
  pass(61)
  registry.requests.length = 0
  t.same(await versions(one, 'moves'), ['1.0.0', '1.1.0'])
  // at once: a client may be sent to another instance for the tarball than for the packument
  t.equal((await tarball(two, 'moves', '1.1.0')).status, 200)
  t.same(await versions(two, 'moves'), ['1.0.0', '1.1.0'])
  t.equal(asks(/^\/moves$/), 1)
})

t.test('an instance that remembers a verdict hears what another found out', async t => {
  await registry.publish({ name: 'turns', version: '1.0.0' })
  const { proxies, pass } = await open(t, 2)
  const [one, two] = proxies as [Proxy, Proxy]
  t.equal((await tarball(two, 'turns')).status, 200)
  t.equal((await tarball(two, 'turns')).status, 200)
  // the upstream now names other bytes for it
  registry.amend('turns', '1.0.0', { integrity: `sha512-${'A'.repeat(86)}==` })
  pass(61)
  await versions(one, 'turns')
  t.ok(await eventually(async () => (await tarball(two, 'turns')).status === 403))
  t.equal((await tarball(one, 'turns')).status, 403)
})

t.test('what cannot be put on record is not served anew, nor remembered', async t => {
  await registry.publish({ name: 'unrecorded', version: '1.0.0' })
  await registry.publish({ name: 'recorded', version: '1.0.0' })
  const { proxies } = await open(t, 1)
  const [one] = proxies as [Proxy]
  // the first verdict teaches something new; the second is the one that is remembered
  for (let look = 0; look < 2; look++) t.equal((await tarball(one, 'recorded')).status, 200)
  const { audit } = one.store
  const working = { ...audit }
  Object.assign(audit, { append: () => Promise.reject(new Error('no room')) })
  t.equal((await tarball(one, 'unrecorded')).status, 500)
  t.equal((await tarball(one, 'unrecorded')).status, 500)
  t.equal((await tarball(one, 'recorded')).status, 200, 'what was admitted is served')
  Object.assign(audit, working)
  t.equal((await tarball(one, 'unrecorded')).status, 200)
})
