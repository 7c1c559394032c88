/** Publish attestations, and the document that holds attestations. */
import fc from 'fast-check'
import t from 'tap'
import { examineWith } from '../../lib/evidence/examine.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { assembleTrust } from '../../lib/trust/load-trust.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import type { RootScope } from '../../lib/types.ts'
import {
  localSigstore,
  publishPredicate,
  type Attestation,
  type PublishOptions,
} from '../support/local-sigstore.ts'
import {
  artifact,
  examineOnly,
  found,
  foundIn,
  otherIntegrity,
  outcome,
  registry,
  requestFor,
  verificationFor,
} from './lab.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const ended = sigstore.addKey({
  validFrom: '2025-01-01T00:00:00.000Z',
  validUntil: '2025-06-01T00:00:00.000Z',
})
const signaturesOnly = sigstore.addKey({ usages: ['npm:signatures'] })
const stranger = sigstore.addKey({ listed: false })
const verification = verificationFor(sigstore)

const attest = (options: Partial<PublishOptions> = {}) =>
  sigstore.attestPublish({ ...artifact, registry, ...options })
const judge = async (options?: Partial<PublishOptions>) =>
  examineOnly(verification, await attest(options)).publishAttestation
const predicate = (changes: object) => ({
  tamper: {
    statement: (statement: { predicate: object }) => ({
      ...statement,
      predicate: { ...statement.predicate, ...changes },
    }),
  },
})

t.test('what is honest verifies, in every form', async t => {
  const forms: readonly Partial<PublishOptions>[] = [
    { bundle: '0.1' },
    { bundle: '0.2' },
    { bundle: '0.3' },
    { entry: 'intoto' },
    { entry: 'dsse-v2' },
    { registry: `${registry}/` },
  ]
  for (const options of forms)
    t.match(
      await judge(options),
      { state: 'verified', keyId: sigstore.keys[0]?.keyId, predicateType: publishPredicate },
      JSON.stringify(options),
    )
})

t.test('an attestation that is not about this', async t => {
  const cases: Readonly<Record<string, Partial<PublishOptions>>> = {
    'another package': { name: '@acme/gadget' },
    'another version': { version: '1.2.4' },
    'other bytes': { integrity: otherIntegrity },
    'another name in the predicate': predicate({ name: '@acme/gadget' }),
    'another version in the predicate': predicate({ version: '1.2.4' }),
    'another registry': { registry: 'https://npm.evil.example' },
    'a registry whose name begins like ours': { registry: `${registry}.evil.example` },
    'no registry': predicate({ registry: undefined }),
  }
  for (const [title, options] of Object.entries(cases))
    t.match(
      await judge(options),
      { state: 'invalid', code: 'WRONG_SUBJECT', npmCode: 'EATTESTATIONSUBJECT' },
      title,
    )
})

t.test(
  'keys from a file do not say whose they are: then the configured registries count',
  async t => {
    const keys = parseRegistryKeys(sigstore.registryKeys(), 'a file')
    const trust = assembleTrust({
      roots: [sigstore.trustedRoot],
      registryKeys: keys,
      sources: [],
    })
    const under = async (registries: readonly string[] | undefined) =>
      outcome(
        examineWith(openVerification(trust, registries), requestFor(found(await attest())))
          .publishAttestation,
      )
    t.equal(await under(['https://npm.evil.example/']), 'WRONG_SUBJECT')
    t.equal(await under(['https://npm.evil.example/', `${registry}/`]), 'verified')
    t.equal(await under(undefined), 'verified', 'none configured: nothing to compare with')
  },
)

