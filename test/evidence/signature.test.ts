/** Registry signatures: which key, for what, and when. */
import t from 'tap'
import { examineWith } from '../../lib/evidence/examine.ts'
import type { ExamineRequest } from '../../lib/evidence/examiner.ts'
import { loadTrust } from '../../lib/trust/load-trust.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import {
  keysEndpoint,
  keysTarget,
  newKey,
  registrySignature,
  type KeysTarget,
  type LocalKey,
} from '../support/sigstore/registry-keys.ts'
import { artifact, found, otherIntegrity, outcome, registry, requestFor } from './lab.ts'

const { name, version, integrity } = artifact
const bundled = await loadTrust({ roots: ['public-good'], registryKeys: 'none' })

const key = newKey()
const ended = newKey({
  validFrom: '2025-01-01T00:00:00.000Z',
  validUntil: '2025-06-01T00:00:00.000Z',
})
const future = newKey({ validFrom: '2030-01-01T00:00:00.000Z' })
const attestationsOnly = newKey({ usages: ['npm:attestations'] })

const under = (keys: object, roots = bundled.roots) =>
  openVerification({
    ...bundled,
    roots,
    registryKeys: parseRegistryKeys(keys, 'local', registry),
  })
const verification = under(keysTarget([key, ended, future, attestationsOnly]))

const sign = (by: LocalKey, of: string = integrity) => registrySignature(by, name, version, of)
const signed = (
  signatures: ExamineRequest['claims']['signatures'],
  more: { claims?: object; sighting?: ExamineRequest['sighting'] } = {},
) => requestFor(undefined, { signatures, ...more.claims }, more.sighting)
const judge = (request: ExamineRequest, now?: number) =>
  examineWith(verification, request, now).registrySignature
const npmCode = (request: ExamineRequest, now?: number) => {
  const fact = judge(request, now)
  return fact.state === 'invalid' ? fact.npmCode : fact.state
}

t.test('name, version and integrity are what is signed', async t => {
  t.strictSame(judge(signed([sign(key)])), {
    state: 'verified',
    keyId: key.keyId,
    fingerprints: [key.keyId],
  })
  t.equal(judge(signed([])).state, 'absent')
  t.equal(npmCode(signed([sign(key, otherIntegrity)])), 'EINTEGRITYSIGNATURE')
  t.equal(
    npmCode(signed([registrySignature(key, 'widget', version, integrity)])),
    'EINTEGRITYSIGNATURE',
  )
  t.equal(
    npmCode(signed([registrySignature(key, name, '1.2.4', integrity)])),
    'EINTEGRITYSIGNATURE',
  )
  t.equal(npmCode(signed([{ keyid: key.keyId, sig: 'nope' }])), 'EINTEGRITYSIGNATURE')
  t.equal(npmCode(signed([{ keyid: key.keyId, sig: '' }])), 'EINTEGRITYSIGNATURE')
  t.equal(outcome(judge(signed([sign(key, otherIntegrity)]))), 'INVALID_SIGNATURE')
})

t.test('what the packument claims of the bytes does not matter, the bytes do', async t => {
  const { integrity: _, ...claims } = signed([sign(key)]).claims
  t.equal(judge({ ...signed([]), claims }).state, 'verified', 'no integrity claimed')
  const request = { ...signed([sign(key)]), integrity: otherIntegrity }
  t.equal(npmCode(request), 'EINTEGRITYSIGNATURE', 'other bytes')
})

t.test('every signature must verify', async t => {
  const other = newKey()
  const two = under(keysTarget([key, other]))
  const state = (...signatures: ExamineRequest['claims']['signatures']) =>
    outcome(examineWith(two, signed(signatures)).registrySignature)
  t.equal(state(sign(key), sign(other)), 'verified')
  t.equal(state(sign(key), sign(other, otherIntegrity)), 'INVALID_SIGNATURE')
  t.equal(state(sign(key), sign(newKey())), 'INVALID_SIGNATURE')
  t.equal(state(...Array.from({ length: 9 }, () => sign(key))), 'INVALID_SIGNATURE', 'too many')
})

