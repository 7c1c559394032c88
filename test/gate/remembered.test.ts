/** When an allow is remembered: rooms of the gate's own, each told what to answer. */
import t from 'tap'
import { toldDigest } from '../../lib/evidence/manifest-fields.ts'
import { openAdmissions, type AdmissionsOptions } from '../../lib/gate/admissions.ts'
import { openEpochs } from '../../lib/gate/epochs.ts'
import { openEvidenceBook, type EvidenceBookOptions } from '../../lib/gate/evidence-book.ts'
import { openMemory } from '../../lib/gate/memory.ts'
import type { PackageIndex } from '../../lib/gate/package-index.ts'
import type { Evidence, Integrity, Release, Verdict, VersionClaims } from '../../lib/types.ts'

const integrity: Integrity = `sha512-${Buffer.alloc(64, 1).toString('base64')}`
const id = { name: 'app', version: '1.0.0' }
const claims: VersionClaims = {
  version: '1.0.0',
  integrity,
  tarball: 'http://upstream.example/app/-/app-1.0.0.tgz',
  signatures: [],
}
const index: PackageIndex = {
  name: 'app',
  upstream: 'npm',
  raw: 'sha512-first',
  distTags: {},
  versions: new Map([['1.0.0', claims]]),
  lookedAt: '2026-01-01T00:00:00.000Z',
  fetchedAt: 0,
  appeared: {},
  stale: false,
}
const manifest = { name: 'app', version: '1.0.0' }
const absent = { state: 'absent' } as const
const evidence: Evidence = {
  package: id,
  integrity,
  registrySignature: absent,
  publishAttestation: absent,
  provenance: absent,
  manifest: { state: 'verified', compared: [], told: toldDigest(manifest) },
  trust: 'now',
}
const allow: Verdict = {
  package: id,
  integrity,
  decision: 'allow',
  reasons: [],
  layers: [],
  policyDigest: 'p',
}

const open = () => {
  const epochs = openEpochs()
  const state = {
    /** What the package is by the time it is judged; undefined when it was given up. */
    current: index as PackageIndex | undefined,
    trust: 'now',
    verdict: allow,
    /** Something that happens while facts are gathered, or while they are judged. */
    gathering: () => {},
    judging: () => {},
    evidence,
    history: [] as readonly Release[],
    grounds: 'same' as string | undefined,
    /** What another process has kept, and something that happens while it is read. */
    found: undefined as Verdict | undefined,
    finding: () => {},
    kept: 0,
    judged: 0,
  }
  const options = {
    alone: (_key: string, _done: unknown, work: () => unknown) => work(),
    packages: {
      get: async () => Promise.resolve(index),
      fresh: () => state.current,
      head: async () => Promise.resolve(state.current),
      manifest: async () => Promise.resolve(manifest),
    },
    book: {
      gather: async () => {
        state.gathering()
        return Promise.resolve(state.evidence)
      },
    },
    judges: {
      inputFor: async () => {
        state.judging()
        state.judged += 1
        return Promise.resolve({ history: state.history })
      },
      judge: () => state.verdict,
    },
    store: {
      records: { get: async () => Promise.resolve({ integrity, size: 10, at: '' }) },
      blobs: { stat: async () => Promise.resolve({ integrity, size: 10 }) },
    },
    upstreamFor: () => ({ name: 'npm' }),
    kept: {
      grounds: async () => Promise.resolve(state.grounds),
      admission: async () => {
        state.finding()
        return Promise.resolve(state.found)
      },
      keepAdmission: () => void (state.kept += 1),
    },
    examinerFor: () => ({ trust: state.trust }),
    epochs,
    now: () => new Date(0),
    memory: openMemory(1024),
    key: '',
  } as unknown as AdmissionsOptions
  const admissions = openAdmissions(options)
  const admit = async () => {
    const { admission, remember, keep } = await admissions.admit(id)
    keep?.()
    remember?.()
    return admission
  }
  return { state, epochs, admit, remembered: () => admissions.remembered(id) !== undefined }
}

t.test('an allow is remembered', async t => {
  const { admit, remembered, epochs } = open()
  t.notOk(remembered())
  t.equal((await admit()).verdict.decision, 'allow')
  t.ok(remembered())
  epochs.bump('other')
  t.ok(remembered(), 'whatever happens to another package')
  epochs.bump('app')
  t.notOk(remembered(), 'until something that it rests on changes')
})

t.test('facts that were gathered for it are no change', async t => {
  const { admit, remembered, epochs, state } = open()
  state.gathering = () => epochs.bump('app')
  await admit()
  t.ok(remembered())
})

