/** Remembered facts about a version: what they are kept with, and how older and newer ones go together. */
import { createHash, hash } from 'node:crypto'
import type { Evidence, Fact, Integrity, PackageId, VersionClaims } from '../types.ts'

/** Kept in the collection `evidence` under `name@version`. */
export type EvidenceRecord = {
  readonly evidence: Evidence
  /** What was claimed when it was examined; other claims call for another look. */
  readonly claims: string
  /** Milliseconds since the epoch. */
  readonly checkedAt: number
}

export const idOf = ({ name, version }: PackageId) => `${name}@${version}`

const fingerprints = new WeakMap<VersionClaims, string>()

export const fingerprint = (claims: VersionClaims): string => {
  const known = fingerprints.get(claims)
  if (known !== undefined) return known
  const { signatures, attestations } = claims
  const made = createHash('sha256')
    .update(JSON.stringify([signatures, attestations]))
    .digest('base64url')
  fingerprints.set(claims, made)
  return made
}

const digests = new WeakMap<EvidenceRecord, string>()

const digestOfOne = (version: string, entry: EvidenceRecord): string => {
  const known = digests.get(entry)
  if (known !== undefined) return known
  const text = JSON.stringify([version, entry.claims, entry.evidence])
  const made = hash('sha256', text, 'base64url')
  digests.set(entry, made)
  return made
}

/** Over the facts of every version, whenever they were looked at. */
export const digestOf = (page: ReadonlyMap<string, EvidenceRecord>): string =>
  [...page]
    .map(([version, entry]) => digestOfOne(version, entry))
    .toSorted()
    .join(' ')

const notYet: Fact<never> = { state: 'unavailable', detail: 'It has not been checked yet.' }
const absent: Fact<never> = { state: 'absent' }

/** What is known before anybody looked: absent where nothing is claimed, else not yet checked. */
export const claimedEvidence = (
  id: PackageId,
  claims: VersionClaims,
  trust: string,
  integrity: Integrity = claims.integrity ?? 'sha512-',
): Evidence => ({
  package: id,
  integrity,
  registrySignature: claims.signatures.length > 0 ? notYet : absent,
  publishAttestation: claims.attestations ? notYet : absent,
  provenance: claims.attestations ? notYet : absent,
  trust,
})

/** A fact that verified once stays verified for the same bytes and trust, whatever is claimed later. */
const better = <V>(before: Fact<V>, after: Fact<V>): Fact<V> =>
  before.state === 'verified' ? before : after

export const merge = (before: Evidence | undefined, after: Evidence): Evidence =>
  before && before.integrity === after.integrity && before.trust === after.trust
    ? {
        ...after,
        registrySignature: better(before.registrySignature, after.registrySignature),
        publishAttestation: better(before.publishAttestation, after.publishAttestation),
        provenance: better(before.provenance, after.provenance),
      }
    : after

export const factsOf = (e: Evidence): readonly Fact<unknown>[] =>
  [e.registrySignature, e.publishAttestation, e.provenance, e.bytes, e.manifest].filter(
    fact => fact !== undefined,
  )
export const has = (e: Evidence, state: Fact['state']) =>
  factsOf(e).some(fact => fact.state === state)

/**
 * Remembered facts as they count now. What was found against other claims than today's is not held
 * against these; what verified once stays verified for the same bytes and trust.
 */
export const standingFacts = (
  { evidence, claims: seen }: EvidenceRecord,
  claims: VersionClaims,
): Evidence =>
  has(evidence, 'invalid') && seen !== fingerprint(claims)
    ? merge(
        evidence,
        claimedEvidence(evidence.package, claims, evidence.trust, evidence.integrity),
      )
    : evidence
