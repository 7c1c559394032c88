/** When an allow is remembered: rooms of the gate's own, each told what to answer. */
import t from 'tap'
import { openAdmissions, type AdmissionsOptions } from '../../lib/gate/admissions.ts'
import { openEpochs } from '../../lib/gate/epochs.ts'
import { openMemory } from '../../lib/gate/memory.ts'
import type { PackageIndex } from '../../lib/gate/package-index.ts'
import type { Evidence, Integrity, Verdict, VersionClaims } from '../../lib/types.ts'

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
const absent = { state: 'absent' } as const
const evidence: Evidence = {
  package: id,
  integrity,
  registrySignature: absent,
  publishAttestation: absent,
  provenance: absent,
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
  }
  const options = {
    alone: (_key: string, _done: unknown, work: () => unknown) => work(),
    packages: {
      get: async () => Promise.resolve(index),
      fresh: () => state.current,
    },
    book: {
      gather: async () => {
        state.gathering()
        return Promise.resolve(evidence)
      },
    },
    judges: {
      inputFor: async () => {
        state.judging()
        return Promise.resolve({})
      },
      judge: () => state.verdict,
    },
    store: {
      records: { get: async () => Promise.resolve({ integrity, size: 10, at: '' }) },
      blobs: { stat: async () => Promise.resolve({ integrity, size: 10 }) },
    },
    examinerFor: () => ({ trust: state.trust }),
    epochs,
    now: () => new Date(0),
    memory: openMemory(1024),
    key: '',
  } as unknown as AdmissionsOptions
  const admissions = openAdmissions(options)
  const admit = async () => {
    const { admission, remember } = await admissions.admit(id)
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
