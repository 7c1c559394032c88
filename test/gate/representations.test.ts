/** Finished packuments that outlive what they were made in: verdicts made anew, a restart. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { LRUCache } from 'lru-cache'
import t, { type Test } from 'tap'
import { inflate } from '../../lib/gate/inflate.ts'
import { AttestryError } from '../../lib/errors.ts'
import { openBehind } from '../../lib/gate/behind.ts'
import { openEpochs } from '../../lib/gate/epochs.ts'
import { openKeptRepresentations } from '../../lib/gate/kept-representations.ts'
import { openMemory } from '../../lib/gate/memory.ts'
import { openPace } from '../../lib/gate/pace.ts'
import type { PackageIndex } from '../../lib/gate/package-index.ts'
import type { Outcome } from '../../lib/gate/standing.ts'
import type { Representation } from '../../lib/gate/representation.ts'
import { openViews, type ViewsOptions } from '../../lib/gate/views.ts'
import { maker } from '../../lib/maker.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Integrity } from '../../lib/types.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
/** Large enough to be kept. */
const description = Array.from({ length: 12_000 }, (_, i) => (i * 7919).toString(36)).join(' ')
for (const version of ['1.0.0', '1.1.0'])
  await registry.publish({ name: 'big', version, manifest: { description } })

const deny = `version: 1
rules: [{ packages: ['big@1.1.0'], deny: { reason: no } }]
`
const policies = (text: string) => [parsePolicy(text, { file: 'p.yaml', name: 'p.yaml' })]

type Kept = {
  readonly blob: Integrity
  readonly etag: string
  readonly raw: Integrity
  readonly maker: string
}

const open = async (t: Test, storage: string) => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings: 'publicUrl: http://npm.acme.example/',
    storage,
  })
  t.teardown(() => proxy.close())
  const get = async () => {
    const { representation } = await proxy.gate.packument('big', 'full')
    return { representation, text: gunzipSync(representation.gzip).toString() }
  }
  const kept = async () => {
    const found: (readonly [string, Kept])[] = []
    for await (const entry of proxy.store.records.list<Kept>('representation'))
      found.push(entry)
    return found
  }
  return { proxy, get, kept }
}

t.test('after a restart', async t => {
  const storage = await mkdtemp(join(tmpdir(), 'attestry-kept-'))
  t.teardown(() => rm(storage, { recursive: true, force: true }))
  const first = await open(t, storage)
  const made = await first.get()
  await first.proxy.gate.idle()
  const [entry] = await first.kept()
  if (!entry) throw new Error('nothing is kept')
  t.equal(entry[1].etag, made.representation.etag)
  t.equal(entry[1].maker, maker())
  t.equal((await first.kept()).length, 1)

  // bytes that could not be made here show whether they are made or read
  const marked = gzipSync(made.text.replace('"big"', '"kept"'))
  const staged = await first.proxy.store.blobs.stage()
  await staged.write(marked)
  await staged.finish()
  const { integrity } = await staged.commit()
  await first.proxy.store.records.put('representation', entry[0], {
    ...entry[1],
    blob: integrity,
  })
  await first.proxy.close()

  const second = await open(t, storage)
  t.match((await second.get()).text, '"kept"', 'what was kept is what is sent')
  second.proxy.gate.adopt(policies(deny))
  const denied = await second.get()
  t.notMatch(denied.text, '"kept"', 'never for another effect of the policies')
  t.same(Object.keys((JSON.parse(denied.text) as { versions: object }).versions), ['1.0.0'])
  await second.proxy.gate.idle()
  t.equal((await second.kept()).length, 1, 'in the place of the other one')
  await second.proxy.store.blobs.delete((await second.kept())[0]?.[1].blob ?? 'sha512-')
  await second.proxy.close()

  const third = await open(t, storage)
  third.proxy.gate.adopt(policies(deny))
  t.equal((await third.get()).text, denied.text, 'made again where the bytes are gone')
})

t.test('of many refusals the newest are told, and where to read of the others', async t => {
  for (let n = 0; n <= 8; n += 1) await registry.publish({ name: 'many', version: `1.${n}.0` })
  const { gate, close } = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings: 'publicUrl: http://npm.acme.example/',
    policies: [
      `version: 1
rules: [{ packages: [many], versions: '>=1.1.0', deny: { reason: no } }]
`,
    ],
  })
  t.teardown(close)
  const { representation } = await gate.packument('many', 'full')
  const { policyRestrictions: told } = JSON.parse(
    gunzipSync(representation.gzip).toString(),
  ) as { policyRestrictions: { message: string; versions: object } }
  const why = 'http://npm.acme.example/-/attestry/why/many@'
  t.same(told.message.split('\n'), [
    ...[8, 7, 6, 5, 4].map(n => `many@1.${n}.0 DENIED: no. See ${why}1.${n}.0`),
    `and 3 more, each explained at ${why}VERSION`,
  ])
  t.equal(Object.keys(told.versions).length, 8)
})

