/** A release that clients do not get, and get no word of: whoever runs the server does. */
import t, { type Test } from 'tap'
import type { Withheld } from '../../lib/gate/withheld.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const open = async (t: Test, more: Partial<ProxyOptions> = {}) => {
  const told: Withheld[] = []
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings: 'cache: { packumentTtl: 0s }',
    observer: { onWithheld: one => void told.push(one) },
    ...more,
  })
  t.teardown(() => proxy.close())
  const tags = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${proxy.url}${path}`, { headers })
    const document = (await answer.json()) as { 'dist-tags'?: object }
    return document['dist-tags'] ?? answer.status
  }
  return { tags, told }
}

t.test('told once, whoever asks and in whatever form', async t => {
  const { tags, told } = await open(t)
  await registry.publish({ name: 'lib', version: '1.0.0', provenance: true })
  t.same(await tags('lib'), { latest: '1.0.0' })
  t.same(told, [], 'nothing is')
  await registry.publish({ name: 'lib', version: '1.1.0' })
  const corgi = { accept: 'application/vnd.npm.install-v1+json' }
  for (const headers of [{}, corgi, { 'user-agent': 'pnpm/11.0.0' }, corgi])
    t.match(await tags('lib', headers), { latest: '1.0.0' })
  t.match(told, [
    {
      package: { name: 'lib', version: '1.1.0' },
      tag: 'latest',
      instead: '1.0.0',
      reasons: [{ code: 'DOWNGRADED' }],
    },
  ])
  t.equal(told.length, 1)
  await registry.publish({ name: 'lib', version: '1.2.0', tag: 'next' })
  t.same(await tags('lib'), { latest: '1.0.0' })
  t.equal(told.length, 2, 'of another version anew')
  t.match(told[1], { package: { version: '1.2.0' }, tag: 'next', instead: undefined })
  await registry.publish({ name: 'lib', version: '1.3.0', provenance: true })
  t.same(await tags('lib'), { latest: '1.3.0' })
  t.equal(told.length, 2, 'no tag names 1.1.0 any more')
})

t.test('nothing at all is left, and a view of its own', async t => {
  await registry.publish({ name: 'outlaw', version: '1.0.0' })
  const deny = 'version: 1\nrules: [{ packages: [outlaw], deny: { reason: no } }]\n'
  const folder = t.testdir({ 'web.yaml': deny })
  const { tags, told } = await open(t, {
    settings: `cache: { packumentTtl: 0s }\nviews: { web: { policies: ["${folder}/web.yaml"] } }`,
  })
  t.same(await tags('outlaw'), { latest: '1.0.0' })
  t.same(told, [])
  t.equal(await tags('v/web/outlaw'), 403)
  t.match(told, [{ package: { name: 'outlaw' }, view: 'web', reasons: [{ code: 'DENIED' }] }])
  t.equal(told[0]?.instead, undefined)
})
