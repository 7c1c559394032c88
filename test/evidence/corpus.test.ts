/** Real attestations, real signatures, sigstore's own conformance suite. */
import { createHash, createPublicKey } from 'node:crypto'
import { Readable } from 'node:stream'
import t from 'tap'
import { openBundleVerifier, parseBundle, verifyBundle } from '../../lib/evidence/bundle.ts'
import { examineWith } from '../../lib/evidence/examine.ts'
import { inspectTarball } from '../../lib/evidence/manifest.ts'
import { readTarball } from '../../lib/evidence/tarball.ts'
import { tarballLimits } from '../../lib/evidence/tarball-limits.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { loadTrust } from '../../lib/trust/load-trust.ts'
import type { Identity, Integrity } from '../../lib/types.ts'
import {
  claimsOf,
  conformanceCases,
  corpusFile,
  corpusInvalid,
  corpusInvalidSignatures,
  corpusPackages,
  corpusSignatures,
  noCorpus,
  requestOf,
  type CorpusPackage,
} from '../support/corpus.ts'
import { outcome } from './lab.ts'

const skip = noCorpus === false ? {} : { skip: noCorpus }

/** Offline, with what the sigstore packages ship. */
const bundledVerification = async () =>
  openVerification(await loadTrust({ roots: ['public-good'], registryKeys: 'bundled' }))

/** Which field of ours holds what the corpus decoded by other means. */
const decoded: Readonly<Record<string, keyof Identity>> = {
  san: 'subject',
  issuer: 'issuer',
  githubWorkflowName: 'workflowName',
  buildSignerURI: 'signer',
  buildSignerDigest: 'signerDigest',
  runnerEnvironment: 'runner',
  sourceRepositoryURI: 'repository',
  sourceRepositoryDigest: 'commit',
  sourceRepositoryRef: 'ref',
  sourceRepositoryIdentifier: 'repositoryId',
  sourceRepositoryOwnerURI: 'owner',
  sourceRepositoryOwnerIdentifier: 'ownerId',
  buildConfigURI: 'workflowUri',
  buildConfigDigest: 'workflowDigest',
  buildTrigger: 'trigger',
  runInvocationURI: 'run',
  sourceRepositoryVisibilityAtSigning: 'visibility',
  deploymentEnvironment: 'environment',
  tokenSubject: 'tokenSubject',
}
const legacy: Readonly<Record<string, keyof Identity>> = {
  issuerV1: 'issuer',
  githubWorkflowTrigger: 'trigger',
  githubWorkflowSHA: 'commit',
  githubWorkflowRef: 'ref',
}

t.test(
  'every valid package verifies, and its identity is what the certificate says',
  skip,
  async t => {
    const verification = await bundledVerification()
    const packages = corpusPackages()
    t.ok(packages.length >= 30, `${packages.length} packages`)
    let identities = 0
    for (const entry of packages) {
      const { facts, title } = entry
      const evidence = examineWith(verification, requestOf(entry))
      const attested = facts.attestations ?? []
      const provenance = attested.find(({ identity }) => identity.type === 'fulcio-certificate')
      const publish = attested.find(({ identity }) => identity.type === 'npm-registry-key')

      t.equal(evidence.registrySignature.state, facts.signatures ? 'verified' : 'absent', title)
      t.equal(evidence.publishAttestation.state, publish ? 'verified' : 'absent', title)
      t.equal(evidence.provenance.state, provenance ? 'verified' : 'absent', title)
      if (evidence.publishAttestation.state === 'verified') {
        t.equal(evidence.publishAttestation.keyId, publish?.identity.keyId)
        t.strictSame(evidence.publishAttestation.signedAt, {
          time: publish?.tlog[0]?.integratedTime,
          source: 'log',
        })
      }
      if (evidence.provenance.state !== 'verified' || provenance === undefined) continue
      const { identity, builderId, buildType, predicateType, signedAt } = evidence.provenance
      identities++
      for (const [theirs, ours] of Object.entries({ ...decoded, ...legacy }))
        if (provenance.identity[theirs] !== undefined)
          t.equal(identity[ours], provenance.identity[theirs], `${title} ${ours}`)
      const name = provenance.identity.githubWorkflowRepository
      t.equal(identity.repository, `https://github.com/${name}`, title)
      t.match(identity.workflow, /^\.github\/workflows\/[^@]+\.yml$/, title)
      t.equal(identity.subjectType, 'uri')
      t.equal(predicateType, provenance.wrapperPredicateType)
      t.equal(builderId, provenance.provenance?.builderId)
      t.equal(buildType, provenance.provenance?.buildType)
      t.equal(signedAt?.time, provenance.tlog[0]?.integratedTime)
    }
    t.ok(identities >= 12, `${identities} identities`)
  },
)