t.test('a finished one keeps no other memory alive', async t => {
  await registry.publish({ name: 'small', version: '1.0.0' })
  const storage = await mkdtemp(join(tmpdir(), 'attestry-kept-'))
  t.teardown(() => rm(storage, { recursive: true, force: true }))
  const { proxy } = await open(t, storage)
  const { representation } = await proxy.gate.packument('small', 'full')
  const { gzip } = representation
  const document = await inflate(
    representation,
    new LRUCache({ maxSize: 1e6, sizeCalculation: () => 1 }),
  )
  t.ok(gzip.length > 0 && gzip.length < 4096)
  t.equal(gzip.buffer.byteLength, gzip.length)
  t.ok(Buffer.isBuffer(document) && document.buffer.byteLength <= document.length * 1.25)
})

t.test('verdicts made anew that come to the same make nothing else anew', async t => {
  const storage = await mkdtemp(join(tmpdir(), 'attestry-kept-'))
  t.teardown(() => rm(storage, { recursive: true, force: true }))
  const { proxy, get } = await open(t, storage)
  const { representation } = await get()
  proxy.gate.adopt(
    policies('version: 1\nrules: [{ packages: [other], deny: { reason: no } }]\n'),
  )
  t.notOk(proxy.gate.ready.packument('big', 'full'), 'it is judged again')
  t.equal((await get()).representation, representation, 'and is the same')
  proxy.gate.adopt(policies(deny))
  const other = await get()
  t.not(other.representation, representation)
  proxy.gate.adopt(policies(deny.replace('reason: no', 'reason: not yet')))
  const reworded = await get()
  t.not(reworded.representation, other.representation, 'another reason is another text')
  t.match(reworded.text, 'not yet')
})

t.test('of many long pieces of work one goes on in each turn of the event loop', async t => {
  const work = async () => {
    const breathe = openPace(2)
    for (let i = 0; i < 10; i++) {
      const until = performance.now() + 2.1
      while (performance.now() < until);
      await breathe()
    }
  }
  let turns = 0
  let running = true
  const count = () => {
    turns++
    if (running) setImmediate(count)
  }
  setImmediate(count)
  await Promise.all(Array.from({ length: 10 }, work))
  running = false
  t.ok(turns >= 85, `${turns} turns for 100 steps`)
})

const representation = (bytes: number): Representation => ({
  form: 'abbreviated',
  etag: 'W/"a-1"',
  gzip: Buffer.alloc(bytes, 1),
  size: 3 * bytes,
  distTags: { latest: '1.0.0' },
  shown: 1,
})

t.test('a small one stands in its record, for as long as it is what would be made', async t => {
  const stored = new Map<string, unknown>()
  const blobs = new Map<string, Buffer>()
  const open = (maker: string) => {
    const behind = openBehind({ onError: (_key, error) => t.fail(String(error)) })
    const store = {
      records: {
        get: async (_kind: string, key: string) => Promise.resolve(stored.get(key)),
        put: async (_kind: string, key: string, value: unknown) => {
          stored.set(key, JSON.parse(JSON.stringify(value)))
          return Promise.resolve()
        },
      },
      blobs: { get: async (integrity: string) => Promise.resolve(blobs.get(integrity)) },
    } as unknown as Parameters<typeof openKeptRepresentations>[0]['store']
    const later = () => t.fail('it is no large one')
    return { behind, kept: openKeptRepresentations({ store, maker, behind, later }) }
  }
  const from = { raw: 'sha512-first', effect: '' } as const
  const small = representation(1000)
  const { kept, behind } = open('1')
  kept.keep('app', from, small, false)
  await behind.idle()
  t.equal(stored.size, 0, 'not before its package has settled')
  kept.keep('app', from, small, true)
  await behind.idle()
  t.same(await open('1').kept.load('app', from), small)
  t.equal(await open('2').kept.load('app', from), undefined, 'made by another program')
  for (const maker of ['2', '1']) {
    const another = open(maker)
    another.kept.keep('app', from, { ...small }, true)
    await another.behind.idle()
    t.same(await another.kept.load('app', from), small, 'which makes it again')
  }
  t.equal(await kept.load('app', { ...from, raw: 'sha512-second' }), undefined)
  t.equal(await kept.load('app', { ...from, effect: 'refused' }), undefined)

  const whole = stored.get('app') as object
  for (const damage of [
    { gzip: 7 },
    { gzip: undefined },
    { gzip: undefined, blob: 'sha512-gone' },
    { form: 'other' },
    { etag: undefined },
    { size: '3' },
    { shown: null },
    { modified: 7 },
    { distTags: { latest: 1 } },
  ]) {
    stored.set('app', { ...whole, ...damage })
    t.equal(await kept.load('app', from), undefined, JSON.stringify(damage))
  }
})