t.test('what changes while it is judged counts', async t => {
  const { admit, remembered, epochs, state } = open()
  state.judging = () => epochs.bump('app')
  await admit()
  t.notOk(remembered())
})

t.test(
  'whoever asks after a change of policy or trust waits for no verdict begun before it',
  async t => {
    const { admit, epochs, state } = open()
    let later: ReturnType<typeof admit> | undefined
    state.judging = () => {
      state.judging = () => {}
      epochs.bumpAll()
      later = admit()
    }
    await admit()
    await later
    t.equal(state.judged, 2)
  },
)

t.test('not when the package is another by then', async t => {
  for (const current of [{ ...index, raw: 'sha512-second' as const }, undefined]) {
    const { admit, remembered, state } = open()
    state.current = current
    t.equal((await admit()).verdict.decision, 'allow')
    t.notOk(remembered())
  }
})

t.test('not when the facts are of other trust than that in force', async t => {
  const { admit, remembered, state } = open()
  state.trust = 'newer'
  await admit()
  t.notOk(remembered())
})

t.test('nothing but an allow that was checked', async t => {
  for (const verdict of [
    { ...allow, decision: 'refuse' as const },
    { ...allow, decision: 'unavailable' as const },
    { ...allow, reasons: [{ code: 'EVIDENCE_UNAVAILABLE' as const, message: 'later' }] },
    { ...allow, changesAt: '1970-01-01T00:00:00.000Z' },
  ]) {
    const { admit, remembered, state } = open()
    state.verdict = verdict
    await admit()
    t.notOk(remembered(), JSON.stringify(verdict.reasons))
  }
})

t.test(
  'what another process has kept is not judged, and remembered like any other',
  async t => {
    const { admit, remembered, epochs, state } = open()
    state.found = allow
    const admission = await admit()
    t.match(admission, { verdict: allow, blob: { integrity, size: 10 }, remembered: false })
    t.equal(state.judged, 0)
    t.ok(remembered())
    epochs.bump('app')
    t.notOk(remembered())
  },
)

t.test('what changes while that is read counts', async t => {
  const { admit, remembered, epochs, state } = open()
  state.found = allow
  state.finding = () => epochs.bump('app')
  await admit()
  t.notOk(remembered())
})

t.test('a verdict is kept for others where it is certain what it rests on', async t => {
  const kept = async (change: (room: ReturnType<typeof open>) => void) => {
    const room = open()
    change(room)
    await room.admit()
    t.equal(room.state.judged, 1)
    return room.state.kept === 1
  }
  const release = { version: '0.9.0', claimsProvenance: true } as const
  const invalid = { state: 'invalid', code: 'INVALID_SIGNATURE', detail: 'no' } as const
  t.ok(await kept(() => {}))
  t.ok(await kept(({ state }) => (state.history = [{ ...release, provenance: 'verified' }])))
  t.notOk(await kept(({ state }) => (state.grounds = undefined)), 'something without grounds')
  t.notOk(
    await kept(({ state }) => (state.judging = () => (state.grounds = 'others'))),
    'other grounds after it than before',
  )
  t.notOk(
    await kept(({ state }) => (state.history = [{ ...release, provenance: 'unavailable' }])),
    'a predecessor that could not be looked at',
  )
  t.notOk(
    await kept(({ state }) => (state.evidence = { ...evidence, registrySignature: invalid })),
    'what is to be looked at again some day',
  )
  t.notOk(await kept(({ state }) => (state.trust = 'newer')), 'facts of other trust')
  t.notOk(
    await kept(({ state }) => (state.current = { ...index, raw: 'sha512-second' })),
    'another revision than the one at hand',
  )
})

t.test('facts that are not what the book has are no grounds', async t => {
  const records = {
    put: async () => Promise.resolve(),
    list: async function* () {},
  }
  const book = openEvidenceBook({
    store: { records },
    examinerFor: () => ({ trust: 'now' }),
    now: () => new Date(0),
    onChange: () => {},
    tell: () => {},
  } as unknown as EvidenceBookOptions)
  const nothing = await book.digest('app')
  t.equal(await book.digest('app', evidence), undefined)
  await book.keep(evidence, claims, 'npm')
  const held = await book.digest('app', evidence)
  t.ok(held)
  t.not(held, nothing)
  t.equal(await book.digest('app'), held)
  t.equal(await book.digest('app', { ...evidence }), undefined)
  await book.keep({ ...evidence, bytes: { state: 'verified', size: 10 } }, claims, 'npm')
  t.equal(await book.digest('app', evidence), undefined)
  t.not(await book.digest('app'), held)
})
