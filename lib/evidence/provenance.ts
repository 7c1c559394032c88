/** SLSA provenance: who built this version, from which source. */
import type { Fact, Identity, Provenance } from '../types.ts'
import type { AttestationEntry } from './attestations.ts'
import { parseBundle, verifyBundle } from './bundle.ts'
import type { ExamineRequest } from './examiner.ts'
import { refuse } from './finding.ts'
import { decodeIdentity, splitWorkflowUri } from './identity.ts'
import { agreeV02, agreeV1, type Build } from './slsa.ts'
import { checkSubject, envelopeOf, parseStatement, type Statement } from './statement.ts'
import type { Verification } from './verification.ts'

export const provenancePrefix = 'https://slsa.dev/provenance/'

/**
 * CircleCI, Codefresh and others certify an address of their API, which is no file at a ref and lies
 * on no host of repositories. An identity then has no `workflow`.
 */
const isElsewhere = (workflowUri: string, repository: string | undefined): boolean =>
  !workflowUri.includes('@') &&
  (repository === undefined ||
    URL.parse(workflowUri)?.host.toLowerCase() !== URL.parse(repository)?.host.toLowerCase())

/**
 * The workflow that ran belongs to the source it built, and where both digests are certified the
 * workflow file is from the commit that was built (slsa-verifier, verifier.go).
 */
const checkWorkflow = (identity: Identity): void => {
  const { repository, workflowUri, workflowDigest, commit, ref } = identity
  if (workflowUri === undefined || isElsewhere(workflowUri, repository)) return
  if (repository === undefined || splitWorkflowUri(workflowUri, repository, ref) === undefined)
    refuse(
      'INVALID_ATTESTATION',
      'The certified workflow is not in the certified repository.',
      {
        npmCode: 'EATTESTATIONVERIFY',
        wanted: repository,
        found: workflowUri,
      },
    )
  if (workflowDigest !== undefined && commit !== undefined && workflowDigest !== commit)
    refuse(
      'INVALID_ATTESTATION',
      'The certified workflow is from another commit than the source.',
      {
        npmCode: 'EATTESTATIONVERIFY',
        wanted: commit,
        found: workflowDigest,
      },
    )
}

const agreeBuild = ({ predicateType, predicate }: Statement, identity: Identity): Build => {
  switch (predicateType) {
    case `${provenancePrefix}v1`:
      return agreeV1(predicate, identity)
    case `${provenancePrefix}v0.2`:
      return agreeV02(predicate, identity)
    default:
      return refuse('INVALID_ATTESTATION', 'The provenance is of an unknown version.', {
        npmCode: 'EATTESTATIONVERIFY',
        wanted: `${provenancePrefix}v1 or v0.2`,
        found: predicateType,
      })
  }
}

/** Throws a finding, or whatever the libraries throw. */
export const verifyProvenance = (
  { verifiers }: Verification,
  { predicateType, bundle: json }: AttestationEntry,
  { package: id, integrity }: ExamineRequest,
): Fact<Provenance> => {
  const bundle = parseBundle(json)
  if (bundle.verificationMaterial.content.$case === 'publicKey')
    refuse('INVALID_ATTESTATION', 'The provenance is signed by a key, not by a build.', {
      npmCode: 'EATTESTATIONVERIFY',
      wanted: 'a certificate',
      found: 'a key',
    })
  const envelope = envelopeOf(bundle)
  // nothing signs the id, so it can only mislead: npm looks it up among the registry's keys
  if (envelope.keyId !== '')
    refuse('INVALID_ATTESTATION', 'The provenance has a certificate and names a key as well.', {
      npmCode: 'EMISSINGSIGNATUREKEY',
      wanted: 'no key id',
      found: envelope.keyId,
    })
  const { certificate, signedAt } = verifyBundle(verifiers, bundle)
  if (certificate === undefined) throw new Error('a verified bundle lost its certificate')
  const statement = parseStatement(envelope, predicateType)
  checkSubject(statement.subject, id, integrity)
  const identity = decodeIdentity(certificate)
  checkWorkflow(identity)
  const build = agreeBuild(statement, identity)
  return { state: 'verified', identity, predicateType, ...build, signedAt }
}
