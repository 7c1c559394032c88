/**
 * Verdicts that another process on the store has given: they count without the package being read or
 * judged again, as long as all they rest on is the same.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openBehind } from '../../lib/gate/behind.ts'
import type { EvidenceRecord } from '../../lib/gate/evidence-facts.ts'
import { openGrounds } from '../../lib/gate/grounds.ts'
import { openKeptVerdicts } from '../../lib/gate/kept-verdicts.ts'
import { openPackages, type PackagesOptions } from '../../lib/gate/packages.ts'
import type { PackageHead } from '../../lib/gate/package-index.ts'
import type { PackageRecord } from '../../lib/gate/package-records.ts'
import type { Standing } from '../../lib/gate/standing.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type { BlobUse } from '../../lib/store/store.ts'
import type { Fact, Integrity, RegistrySignature, Verdict } from '../../lib/types.ts'
import { eventually } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { keysTarget, newKey } from '../support/sigstore/registry-keys.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const client = { address: '127.0.0.1' }
const policies = (text: string): readonly Policy[] => [
  parsePolicy(`version: 1\n${text}\n`, { file: 'p.yaml', name: 'p.yaml' }),
]

/** A proxy that has served `name`, and others on its store, which count when its text is read. */
const open = async (t: Test, name: string, text = '') => {
  const storage = await mkdtemp(join(tmpdir(), 'attestry-kept-'))
  t.teardown(() => rm(storage, { recursive: true, force: true }))
  let clock = Date.parse('2026-06-01T00:00:00Z')
  const start = async (options: Partial<ProxyOptions> = {}) => {
    const proxy = await startProxy({
      upstream: registry.url,
      trustedRoot: sigstore.trustedRoot,
      registryKeys: sigstore.registryKeys(),
      upstreamSettings: ['retries: 0'],
      policies: text === '' ? [] : [`version: 1\n${text}\n`],
      settings: 'publicUrl: http://npm.acme.example/\ncache: { packumentTtl: 1h }',
      storage,
      now: () => new Date(clock),
      ...options,
    })
    t.teardown(() => proxy.close())
    const { blobs, records } = proxy.store
    const raw = (await records.get<PackageRecord>('package', name))?.raw
    let reads = 0
    const working = { ...blobs }
    Object.assign(blobs, {
      get: (integrity: Integrity, use?: BlobUse) => {
        if (integrity === raw) reads += 1
        return working.get(integrity, use)
      },
    })
    return { proxy, reads: () => reads }
  }
  const first = await start()
  await serve(first.proxy, name)
  await first.proxy.gate.idle()
  const pass = (seconds: number) => {
    clock += seconds * 1000
  }
  return { first: first.proxy, start, pass }
}

const serve = async ({ gate }: Proxy, name: string, version = '1.0.0') => {
  const packument = await gate.packument(name, 'abbreviated')
  const { verdict } = await gate.tarball({ name, version }, client)
  return {
    decision: verdict.decision,
    codes: verdict.reasons.map(({ code }) => code),
    hidden: [...packument.standing.refused.keys()],
    etag: packument.representation.etag,
  }
}
const allowed = { decision: 'allow', codes: [], hidden: [] }
type Opened = Awaited<ReturnType<Awaited<ReturnType<typeof open>>['start']>>

