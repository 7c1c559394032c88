/** Inclusion in a transparency log: every part of the proof, in trees with more than one leaf. */
import t from 'tap'
import { localSigstore, type Attestation } from '../support/local-sigstore.ts'
import { entryBody } from '../support/sigstore/log-entry.ts'
import { forkOf, openOwnLog, type OwnLog } from '../support/sigstore/own-log.ts'
import { artifact, examineOnly, outcome, verificationFor } from './lab.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const filler = (n: number) =>
  JSON.stringify({ apiVersion: '0.0.1', kind: 'dsse', spec: { number: n } })
const fillers = (count: number) => Array.from({ length: count }, (_, n) => filler(n))

const publisher = { repository: 'acme/widget' }
const base = await sigstore.attestProvenance({
  ...artifact,
  publisher,
  entry: 'none',
  timestamp: true,
})
/** Without a timestamp: the log's promise is all that tells the time. */
const untimed = await sigstore.attestProvenance({ ...artifact, publisher, entry: 'none' })

type Entry = ReturnType<OwnLog['entry']>
type Change = (entry: Entry, log: OwnLog) => object

/** The bundle, entered in a log of `version` as leaf 5 of 12. */
const entered = (version: 1 | 2, attestation = base) => {
  const log = openOwnLog({ version, bodies: fillers(5) })
  const { dsseEnvelope, verificationMaterial } = attestation.bundle
  const { rawBytes } = verificationMaterial['certificate'] as { rawBytes: string }
  const body = entryBody(version === 1 ? 'dsse' : 'dsse-v2', dsseEnvelope, {
    kind: 'certificate',
    der: Buffer.from(rawBytes, 'base64'),
  })
  const index = log.add(JSON.stringify(body))
  for (const text of fillers(6)) log.add(text)
  const with_ = (entry: object): Attestation => {
    const copy = structuredClone(attestation)
    copy.bundle.verificationMaterial.tlogEntries = [entry as Record<string, unknown>]
    return copy
  }
  return { log, index, with: with_ }
}

const rootWith = (...logs: readonly object[]) => ({
  ...(sigstore.trustedRoot as { tlogs: object[] }),
  tlogs: [...(sigstore.trustedRoot as { tlogs: object[] }).tlogs, ...logs],
})

const judge = (attestation: Attestation, ...logs: readonly object[]) =>
  outcome(
    examineOnly(
      verificationFor(sigstore, sigstore.registryKeys(), [rootWith(...logs)]),
      attestation,
    ).provenance,
  )

const flip = (text: string) =>
  Buffer.from(Buffer.from(text, 'base64').map(b => b ^ 1)).toString('base64')

const proof = (entry: Entry, change: (proof: Entry['inclusionProof']) => object): Entry => ({
  ...entry,
  inclusionProof: change(entry.inclusionProof) as Entry['inclusionProof'],
})