t.test('a reusable workflow signs, its caller is the source', skip, async t => {
  const entry = corpusPackages().find(
    ({ title }) => title === '@laurentsimon+provenance-npm-test@1.0.5',
  ) as CorpusPackage
  const { provenance } = examineWith(await bundledVerification(), requestOf(entry))
  if (provenance.state !== 'verified') return t.fail(JSON.stringify(provenance))
  const { identity } = provenance
  t.match(identity.signer, /^https:\/\/github\.com\/slsa-framework\/slsa-github-generator\//)
  t.equal(identity.subject, identity.signer)
  t.equal(identity.repository, 'https://github.com/laurentsimon/provenance-npm-test')
  t.equal(identity.workflow, '.github/workflows/release-slsa3.yml')
})

t.test('everything that must be refused is, where it must be', skip, async t => {
  const verification = await bundledVerification()
  const wanted: Readonly<Record<string, string>> = {
    crypto: 'INVALID_ATTESTATION',
    wrapper: 'INVALID_ATTESTATION',
    identity: 'INVALID_ATTESTATION',
    statement: 'WRONG_SUBJECT',
    digest: 'WRONG_SUBJECT',
  }
  for (const entry of corpusInvalid()) {
    const { facts, title, tarball } = entry
    // of the flipped tarball nothing but its bytes is wrong
    const bytes: Integrity | undefined =
      tarball && `sha512-${createHash('sha512').update(tarball).digest('base64')}`
    const evidence = examineWith(verification, requestOf(entry, bytes ?? facts.integrity))
    const outcomes = [evidence.publishAttestation, evidence.provenance].map(outcome)
    const code = wanted[facts.expected.layer ?? ''] ?? 'unknown layer'
    t.ok(outcomes.includes(code), `${title}: ${outcomes.join(', ')}; wanted ${code}`)
    const others = outcomes.filter(other => other !== code)
    t.ok(
      others.every(other => other === 'verified' || other === 'absent'),
      title,
    )
  }
})

t.test('every registry signature verifies, and no forged one does', skip, async t => {
  const verification = await bundledVerification()
  const state = (signature: ReturnType<typeof corpusSignatures>[number]) => {
    const { name, version, integrity } = signature
    return outcome(
      examineWith(verification, {
        package: { name, version },
        integrity,
        claims: claimsOf({ ...signature, signatures: [signature] }),
        attestations: { kind: 'unclaimed' },
      }).registrySignature,
    )
  }
  const signatures = corpusSignatures()
  t.ok(signatures.length > 10_000, `${signatures.length} signatures`)
  t.strictSame(
    signatures.filter(signature => state(signature) !== 'verified'),
    [],
  )
  const forged = corpusInvalidSignatures()
  t.ok(forged.length >= 7)
  for (const signature of forged)
    t.equal(state(signature), 'INVALID_SIGNATURE', signature.reason)
})

t.test('keys from before a change of keys do not know the new one', skip, async t => {
  const { readdirSync } = await import('node:fs')
  const old = readdirSync(corpusFile('stale')).find(file => file.startsWith('keys.2024'))
  if (old === undefined) return t.fail('no stale keys in the corpus')
  const trust = await loadTrust({
    roots: ['public-good'],
    registryKeys: { file: corpusFile('stale', old) },
  })
  const entry = corpusPackages().find(
    ({ title }) => title === 'sigstore@5.0.0',
  ) as CorpusPackage
  const { publishAttestation, provenance } = examineWith(
    openVerification(trust),
    requestOf(entry),
  )
  t.match(publishAttestation, { state: 'invalid', npmCode: 'EMISSINGSIGNATUREKEY' })
  t.equal(provenance.state, 'verified')
})

t.test("sigstore's conformance suite", skip, async t => {
  const cases = conformanceCases()
  t.ok(cases.length >= 47, `${cases.length} cases`)
  for (const { title, expect, bundle, artifact, root, key } of cases) {
    const verify = async () => {
      const trust = await loadTrust({
        roots: [root === undefined ? 'public-good' : { file: root }],
        registryKeys: 'none',
      })
      const verifiers = openBundleVerifier(trust.roots, hint => {
        if (key === undefined) throw new Error(`no key ${hint}`)
        return { publicKey: createPublicKey(key), validFor: () => true }
      })
      return verifyBundle(verifiers, parseBundle(JSON.parse(bundle)), { artifact })
    }
    const result = await verify().then(
      () => 'pass',
      () => 'fail',
    )
    t.equal(result, expect, title)
  }
})

t.test('real tarballs agree with the manifests that were made of them', skip, async t => {
  for (const { title, tarball, facts } of corpusPackages()) {
    if (tarball === undefined) continue
    const manifest = await readTarball(Readable.from([tarball]), tarballLimits)
    t.equal(manifest.name, facts.name, title)
    t.equal(manifest.version, facts.version, title)
    const agreed = await inspectTarball(Readable.from([tarball]), { ...manifest, _id: title })
    t.equal(agreed.state, 'verified', title)
    const hidden = {
      ...manifest,
      _id: title,
      dependencies: { ...(manifest.dependencies as object), x: '1' },
    }
    t.equal(
      outcome(await inspectTarball(Readable.from([tarball]), hidden)),
      'MANIFEST_MISMATCH',
    )
  }
})
