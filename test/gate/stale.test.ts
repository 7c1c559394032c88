/** Packuments past their time: served at once and asked for behind, or never asked for. */
import { setTimeout as sleep } from 'node:timers/promises'
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

const open = async (t: Test, cache: string, more: Partial<ProxyOptions> = {}) => {
  let clock = Date.parse('2026-06-01T00:00:00Z')
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    upstreamSettings: ['retries: 0'],
    settings: `cache: { ${cache} }`,
    now: () => new Date(clock),
    ...more,
  })
  t.teardown(() => proxy.close())
  const look = async (name: string) => {
    const response = await fetch(`${proxy.url}${name}`)
    const { versions = {} } = (await response.json()) as { versions?: object }
    return {
      status: response.status,
      versions: Object.keys(versions),
      headers: response.headers,
    }
  }
  const pass = (seconds: number) => {
    clock += seconds * 1000
  }
  return { proxy, look, pass }
}

const asks = (name: string) => registry.asked(new RegExp(`^/${name}$`)).length

t.test('stale while revalidate', async t => {
  await registry.publish({ name: 'swift', version: '1.0.0' })
  const { proxy, look, pass } = await open(
    t,
    'packumentTtl: 1m, staleWhileRevalidate: 10m, staleIfError: 1h',
  )
  t.same((await look('swift')).versions, ['1.0.0'])
  await registry.publish({ name: 'swift', version: '1.1.0' })
  pass(59)
  t.same((await look('swift')).versions, ['1.0.0'])
  t.equal(asks('swift'), 1, 'within its time nobody is asked')
  pass(2)
  registry.faults.delay = 200
  t.same((await look('swift')).versions, ['1.0.0'], 'what we have, at once')
  await proxy.gate.idle()
  registry.heal()
  t.equal(asks('swift'), 2)
  t.same((await look('swift')).versions, ['1.0.0', '1.1.0'], 'what was learnt behind')
  t.equal(asks('swift'), 2)

  await registry.publish({ name: 'swift', version: '1.2.0' })
  pass(61 + 600)
  t.equal((await look('swift')).versions.length, 3, 'too old: waited for')
  t.equal(asks('swift'), 3)

  registry.faults.status = 503
  pass(61)
  t.equal((await look('swift')).status, 200)
  await proxy.gate.idle()
  t.equal((await look('swift')).status, 200, 'a failure behind changes nothing')
  pass(700)
  t.ok((await look('swift')).headers.get('attestry-stale'), 'and is told once it is waited for')
  registry.heal()
})

t.test('off by default', async t => {
  await registry.publish({ name: 'exact', version: '1.0.0' })
  const { look, pass } = await open(t, 'packumentTtl: 1m')
  await look('exact')
  await registry.publish({ name: 'exact', version: '1.1.0' })
  pass(61)
  t.equal((await look('exact')).versions.length, 2)
})

t.test('offline', async t => {
  await registry.publish({ name: 'kept', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'never', version: '1.0.0' })
  const storage = t.testdir()
  const online = await open(t, 'packumentTtl: 1m', { storage })
  t.equal((await online.look('kept')).status, 200)
  const path = 'kept/-/kept-1.0.0.tgz'
  await (await fetch(`${online.proxy.url}${path}`)).arrayBuffer()
  await online.proxy.gate.idle()
  await online.proxy.close()

  registry.requests.length = 0
  const { proxy, look, pass } = await open(t, 'offline: true', { storage })
  pass(400 * 86_400)
  t.same((await look('kept')).versions, ['1.0.0'], 'whatever its age')
  t.equal((await fetch(`${proxy.url}${path}`)).status, 200)
  t.equal((await look('never')).status, 404)
  t.equal((await fetch(`${proxy.url}-/v1/search?text=x`)).ok, false)
  await proxy.gate.idle()
  await sleep(20)
  t.equal(registry.requests.length, 0, 'nobody was asked')
})