t.test('what was judged is kept only with what it rests on', async t => {
  const index: PackageIndex = {
    name: 'app',
    upstream: 'npm',
    raw: 'sha512-first',
    distTags: {},
    versions: new Map(),
    lookedAt: '2026-01-01T00:00:00.000Z',
    fetchedAt: 0,
    appeared: {},
    stale: false,
  }
  const plain = { refused: new Map(), observed: new Map(), changesAt: 100 }
  const open = (read: boolean, outcome: Outcome = plain) => {
    const epochs = openEpochs()
    const state = {
      read,
      /** Of the answers that were looked for. */
      effects: [] as string[],
      grounds: 'same',
      kept: 0,
      judging: () => {},
      finding: () => {},
      time: 0,
      /** Milliseconds since the upstream was asked. */
      age: 0,
      failure: undefined as Error | undefined,
    }
    const aged = (maxAge = 1000) => (state.age <= maxAge ? index : undefined)
    const asked = async (found: PackageIndex | undefined) => {
      if (state.failure) throw state.failure
      return Promise.resolve(found)
    }
    const views = openViews({
      packages: {
        get: async () => asked(index),
        fresh: (_name: string, maxAge?: number) => (state.read ? aged(maxAge) : undefined),
        freshHead: (_name: string, maxAge?: number) => aged(maxAge),
        head: async () => asked(aged()),
        staleIfError: 5000,
      },
      judges: {
        standing: async () => {
          state.judging()
          return Promise.resolve({ ...outcome, index })
        },
      },
      epochs,
      now: () => new Date(state.time),
      publicUrl: 'http://npm.acme.example/',
      kept: {
        grounds: async () => Promise.resolve(state.grounds),
        standing: async () => {
          state.finding()
          return Promise.resolve(plain)
        },
        keepStanding: () => {
          state.kept += 1
          return true
        },
        representations: {
          load: async (_key: string, { effect }: { readonly effect: string }) => {
            state.effects.push(effect)
            return Promise.resolve(representation(10))
          },
          keep: () => {},
        },
      },
      memory: openMemory(1024 * 1024),
      key: '',
      deprecates: false,
    } as unknown as ViewsOptions)
    return {
      state,
      epochs,
      views,
      ready: () => views.ready('app', 'abbreviated') !== undefined,
    }
  }
  const judged = open(true)
  await judged.views.packument('app', 'abbreviated')
  t.equal(judged.state.kept, 1)
  const meanwhile = open(true)
  meanwhile.state.judging = () => (meanwhile.state.grounds = 'others')
  await meanwhile.views.packument('app', 'abbreviated')
  t.equal(meanwhile.state.kept, 0, 'not where that changed while it was judged')

  const verdict = {
    package: { name: 'app', version: '1.0.0' },
    decision: 'refuse',
    reasons: [],
  }
  const refusing = open(true, { ...plain, refused: new Map([['1.0.0', verdict as never]]) })
  await refusing.views.packument('app', 'abbreviated')
  refusing.state.read = false
  await refusing.views.packument('app', 'full')
  t.not(refusing.state.effects.at(-1), '', 'what is kept of nothing refused is not for it')

  const found = open(false)
  await found.views.packument('app', 'abbreviated')
  t.ok(found.ready())
  found.state.time = 100
  t.notOk(found.ready(), 'until its time is over')
  found.state.time = 0
  found.epochs.bump('app')
  t.notOk(found.ready(), 'or something that it rests on changes')
  await found.views.packument('app', 'abbreviated')
  found.state.age = 2000
  found.state.failure = new AttestryError('ESTOREDOWN', 'away')
  const { stale } = await found.views.packument('app', 'abbreviated')
  t.ok(stale, 'what was sent stands in while the store is away')
  await t.rejects(found.views.packument('app', 'full'), { code: 'ESTOREDOWN' })
  found.state.failure = new AttestryError('ESTORE', 'broken')
  await t.rejects(found.views.packument('app', 'abbreviated'), { code: 'ESTORE' })
  found.state.failure = new AttestryError('ESTOREDOWN', 'away')
  found.state.time = 100
  await t.rejects(found.views.packument('app', 'abbreviated'), { code: 'ESTOREDOWN' })
  found.state.time = 0
  found.state.age = 5001
  await t.rejects(found.views.packument('app', 'abbreviated'), { code: 'ESTOREDOWN' })
  found.state.age = 2000
  t.ok((await found.views.packument('app', 'abbreviated')).stale)
  found.epochs.bump('app')
  await t.rejects(
    found.views.packument('app', 'abbreviated'),
    { code: 'ESTOREDOWN' },
    'never what rests on something that has changed since',
  )
  const changing = open(false)
  changing.state.finding = () => changing.epochs.bump('app')
  await changing.views.packument('app', 'abbreviated')
  t.notOk(changing.ready(), 'also while it is read')
  let again = 0
  changing.state.finding = () => void (again += 1)
  await changing.views.packument('app', 'abbreviated')
  t.equal(again, 1, 'then it is looked up again')
  t.ok(changing.ready())
})