const changes: Record<string, Change> = {
  'a hash of the path': entry =>
    proof(entry, p => ({ ...p, hashes: p.hashes.with(1, flip(p.hashes[1] ?? '')) })),
  'a hash too few': entry => proof(entry, p => ({ ...p, hashes: p.hashes.slice(1) })),
  'a hash too many': entry =>
    proof(entry, p => ({ ...p, hashes: [...p.hashes, p.hashes[0] ?? ''] })),
  'the path of another leaf': (entry, log) =>
    proof(entry, p => ({ ...p, hashes: log.entry(3).inclusionProof.hashes })),
  'another place': entry => proof(entry, p => ({ ...p, logIndex: '4' })),
  'a place outside the tree': entry => proof(entry, p => ({ ...p, logIndex: '12' })),
  'a place that is no number': entry => proof(entry, p => ({ ...p, logIndex: '-1' })),
  'the checkpoint of another size': (entry, log) =>
    proof(entry, p => ({ ...p, checkpoint: { envelope: log.checkpoint(11) } })),
  'the checkpoint of another history': (entry, log) =>
    proof(entry, p => ({
      ...p,
      checkpoint: { envelope: forkOf(log, 0, fillers(12)).checkpoint() },
    })),
  'a checkpoint signed by another key': (entry, log) =>
    proof(entry, p => ({
      ...p,
      checkpoint: {
        envelope: openOwnLog({ version: log.version, bodies: log.bodies }).checkpoint(),
      },
    })),
  'a checkpoint with another root hash': entry =>
    proof(entry, p => ({
      ...p,
      checkpoint: { envelope: p.checkpoint.envelope.replace(/^(.*\n.*\n)./, '$1+') },
    })),
  'a checkpoint without signatures': entry =>
    proof(entry, p => ({
      ...p,
      checkpoint: { envelope: `${p.checkpoint.envelope.split('\n\n')[0] ?? ''}\n\n` },
    })),
  'no checkpoint': entry => proof(entry, p => ({ ...p, checkpoint: undefined })),
  'no proof': entry => ({ ...entry, inclusionProof: undefined }),
  'neither proof nor promise': entry => ({
    ...entry,
    inclusionProof: undefined,
    inclusionPromise: undefined,
  }),
  'the body of another entry': (entry, log) => ({
    ...entry,
    canonicalizedBody: log.entry(0).canonicalizedBody,
  }),
  'the name of another log': entry => ({
    ...entry,
    logId: (sigstore.trustedRoot as { tlogs: { logId: object }[] }).tlogs[0]?.logId,
  }),
}

for (const version of [1, 2] as const) {
  for (const promised of version === 1 ? [true, false] : [false]) {
    const title = `Rekor v${version}, ${promised ? 'with' : 'without'} a promise`
    t.test(title, async t => {
      const { log, index, with: bundle } = entered(version)
      const trusted = log.trusted('https://log2.local.example https://rekor.local.example')
      const entry = log.entry(index, { promised })
      t.equal(judge(bundle(entry), trusted), 'verified')
      for (const size of [6, 7, 8, 9, 11])
        t.equal(
          judge(bundle(log.entry(index, { size, promised })), trusted),
          'verified',
          `${size}`,
        )
      t.equal(judge(bundle(entry)), 'INVALID_ATTESTATION', 'a log that nobody trusts')
      for (const [what, change] of Object.entries(changes))
        t.equal(judge(bundle(change(entry, log)), trusted), 'INVALID_ATTESTATION', what)
    })
  }
}

t.test('a promise does not excuse a proof, nor a proof a promise', async t => {
  const { log, index, with: bundle } = entered(1, untimed)
  const trusted = log.trusted('https://rekor.local.example')
  const entry = log.entry(index)
  t.equal(judge(bundle(entry), trusted), 'verified')
  const promises: Record<string, object> = {
    forged: { inclusionPromise: { signedEntryTimestamp: flip('AAAA') } },
    'of another entry': { inclusionPromise: log.entry(0).inclusionPromise },
    'for another time': { integratedTime: String(Number(entry.integratedTime) + 1) },
    'for another place': { logIndex: '3' },
    'none, so that nobody tells the time': { inclusionPromise: undefined },
  }
  for (const [what, change] of Object.entries(promises))
    t.equal(judge(bundle({ ...entry, ...change }), trusted), 'INVALID_ATTESTATION', what)
})

t.test('a log’s key counts only while it is valid', async t => {
  const day = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString()
  for (const version of [1, 2] as const) {
    for (const promised of version === 1 ? [true, false] : [false]) {
      const { log, index, with: bundle } = entered(version)
      const attestation = bundle(log.entry(index, { promised }))
      const at = (validFor: object) =>
        judge(
          attestation,
          log.trusted('https://log2.local.example https://rekor.local.example', validFor),
        )
      const title = `v${version} ${promised}`
      t.equal(at({ start: day(-1), end: day(1) }), 'verified', title)
      t.equal(at({ start: day(-9), end: day(-8) }), 'INVALID_ATTESTATION', `${title}: ended`)
      t.equal(at({ start: day(1) }), 'INVALID_ATTESTATION', `${title}: not begun`)
    }
  }
})