t.test("the key must be the registry's, and for signatures", async t => {
  t.equal(npmCode(signed([sign(newKey())])), 'EMISSINGSIGNATUREKEY')
  t.equal(npmCode(signed([sign(attestationsOnly)])), 'EMISSINGSIGNATUREKEY')
  const pretender = newKey({ keyId: key.keyId })
  t.equal(npmCode(signed([sign(pretender)])), 'EINTEGRITYSIGNATURE')
  t.equal(
    examineWith(openVerification(bundled), signed([sign(key)])).registrySignature.state,
    'absent',
    'no keys configured',
  )
  const endpoint = under(keysEndpoint([key]))
  t.equal(examineWith(endpoint, signed([sign(key)])).registrySignature.state, 'verified')
})

const before = '2025-03-01T00:00:00.000Z'
const end = '2025-06-01T00:00:00.000Z'
const after = '2025-07-01T00:00:00.000Z'

t.test('a key that had ended did not sign', async t => {
  const at = (publishedAt: string | undefined, sighting?: ExamineRequest['sighting']) => {
    const { publishedAt: _, ...claims } = signed([sign(ended)]).claims
    return npmCode({
      ...signed([], { sighting }),
      claims: publishedAt === undefined ? claims : { ...claims, publishedAt },
    })
  }
  t.equal(at(before), 'verified', 'published in its time')
  t.equal(at(end), 'EEXPIREDSIGNATUREKEY', 'published when it ended')
  t.equal(at(after), 'EEXPIREDSIGNATUREKEY')
  t.equal(at(before, { firstSeen: after }), 'verified', 'seen later than published')
  t.equal(at(before, { firstSeen: after, absentAt: before }), 'verified')
  t.equal(
    at(before, { firstSeen: after, absentAt: end }),
    'EEXPIREDSIGNATUREKEY',
    'back-dated: it was not there when we looked',
  )
  t.equal(at(undefined), 'verified', 'nothing is known of the time')
  t.equal(at(undefined, { firstSeen: before }), 'verified')
  t.equal(at(undefined, { firstSeen: after }), 'EEXPIREDSIGNATUREKEY', 'no time is told')
  t.equal(
    at('long ago', { firstSeen: after }),
    'EEXPIREDSIGNATUREKEY',
    'what is told is no time',
  )
})

t.test('a key counts from its beginning, whatever the age of the version', async t => {
  const old = { claims: { publishedAt: '2012-01-01T00:00:00.000Z' } }
  t.equal(npmCode(signed([sign(ended)], old)), 'verified', 'signed again with a newer key')
  t.equal(npmCode(signed([sign(future)])), 'EEXPIREDSIGNATUREKEY', 'not valid yet')
  t.equal(npmCode(signed([sign(future)]), Date.parse('2030-01-02')), 'verified')
})

t.test('a key with several periods', async t => {
  const again = {
    ...ended,
    validFrom: '2026-01-01T00:00:00.000Z',
    validUntil: '2026-06-01T00:00:00.000Z',
  }
  const both: KeysTarget = keysTarget([ended, again])
  const at = (publishedAt: string) =>
    outcome(
      examineWith(under(both), signed([sign(ended)], { claims: { publishedAt } }))
        .registrySignature,
    )
  t.equal(at('2025-02-01'), 'verified')
  t.equal(at('2025-09-01'), 'INVALID_SIGNATURE')
  t.equal(at('2026-02-01'), 'verified')
})

t.test("the publish attestation's time counts before the packument's", async t => {
  const sigstore = await localSigstore()
  t.teardown(() => sigstore.close())
  const all = under(keysTarget([...sigstore.keys, ended]), [sigstore.trustedRoot])
  const judged = async (signedAt: string, publishedAt: string) => {
    const publish = await sigstore.attestPublish({ ...artifact, registry, signedAt })
    const request = requestFor(found(publish), { signatures: [sign(ended)], publishedAt })
    const evidence = examineWith(all, request)
    t.equal(evidence.publishAttestation.state, 'verified')
    return outcome(evidence.registrySignature)
  }
  t.equal(await judged(after, before), 'INVALID_SIGNATURE', 'the packument is back-dated')
  t.equal(await judged(before, after), 'verified')
})
