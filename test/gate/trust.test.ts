/** Trust that changes while packages are served: verdicts follow, requests do not notice. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { keysTarget, newKey } from '../support/sigstore/registry-keys.ts'

const sigstore = await localSigstore()
const stranger = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
  await stranger.close()
})

// eslint-disable-next-line typescript/no-explicit-any -- documents of a registry, looked into by hand
type Json = Record<string, any>

const base: ProxyOptions = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  settings: 'cache: { packumentTtl: 0s, negativeTtl: 0s }',
}

const open = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({ ...base, ...options })
  t.teardown(() => proxy.close())
  const get = (path: string) => fetch(new URL(path, proxy.url))
  const tarball = async (name: string, version = '1.0.0') => {
    const response = await get(`/${name}/-/${name.split('/').at(-1)}-${version}.tgz`)
    const body = Buffer.from(await response.arrayBuffer())
    if (response.status === 200) return '200'
    const { code, reasons = [] } = JSON.parse(body.toString()) as Json
    return `${response.status} ${[code, ...(reasons as Json[]).map(r => r['code'] as string)].join(' ')}`
  }
  const shown = async (name: string): Promise<string[]> => {
    const document = (await (await get(`/${name.replace('/', '%2f')}`)).json()) as Json
    return Object.keys(document['versions'] as Json)
  }
  const trust = async (document: object, file = 'trusted_root.json') => {
    writeFileSync(join(proxy.folder, file), JSON.stringify(document))
    await proxy.trust.renew()
  }
  return { proxy, get, tarball, shown, trust }
}

const settled = async ({ gate }: Proxy) => gate.idle()

t.test('a key that is taken back', async t => {
  const { proxy, get, tarball, shown, trust } = await open(t)
  await registry.publish({ name: '@acme/keyed', version: '1.0.0' })
  await registry.publish({ name: '@acme/keyed', version: '1.1.0' })
  t.equal(await tarball('@acme/keyed'), '200')
  t.equal(await tarball('@acme/keyed'), '200', 'from memory')
  const { gate } = proxy
  const before = proxy.trust.materialOf('npm').digest
  registry.requests.length = 0

  await trust(keysTarget([newKey()]), 'keys.json')
  t.not(proxy.trust.materialOf('npm').digest, before)
  t.equal(await tarball('@acme/keyed'), '403 EREFUSED INVALID_SIGNATURE')
  t.notOk(registry.requests.some(({ path }) => path.endsWith('.tgz')))
  await settled(proxy)
  t.notOk((await shown('@acme/keyed')).includes('1.0.0'), 'it is hidden')
  const ready = (await (await get('/-/attestry/health/ready')).json()) as Json
  t.equal(ready['trust'].digests.npm, proxy.trust.materialOf('npm').digest)
  t.equal(ready['policy'], gate.policyDigest)

  t.test('and given again', async t => {
    await trust(sigstore.registryKeys(), 'keys.json')
    t.equal(proxy.trust.materialOf('npm').digest, before)
    t.equal(await tarball('@acme/keyed'), '200')
    t.strictSame(await shown('@acme/keyed'), ['1.0.0', '1.1.0'])
    t.notOk(
      registry.requests.some(({ path }) => path.endsWith('.tgz')),
      'the bytes were here',
    )
  })
  t.test('or that ended before', async t => {
    const { keys } = sigstore.registryKeys()
    const ended = keys.map(key => ({
      ...key,
      publicKey: {
        ...key.publicKey,
        validFor: { ...key.publicKey.validFor, end: '2025-06-01T00:00:00.000Z' },
      },
    }))
    await trust({ keys: ended }, 'keys.json')
    t.equal(await tarball('@acme/keyed'), '403 EREFUSED INVALID_SIGNATURE')
  })
  t.test('a file that cannot be used leaves what was', async t => {
    await trust(sigstore.registryKeys(), 'keys.json')
    writeFileSync(join(proxy.folder, 'keys.json'), '{')
    await proxy.trust.renew()
    t.equal(await tarball('@acme/keyed'), '200')
    t.match(proxy.trust.status().warnings, [
      { kind: 'refused', source: 'registry keys of npm' },
    ])
    const told = (await (await get('/-/attestry/health/ready')).json()) as Json
    t.match(told['trust'].warnings, [
      'registry keys of npm: it could not be renewed; the log tells why.',
    ])
    t.notMatch(JSON.stringify(told), proxy.folder, 'no path of this machine')
  })
})

t.test('a root that is replaced', async t => {
  const { proxy, tarball, shown, trust } = await open(t)
  for (const version of ['1.0.0', '1.1.0', '1.2.0'])
    await registry.publish({ name: '@acme/rooted', version, provenance: true })
  for (const version of ['1.0.0', '1.1.0'])
    t.equal(await tarball('@acme/rooted', version), '200')
  await settled(proxy)
  // the mirror of evidence is down: what was kept is enough to see that it no longer holds
  registry.faults.attestationsStatus = 503
  t.teardown(() => (registry.faults.attestationsStatus = undefined))
  await trust(stranger.trustedRoot)
  await shown('@acme/rooted')
  await settled(proxy)
  t.strictSame(await shown('@acme/rooted'), ['1.2.0'], 'all that was looked at is hidden')
  t.match(await tarball('@acme/rooted'), /^403 EREFUSED INVALID_ATTESTATION/)

  t.test('and comes back', async t => {
    registry.requests.length = 0
    await trust(sigstore.trustedRoot)
    t.equal(await tarball('@acme/rooted'), '200')
    await settled(proxy)
    t.strictSame(await shown('@acme/rooted'), ['1.0.0', '1.1.0', '1.2.0'])
    t.notOk(
      registry.requests.some(({ path }) => /attestations.*1\.[01]\.0$/.test(path)),
      'nobody was asked',
    )
  })
  t.test('by a root that may not speak for this issuer', async t => {
    const tied = await open(t, {
      settings: [base.settings, 'views: {}'].join('\n'),
      upstreamSettings: [
        `trustRoots: [{ file: ./trusted_root.json, issuers: [https://gitlab.com] }]`,
      ],
    })
    registry.faults.attestationsStatus = undefined
    t.match(await tied.tarball('@acme/rooted'), /^403 EREFUSED INVALID_ATTESTATION/)
  })
})

t.test('what is under way while trust changes', async t => {
  const { proxy, tarball, trust } = await open(t)
  const versions = Array.from({ length: 4 }, (_, i) => `1.0.${i}`)
  for (const version of versions)
    await registry.publish({ name: '@acme/busy', version, provenance: true })
  const answers: string[] = []
  let done = false
  const ask = async () => {
    for (let i = 0; !done; i++)
      answers.push(await tarball('@acme/busy', versions[i % versions.length]))
  }
  const asking = Promise.all([ask(), ask(), ask(), ask()])
  for (let i = 0; i < 2; i++) {
    await trust(i % 2 === 0 ? stranger.trustedRoot : sigstore.trustedRoot)
    const before = answers.length
    while (answers.length < before + 6) await new Promise(r => setTimeout(r, 20))
  }
  done = true
  await asking
  t.ok(answers.includes('200'))
  t.ok(answers.some(answer => answer.startsWith('403')))
  t.strictSame(
    answers.filter(answer => !/^(200$|403 EREFUSED INVALID_ATTESTATION)/.test(answer)),
    [],
    'nothing else was answered',
  )
  t.equal(await tarball('@acme/busy'), '200')
  await trust(stranger.trustedRoot)
  t.match(await tarball('@acme/busy'), /^403/, 'nobody who asks after it gets what was before')
  await proxy.trust.renew()
})

t.test('two servers on one store', async t => {
  const first = await open(t)
  await registry.publish({ name: '@acme/shared', version: '1.0.0' })
  const storage = join(first.proxy.folder, 'store')
  const keys = join(first.proxy.folder, 'keys.json')
  const second = await open(t, { storage, registryKeys: keys })
  t.equal(await second.tarball('@acme/shared'), '200')

  await first.trust(keysTarget([newKey()]), 'keys.json')
  const until = performance.now() + 30_000
  while ((await second.tarball('@acme/shared')) === '200' && performance.now() < until)
    await new Promise(r => setTimeout(r, 100))
  t.equal(
    await second.tarball('@acme/shared'),
    '403 EREFUSED INVALID_SIGNATURE',
    'told by the first',
  )
})
