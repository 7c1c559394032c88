/** One requirement held against the facts: what was asked of each, what was found, what is missing. */
import type { Evidence, Fact, Reason, ReasonCode } from '../types.ts'
import { mismatchReasons, nearestTrial, tryIdentity, type IdentityTrial } from './identity.ts'
import type { Presence, ProvenanceDemand, Requirement } from './policy.ts'
import { invalidReason, reason, unavailableFactReason, unavailableReason } from './reason.ts'
import { nearestOf, signatureFinding, vouchFinding } from './vouch.ts'

export type Check = {
  readonly what:
    | 'registrySignature'
    | 'publishAttestation'
    | 'provenance'
    | 'manifest'
    | 'vouch'
    | 'signature'
    | 'continuity'
    | 'minimumAge'
    | 'where'
  readonly wanted: string
  readonly found: string
  readonly reasons: readonly Reason[]
  /** Every identity that was tried, where identities were asked for. */
  readonly identities?: readonly IdentityTrial[]
  readonly nearest?: IdentityTrial
  /** Milliseconds since the epoch: when what holds now will not. */
  readonly ends?: number
}

/** A fact that nobody has established yet, as the bytes and the manifest before the bytes are here. */
const foundIn = (fact: Fact | undefined): string => {
  if (fact === undefined) return 'not looked at yet'
  if (fact.state === 'verified') return 'verified'
  return fact.detail === undefined ? fact.state : `${fact.state}: ${fact.detail}`
}

const labels = {
  registrySignature: 'registry signature',
  publishAttestation: 'publish attestation',
  provenance: 'provenance',
  manifest: 'manifest',
} as const

const factCheck = (
  what: keyof typeof labels,
  fact: Fact | undefined,
  wanted: Presence,
  ifAbsent: ReasonCode,
): Check => {
  const label = labels[what]
  const reasons = (): readonly Reason[] => {
    if (wanted === 'ignore' || fact === undefined || fact.state === 'verified') return []
    if (fact.state === 'invalid') return [invalidReason(label, fact)]
    if (fact.state === 'unavailable') return [unavailableFactReason(label, fact)]
    if (wanted === 'if-present') return []
    const message = `${label} is required and there is none`
    return [reason(ifAbsent, message, { field: what, wanted, found: 'none' })]
  }
  return { what, wanted, found: foundIn(fact), reasons: reasons() }
}

const provenanceCheck = (
  demand: ProvenanceDemand,
  evidence: Evidence,
  version: string,
): Check => {
  const fact = evidence.provenance
  const presence = demand.want === 'identity' ? 'required' : demand.want
  const check = factCheck('provenance', fact, presence, 'NO_PROVENANCE')
  if (demand.want !== 'identity') return check
  const names = demand.identities.map(p => p.name ?? 'an identity written in the rule')
  const wanted = `signed by ${names.join(' or ')}`
  if (fact.state !== 'verified') return { ...check, wanted }
  const identities = demand.identities.map(p => tryIdentity(p, fact.identity, version))
  const nearest = nearestTrial(identities)
  return {
    ...check,
    wanted,
    identities,
    ...(nearest && { nearest }),
    reasons: identities.some(trial => trial.matched) ? [] : mismatchReasons(identities),
  }
}

/**
 * A publish attestation that does not verify counts wherever provenance counts, even if itself
 * ignored: the two come in one document, and one of them is forged.
 */
const publishCheck = (requirement: Requirement, evidence: Evidence): Check => {
  const fact = evidence.publishAttestation
  const wanted = requirement.publishAttestation
  const check = factCheck('publishAttestation', fact, wanted, 'UNSIGNED')
  return fact.state === 'invalid' && requirement.provenance.want !== 'ignore'
    ? { ...check, reasons: [invalidReason(labels.publishAttestation, fact)] }
    : check
}

const vouchCheck = (
  { vouch }: Requirement,
  evidence: Evidence,
  version: string,
  now: Date,
): readonly Check[] => {
  if (vouch === undefined) return []
  const { trials, ...finding } = vouchFinding(vouch, evidence, version, now)
  return [{ what: 'vouch', ...finding, ...nearestOf(trials) }]
}

const signatureCheck = ({ signature }: Requirement, evidence: Evidence): readonly Check[] => {
  if (signature === undefined) return []
  const { trials, ...finding } = signatureFinding(signature, evidence.registrySignature)
  return [{ what: 'signature', ...finding, ...nearestOf(trials) }]
}

/**
 * A vouch speaks for what was never signed, and never for what was forged: beside it, what is
 * ignored may be absent and must not be invalid.
 */
const besideVouch = (requirement: Requirement): Requirement => {
  if (requirement.vouch === undefined) return requirement
  const floor = <P extends string>(presence: P) =>
    presence === 'ignore' ? ('if-present' as const) : presence
  const { provenance } = requirement
  return {
    ...requirement,
    registrySignature: floor(requirement.registrySignature),
    publishAttestation: floor(requirement.publishAttestation),
    manifest: floor(requirement.manifest),
    provenance: provenance.want === 'ignore' ? { want: 'if-present' } : provenance,
  }
}

export const requirementChecks = (
  asked: Requirement,
  evidence: Evidence,
  version: string,
  now: Date,
): readonly Check[] => {
  const requirement = besideVouch(asked)
  return [
    factCheck(
      'registrySignature',
      evidence.registrySignature,
      requirement.registrySignature,
      'UNSIGNED',
    ),
    publishCheck(requirement, evidence),
    provenanceCheck(requirement.provenance, evidence, version),
    factCheck('manifest', evidence.manifest, requirement.manifest, 'MANIFEST_MISMATCH'),
    ...vouchCheck(requirement, evidence, version, now),
    ...signatureCheck(requirement, evidence),
  ]
}

/**
 * What holds against the bytes themselves. No mode, requirement or waiver admits bytes that are
 * not what was signed or published.
 */
export const byteReasons = (evidence: Evidence): readonly Reason[] => {
  const { bytes, registrySignature, publishAttestation, provenance, manifest } = evidence
  if (bytes?.state === 'invalid') return [invalidReason('bytes', bytes, 'INTEGRITY_MISMATCH')]
  const facts = { registrySignature, publishAttestation, provenance, manifest }
  const mismatch = (Object.keys(labels) as (keyof typeof labels)[]).flatMap(what => {
    const fact = facts[what]
    return fact?.state === 'invalid' && fact.code === 'INTEGRITY_MISMATCH'
      ? [invalidReason(labels[what], fact)]
      : []
  })
  if (mismatch.length > 0) return mismatch
  return bytes?.state === 'unavailable' ? [unavailableReason('bytes', bytes.detail)] : []
}
