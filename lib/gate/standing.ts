/**
 * All versions of a package judged, and which of them have to be judged again when something has
 * become known: an install learns the facts of a package's versions one by one, and each time all
 * others would be judged anew to the same effect.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Policy } from '../policy/policy.ts'
import { hasProvenance } from '../policy/releases.ts'
import type { Release, Verdict, VersionClaims } from '../types.ts'
import type { EvidenceRecord } from './evidence-facts.ts'
import type { PackageIndex } from './package-index.ts'

/** What is shown of a package, and for how long. */
export type Outcome = {
  /** Verdicts that hide a version. */
  readonly refused: ReadonlyMap<string, Verdict>
  /** Verdicts of what is shown only because a policy observes; not for want of having looked. */
  readonly observed: ReadonlyMap<string, Verdict>
  /** Milliseconds since the epoch when time alone changes something; Infinity when never. */
  readonly changesAt: number
}

/** All versions of a package judged by what is known now. */
export type Standing = Outcome & {
  readonly index: PackageIndex
  /** Versions that were looked at under other trust, and not again since. */
  readonly outdated?: readonly string[]
  /** None where the next one is to be made afresh. */
  readonly basis?: Basis
}

export const isStanding = (outcome: Outcome): outcome is Standing => 'index' in outcome

/** Versions named by dist-tags that are verified ahead of being asked for. */
const AHEAD = 3

/** What is to be verified ahead: it claims something, and most will ask for it. */
export const aheadOf = ({ index, refused }: Standing): readonly VersionClaims[] =>
  [...new Set(Object.values(index.distTags).slice(0, AHEAD))].flatMap(version => {
    const claims = index.versions.get(version)
    if (!claims?.integrity || refused.has(version)) return []
    return claims.signatures.length > 0 || claims.attestations ? [claims] : []
  })

/** What it was made from. */
export type Basis = {
  readonly policies: readonly Policy[]
  readonly trust: string
  /** What is known of each version, as far as anybody looked. */
  readonly known: ReadonlyMap<string, EvidenceRecord>
  /** The releases that have provenance, or claim to: all that continuity asks of the others' facts. */
  readonly proven: readonly Release[]
  /** Versions whose verdicts time alone will change, and when. */
  readonly changing: ReadonlyMap<string, number>
}

/** The releases by which a fact about one version can change the verdict on another. */
export const provenOf = (history: readonly Release[]): readonly Release[] =>
  history.filter(hasProvenance)

/** A verdict that is as it was: none where it is a plain allow. */
export type Carried = { readonly verdict: Verdict | undefined; readonly changesAt: number }

/** What of `before` still holds at the moment `at` for a version, where all else is as in `basis`. */
export const carriedFrom = (
  before: Standing | undefined,
  index: PackageIndex,
  basis: Omit<Basis, 'changing'>,
  at: number,
): ((version: string) => Carried | undefined) => {
  const was = before?.basis
  const sameRevision =
    before?.index.versions === index.versions &&
    before.index.appeared === index.appeared &&
    before.index.lookedAt === index.lookedAt &&
    before.index.upstream === index.upstream
  const comparable =
    was !== undefined &&
    sameRevision &&
    was.policies === basis.policies &&
    was.trust === basis.trust &&
    isDeepStrictEqual(was.proven, basis.proven)
  if (!comparable) return () => undefined
  return version => {
    if (was.known.get(version) !== basis.known.get(version)) return undefined
    const changesAt = was.changing.get(version) ?? Number.POSITIVE_INFINITY
    if (at >= changesAt) return undefined
    return { verdict: before.refused.get(version) ?? before.observed.get(version), changesAt }
  }
}