t.test('who may sign, and when', async t => {
  const npmCode = async (options: Partial<PublishOptions>) => {
    const fact = await judge(options)
    return fact.state === 'invalid' ? fact.npmCode : fact.state
  }
  t.equal(
    await npmCode({ publisher: { repository: 'acme/widget' } }),
    'EATTESTATIONVERIFY',
    'a certificate',
  )
  t.equal(await npmCode({ key: stranger }), 'EMISSINGSIGNATUREKEY', 'a key that is not listed')
  t.equal(
    await npmCode({ key: signaturesOnly }),
    'EMISSINGSIGNATUREKEY',
    'a key for signatures',
  )
  const within = { key: ended, signedAt: '2025-03-01T00:00:00.000Z' }
  const before = { key: ended, signedAt: '2024-12-31T23:59:59.000Z' }
  const after = { key: ended, signedAt: '2025-06-01T00:00:00.000Z' }
  t.equal(await npmCode(within), 'verified')
  t.equal(await npmCode(before), 'EEXPIREDSIGNATUREKEY', 'before the key was valid')
  t.equal(await npmCode(after), 'EEXPIREDSIGNATUREKEY', 'when the key had ended')
  // Rekor v2 tells no time, so the timestamp authority's counts
  t.equal(await npmCode({ ...within, entry: 'dsse-v2' }), 'verified')
  t.equal(await npmCode({ ...before, entry: 'dsse-v2' }), 'EEXPIREDSIGNATUREKEY')
  t.equal(await npmCode({ ...after, entry: 'dsse-v2' }), 'EEXPIREDSIGNATUREKEY')
  const untold = { ...within, entry: 'dsse-v2', timestamp: false } as const
  t.equal(await npmCode(untold), 'EATTESTATIONVERIFY', 'nobody tells when')
  const two = await judge({
    tamper: {
      bundle: ({ dsseEnvelope: { signatures } }) => {
        if (signatures[0]) signatures[0].keyid = ended.keyId
      },
    },
  })
  t.equal(outcome(two), 'INVALID_ATTESTATION', 'envelope and bundle name two keys')
})

t.test('without a key for attestations there is nothing to check by', async t => {
  const endpoint = verificationFor(sigstore, sigstore.keysEndpoint())
  const honest = await attest()
  const forged = await attest({ publisher: { repository: 'acme/widget' } })
  t.equal(
    examineOnly(endpoint, honest).publishAttestation.state,
    'absent',
    'keys of an endpoint',
  )
  t.equal(outcome(examineOnly(endpoint, forged).publishAttestation), 'INVALID_ATTESTATION')
})

t.test('the wrapper', async t => {
  const relabelled = (predicateType: string) => judge({ tamper: { predicateType } })
  t.equal(outcome(await relabelled(`${publishPredicate}-x`)), 'INVALID_ATTESTATION')
  t.equal(outcome(await relabelled('https://acme.example/x')), 'INVALID_ATTESTATION', 'hidden')
  const asProvenance = examineOnly(
    verification,
    await attest({ tamper: { predicateType: 'https://slsa.dev/provenance/v1' } }),
  )
  t.equal(outcome(asProvenance.publishAttestation), 'INVALID_ATTESTATION')
  t.equal(outcome(asProvenance.provenance), 'INVALID_ATTESTATION')
})

t.test('both attestations together', async t => {
  const publish = await attest()
  const provenance = await sigstore.attestProvenance({ ...artifact })
  const evidence = examineOnly(verification, provenance, publish)
  t.equal(evidence.publishAttestation.state, 'verified')
  t.equal(evidence.provenance.state, 'verified')
  t.equal(evidence.trust, verification.trust)
  t.equal(evidence.integrity, artifact.integrity)

  const alone = examineOnly(verification, publish)
  t.match(alone.provenance, { state: 'absent', detail: /provenance/ })
  t.match(examineOnly(verification, provenance).publishAttestation, { state: 'absent' })

  const twice = examineOnly(verification, provenance, provenance, publish)
  t.equal(outcome(twice.provenance), 'INVALID_ATTESTATION', 'which one would policy judge?')
  t.equal(twice.publishAttestation.state, 'verified')
  t.equal(
    outcome(examineOnly(verification, publish, publish).publishAttestation),
    'INVALID_ATTESTATION',
  )
})

t.test('other predicates are none of our business', async t => {
  const other = await sigstore.attestProvenance({
    ...artifact,
    tamper: { statement: s => ({ ...s, predicateType: 'https://acme.example/review/v1' }) },
  })
  const evidence = examineOnly(verification, other)
  t.equal(evidence.provenance.state, 'absent')
  t.equal(evidence.publishAttestation.state, 'absent')
})