t.test('another process answers without reading the package', async t => {
  await registry.publish({ name: 'known', version: '1.0.0', provenance: true })
  const { first, start } = await open(t, 'known')
  const made = await serve(first, 'known')
  const second = await start()
  registry.requests.length = 0
  t.match(await serve(second.proxy, 'known'), { ...allowed, etag: made.etag })
  t.ok(second.proxy.gate.ready.packument('known', 'abbreviated'), 'and has it at hand')
  t.equal(second.reads(), 0, 'the packument was not read')
  t.equal(registry.requests.length, 0)
  await second.proxy.gate.idle()
  let recorded = 0
  for await (const { fresh } of first.store.audit.read({ name: 'known' }))
    if (fresh) recorded += 1
  t.equal(recorded, 2, 'each puts its first on record')

  t.test('not even where its text is gone', async t => {
    const { records, blobs } = first.store
    const { raw } = (await records.get<PackageRecord>('package', 'known')) ?? {}
    await blobs.delete(raw ?? 'sha512-')
    t.match(await serve((await start()).proxy, 'known'), allowed)
  })

  t.test('what cannot be put on record is not served', async t => {
    const { proxy } = await start()
    Object.assign(proxy.store.audit, { append: () => Promise.reject(new Error('no room')) })
    await t.rejects(proxy.gate.tarball({ name: 'known', version: '1.0.0' }, client))
  })

  t.test('a tarball that was evicted is brought again', async t => {
    const { proxy } = await start()
    const id = { name: 'known', version: '1.0.0' }
    const { blob } = await proxy.gate.tarball(id, client)
    await proxy.store.blobs.delete(blob?.integrity ?? 'sha512-')
    const third = await start()
    registry.requests.length = 0
    t.match(await serve(third.proxy, 'known'), allowed)
    t.equal(registry.asked(/^\/known\/-\//).length, 1)
  })
})

t.test('not under another policy', async t => {
  await registry.publish({ name: 'denied', version: '1.0.0' })
  const { start } = await open(t, 'denied')
  const look = async (text: string) => {
    const other = await start()
    other.proxy.gate.adopt(policies(text))
    return [await serve(other.proxy, 'denied'), other.reads() > 0] as const
  }
  const deny = await look('rules: [{ packages: [denied], deny: { reason: no } }]')
  t.match(deny, [{ decision: 'refuse', codes: ['DENIED'], hidden: ['1.0.0'] }, true])
  t.match(await look('rules: [{ packages: [x], deny: { reason: no } }]'), [allowed, true])
})

t.test('not under other trust', async t => {
  await registry.publish({ name: 'keyed', version: '1.0.0' })
  const { start } = await open(t, 'keyed')
  const other = await start({ registryKeys: keysTarget([newKey()]) })
  await other.proxy.gate.packument('keyed', 'abbreviated')
  t.ok(other.reads() > 0)
  const found = await serve(other.proxy, 'keyed')
  t.match(found, { decision: 'refuse', codes: ['INVALID_SIGNATURE'] })
})

t.test('not of another revision', async t => {
  await registry.publish({ name: 'moved', version: '1.0.0' })
  const { first, start, pass } = await open(t, 'moved')
  const before = new Map<string, unknown>()
  for (const kind of ['standing', 'admission'])
    for await (const [key, value] of first.store.records.list(kind))
      before.set(`${kind}|${key}`, value)
  t.equal(before.size, 2)
  registry.amend('moved', '1.0.0', { integrity: `sha512-${'A'.repeat(86)}==` })
  pass(3601)
  await first.gate.packument('moved', 'abbreviated')
  await first.gate.idle()
  for (const [at, value] of before) {
    const [kind = '', key = ''] = at.split('|')
    await first.store.records.put(kind, key, value)
  }
  const second = await start()
  t.match(await serve(second.proxy, 'moved'), {
    decision: 'refuse',
    codes: ['INTEGRITY_MISMATCH'],
  })
  t.ok(second.reads() > 0)
})

t.test('not where more became known', async t => {
  await registry.publish({ name: 'learnt', version: '1.0.0' })
  const { first, start } = await open(t, 'learnt')
  const { records } = first.store
  const known = await records.get<EvidenceRecord>('evidence', 'learnt@1.0.0')
  const registrySignature = { state: 'invalid', code: 'INVALID_SIGNATURE', detail: 'no' }
  await records.put('evidence', 'learnt@1.0.0', {
    ...known,
    evidence: { ...known?.evidence, registrySignature },
  })
  const second = await start()
  const found = await serve(second.proxy, 'learnt')
  t.match(found, { decision: 'refuse', codes: ['INVALID_SIGNATURE'], hidden: ['1.0.0'] })
})

t.test('not when its time is over', async t => {
  await registry.publish({ name: 'waived', version: '1.0.0', signed: false })
  const waiver = `rules:
  - packages: [waived]
    allow: { reason: old, by: ana@acme.example, until: 2026-06-03 }
defaults: { require: { registrySignature: required } }`
  const { start, pass } = await open(t, 'waived', waiver)
  const settings = 'publicUrl: http://npm.acme.example/\ncache: { packumentTtl: 90d }'
  const second = await start({ settings })
  t.match(await serve(second.proxy, 'waived'), allowed)
  t.equal(second.reads(), 0)
  pass(10 * 86_400)
  for (const { proxy } of [second, await start({ settings })])
    t.match(await serve(proxy, 'waived'), { decision: 'refuse', hidden: ['1.0.0'] })
})

t.test('a restart with nothing that can be used', async t => {
  await registry.publish({ name: 'broken', version: '1.0.0' })
  const { first, start } = await open(t, 'broken')
  const { records } = first.store
  for (const damaged of [null, 7, 'text', [], {}, { grounds: 1 }]) {
    for (const kind of ['standing', 'admission', 'representation'])
      for await (const [key] of records.list(kind)) await records.put(kind, key, damaged)
    const other: Opened = await start()
    t.match(await serve(other.proxy, 'broken'), allowed, JSON.stringify(damaged))
    t.ok(other.reads() > 0)
    await other.proxy.gate.idle()
  }
})

// ------------------------------------------------------------ rooms of their own

const integrity: Integrity = `sha512-${Buffer.alloc(64, 1).toString('base64')}`
const id = { name: 'app', version: '1.0.0' }
const pin = { integrity, size: 10, at: '' }
const head: PackageHead = {
  name: 'app',
  upstream: 'npm',
  raw: 'sha512-first',
  lookedAt: '2026-01-01T00:00:00.000Z',
  fetchedAt: 0,
  appeared: {},
  stale: false,
}
const allow: Verdict = {
  package: id,
  integrity,
  decision: 'allow',
  reasons: [],
  layers: [{ policy: 'baseline', rule: 'defaults', mode: 'enforce', reasons: [] }],
  policyDigest: 'p',
}

const openRoom = () => {
  const state = {
    maker: '1',
    policies: policies('defaults: {}'),
    trust: 'now',
    facts: 'facts' as string | undefined,
    vouched: false,
    time: 0,
    records: new Map<string, unknown>(),
    errors: [] as unknown[],
  }
  const make = () => {
    const behind = openBehind({ onError: (_key, error) => state.errors.push(error) })
    const grounds = openGrounds({
      maker: state.maker,
      policies: () => state.policies,
      book: { digest: async () => Promise.resolve(state.facts) },
      vouches: { any: async () => Promise.resolve(state.vouched) },
      trustOf: () => state.trust,
    })
    const get = async <T>(kind: string, key: string) =>
      Promise.resolve(state.records.get(`${kind} ${key}`) as T | undefined)
    const kept = openKeptVerdicts({
      records: {
        get,
        put: async (kind, key, value) => {
          state.records.set(`${kind} ${key}`, JSON.parse(JSON.stringify(value)))
          return Promise.resolve()
        },
      },
      grounds,
      behind,
      now: () => new Date(state.time),
      key: '',
    })
    return { kept, behind }
  }
  return { state, make }
}

const standing = (changes: Partial<Standing> = {}): Standing => ({
  index: { ...head, distTags: {}, versions: new Map() },
  refused: new Map(),
  observed: new Map(),
  changesAt: 100,
  basis: { policies: [], trust: 'now', known: new Map(), proven: [], changing: new Map() },
  ...changes,
})

/** What is found when both were kept and `change` came after. */
const afterwards = async (
  change: (state: ReturnType<typeof openRoom>['state']) => void,
  about: PackageHead = head,
  verdict = allow,
) => {
  const { state, make } = openRoom()
  const { kept, behind } = make()
  const rests = (await kept.grounds(head)) ?? ''
  kept.keepStanding(standing(), rests)
  kept.keepAdmission(id, verdict, rests)
  await behind.idle()
  change(state)
  const later = make().kept
  const found = [await later.standing(about), await later.admission(id, about, pin)]
  return found.map(one => one !== undefined)
}

t.test('everything that a verdict rests on counts', async t => {
  t.same(await afterwards(() => {}), [true, true])
  t.same(await afterwards(state => (state.time = 99)), [true, true])
  const gone: readonly [string, Parameters<typeof afterwards>[0], PackageHead?][] = [
    ['the program', state => (state.maker = '2')],
    ['policy', state => (state.policies = policies('defaults: { minimumAge: 1d }'))],
    ['trust', state => (state.trust = 'newer')],
    ['facts', state => (state.facts = 'more')],
    ['a vouch', state => (state.vouched = true)],
    ['the revision', () => {}, { ...head, raw: 'sha512-second' }],
    ['the upstream', () => {}, { ...head, upstream: 'acme' }],
    ['when it was first seen', () => {}, { ...head, lookedAt: '2026-02-01T00:00:00.000Z' }],
    ['sightings', () => {}, { ...head, appeared: { '1.0.0': { firstSeen: 'now' } } }],
  ]
  for (const [what, change, about] of gone)
    t.same(await afterwards(change, about), [false, false], what)
  t.same(await afterwards(state => (state.time = 100)), [false, true], 'time')
  const soon = { ...allow, changesAt: '1970-01-01T00:00:00.100Z' }
  t.same(await afterwards(state => (state.time = 99), head, soon), [true, true])
  t.same(await afterwards(state => (state.time = 100), head, soon), [false, false])
})

t.test('nothing but what nothing speaks against is kept', async t => {
  const { state, make } = openRoom()
  const { kept, behind } = make()
  const rests = (await kept.grounds(head)) ?? ''
  const reasons = [{ code: 'TOO_NEW', message: 'soon' }] as const
  const against: Verdict = { ...allow, reasons }
  const claims = {
    version: '1.0.0',
    integrity,
    tarball: '',
    signatures: [{ keyid: '', sig: '' }],
  }
  const versions = new Map([['1.0.0', claims]])
  const tagged = { ...head, distTags: { latest: '1.0.0' }, versions }
  const looked = (registrySignature: Fact<RegistrySignature>) => {
    const absent = { state: 'absent' } as const
    const facts = { registrySignature, publishAttestation: absent, provenance: absent }
    const evidence = { package: id, integrity, ...facts, trust: 'now' }
    const known = new Map([['1.0.0', { evidence, claims: '', checkedAt: 0 }]])
    const basis = { policies: [], trust: 'now', known, proven: [], changing: new Map() }
    return standing({ index: tagged, basis })
  }
  for (const one of [
    standing({ refused: new Map([['1.0.0', against]]) }),
    standing({ observed: new Map([['1.0.0', against]]) }),
    standing({ outdated: ['1.0.0'] }),
    // what a dist-tag names and nobody has verified yet
    standing({ index: tagged }),
    // what is to be looked at again some day
    looked({ state: 'invalid', code: 'INVALID_SIGNATURE', detail: 'no' }),
  ])
    t.notOk(kept.keepStanding(one, rests))
  t.ok(make().kept.keepStanding(looked({ state: 'verified', keyId: 'key' }), rests))
  state.records.clear()
  const [layer] = allow.layers
  for (const verdict of [
    against,
    { ...allow, decision: 'refuse' as const },
    { ...allow, decision: 'unavailable' as const },
    { ...allow, layers: layer ? [{ ...layer, reasons }] : [] },
  ]) {
    kept.keepAdmission(id, verdict, rests)
    await behind.idle()
    t.equal(state.records.size, 0)
    // and found in a record it is none
    state.records.set('admission  app@1.0.0', { grounds: rests, verdict })
    t.equal(await kept.admission(id, head, pin), undefined)
    state.records.clear()
  }
})

t.test('a record that is not whole is as if there were none', async t => {
  const { state, make } = openRoom()
  const { kept } = make()
  const grounds = await kept.grounds(head)
  const damaged = [
    {},
    { ...allow, package: { ...id, version: '2.0.0' } },
    { ...allow, package: { ...id, name: 'other' } },
    { ...allow, integrity: 'sha512-other' },
    { ...allow, integrity: undefined },
    { ...allow, policyDigest: 7 },
    { ...allow, reasons: {} },
    { ...allow, layers: [] },
    { ...allow, layers: [{}] },
    { ...allow, changesAt: 'soon' },
    { ...allow, changesAt: 7 },
  ]
  for (const verdict of [null, 7, 'allow', ...damaged]) {
    state.records.set('admission  app@1.0.0', { grounds, verdict })
    t.equal(await kept.admission(id, head, pin), undefined, JSON.stringify(verdict))
  }
  state.records.set('admission  app@1.0.0', { grounds, verdict: allow })
  t.same(await kept.admission(id, head, pin), allow)
  t.equal(await kept.admission(id, head, { ...pin, integrity: 'sha512-other' }), undefined)
  for (const changesAt of [undefined, 'never', '100', Number.NaN, {}]) {
    state.records.set('standing  app', { grounds, changesAt })
    t.equal(await kept.standing(head), undefined, JSON.stringify(changesAt))
  }
  state.vouched = true
  state.records.set('standing  app', { changesAt: null })
  t.equal(await kept.standing(head), undefined, 'no grounds are no grounds')
})

t.test('a package whose text nobody here has read', async t => {
  const stored = { ...head, versions: ['1.0.0'] }
  const state = { stored: stored as PackageRecord, reads: 0, reading: () => {}, time: 0 }
  const packages = openPackages({
    store: {
      records: {
        get: async () => {
          state.reads += 1
          const { stored: found } = state
          state.reading()
          return Promise.resolve(found)
        },
      },
    },
    upstreamFor: () => ({ name: 'npm' }),
    now: () => new Date(state.time),
    ttl: 1000,
    negativeTtl: 1000,
    memory: 1024 * 1024,
  } as unknown as PackagesOptions)
  t.equal(packages.freshHead('app'), undefined)
  t.equal((await packages.head('app'))?.raw, 'sha512-first')
  await packages.head('app')
  t.equal(state.reads, 1, 'is held')
  t.equal(packages.fresh('app'), undefined, 'and is none whose versions are known')

  state.time = 1001
  t.equal(packages.freshHead('app'), undefined, 'until the upstream is to be asked again')
  t.equal(await packages.head('app'), undefined)
  t.ok(await packages.head('app', Number.POSITIVE_INFINITY))
  state.time = 0

  t.notOk(packages.changed('app', 'sha512-first'), 'it is the one at hand')
  t.ok(packages.freshHead('app'))
  t.ok(packages.changed('app', 'sha512-second'))
  t.notOk(packages.freshHead('app'), 'another revision is stored')
  await packages.head('app')
  packages.reset()
  t.notOk(packages.freshHead('app'), 'something may have been missed')

  for (const news of [
    () => void packages.changed('app', 'sha512-second'),
    () => packages.reset(),
    () => packages.expire('other'),
  ]) {
    state.reading = news
    t.equal(await packages.head('app'), undefined, 'what was read meanwhile may be from before')
    state.reading = () => {}
    t.ok(await packages.head('app'))
    packages.reset()
  }
  await packages.head('app')
  packages.expire('app')
  t.notOk(packages.freshHead('app'), 'somebody changed it at its upstream')
  t.equal(await packages.head('app'), undefined)
})

t.test('a process that has read no text hears of another revision', async t => {
  await registry.publish({ name: 'heard', version: '1.0.0' })
  const { first, start, pass } = await open(t, 'heard')
  const { records } = first.store
  const before: (readonly [kind: string, key: string, value: unknown])[] = []
  for (const kind of ['standing', 'admission', 'representation'])
    for await (const [key, value] of records.list(kind)) before.push([kind, key, value])
  const second = await start({ now: () => new Date('2026-06-01T00:00:00Z') })
  const { etag } = await serve(second.proxy, 'heard')
  t.equal(second.reads(), 0)
  await registry.publish({ name: 'heard', version: '1.1.0' })
  pass(3601)
  await first.gate.packument('heard', 'abbreviated')
  await first.gate.idle()
  // as it is before the first has kept what it made of it
  for (const [kind, key, value] of before) await records.put(kind, key, value)
  t.ok(await eventually(async () => (await serve(second.proxy, 'heard')).etag !== etag))
})