t.test('the document', async t => {
  const both = (attestations: Parameters<typeof requestFor>[0]) => {
    const evidence = examineWith(verification, requestFor(attestations))
    const outcomes = [evidence.publishAttestation, evidence.provenance].map(outcome)
    return outcomes[0] === outcomes[1] ? outcomes[0] : outcomes
  }
  const honest = await attest()
  const { bundle } = honest
  t.equal(both({ kind: 'unclaimed' }), 'absent')
  t.equal(both({ kind: 'unavailable', detail: 'timed out' }), 'unavailable')
  t.equal(both(foundIn({ attestations: [] })), 'absent')
  const bad: Readonly<Record<string, unknown>> = {
    'a page of HTML': '<html>',
    'half a document': JSON.stringify({ attestations: [honest] }).slice(0, 200),
    'no list': {},
    'not a list': { attestations: 'none' },
    'an entry without a bundle': { attestations: [{ predicateType: publishPredicate }] },
    'an entry without a type': { attestations: [{ bundle }] },
    'an entry that is null': { attestations: [honest, null] },
    'too many entries': { attestations: Array.from({ length: 17 }, () => honest) },
    'too large': { attestations: [], padding: 'x'.repeat(4 * 1024 * 1024) },
  }
  for (const [title, document] of Object.entries(bad))
    t.equal(both(foundIn(document)), 'INVALID_ATTESTATION', title)
  const bytes = Buffer.from('{"attestations":[],"x":"\xff"}', 'latin1')
  t.equal(both({ kind: 'found', body: bytes }), 'INVALID_ATTESTATION', 'not UTF-8')

  const odd: readonly unknown[] = [{}, { mediaType: 7 }, { ...bundle, dsseEnvelope: undefined }]
  for (const broken of odd)
    t.equal(
      outcome(
        examineOnly(verification, {
          predicateType: publishPredicate,
          bundle: broken,
        } as Attestation).publishAttestation,
      ),
      'INVALID_ATTESTATION',
    )
})

t.test('no document whatever makes it throw, or verify', async t => {
  const examined = (document: unknown) => {
    const evidence = examineWith(verification, requestFor(foundIn(document)))
    return [evidence.publishAttestation, evidence.provenance].every(
      ({ state }) => state === 'absent' || state === 'invalid',
    )
  }
  fc.assert(fc.property(fc.json(), examined), { numRuns: 200 })
  const types = fc.constantFrom(publishPredicate, 'https://slsa.dev/provenance/v1')
  const entry = fc.record({
    predicateType: types,
    bundle: fc.dictionary(fc.string(), fc.jsonValue()),
  })
  fc.assert(
    fc.property(fc.array(entry), attestations => examined({ attestations })),
    { numRuns: 200 },
  )

  // an honest bundle with any one leaf replaced: verified only where nothing depends on the leaf
  const { predicateType, bundle } = await attest()
  const leaves: string[][] = []
  const walk = (value: unknown, path: string[]): void => {
    if (typeof value !== 'object' || value === null) leaves.push(path)
    else for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key])
  }
  walk(bundle, [])
  const unread = new Set<string>()
  for (const path of leaves) {
    for (const value of ['AAAA', 7, {}]) {
      const copy = structuredClone(bundle) as unknown as Record<string, unknown>
      const parent = path.slice(0, -1).reduce((at, key) => at[key] as typeof copy, copy)
      parent[path.at(-1) ?? ''] = value
      const { publishAttestation } = examineOnly(verification, {
        predicateType,
        bundle: copy,
      } as unknown as Attestation)
      if (publishAttestation.state === 'verified') unread.add(path.join('.'))
    }
  }
  const log = 'verificationMaterial.tlogEntries.0'
  t.strictSame(
    [...unread].sort(),
    [`${log}.inclusionProof.rootHash`, `${log}.inclusionProof.treeSize`],
    'these two are repeated in the signed checkpoint, which is what counts',
  )
})

t.test('a root that is tied to issuers proves nothing that is signed with a key', async t => {
  const attestation = await attest()
  const under = (scope: RootScope) =>
    examineOnly(
      verificationFor(sigstore, sigstore.registryKeys(), [sigstore.trustedRoot], [scope]),
      attestation,
    ).publishAttestation
  t.equal(under({}).state, 'verified')
  for (const scope of [{ issuers: ['https://gitlab.com'] }, { subjects: ['**'] }])
    t.match(under(scope), {
      state: 'invalid',
      code: 'INVALID_ATTESTATION',
      detail: /may only speak for certificates/,
      found: 'a key',
    })
})
