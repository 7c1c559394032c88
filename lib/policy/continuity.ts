/**
 * Continuity: a package does not lose its provenance, nor change its publisher, from one release
 * to the next.
 */
import type { Identity, JudgeInput, Reason, Release } from '../types.ts'
import { clockFor } from './age.ts'
import { baselinePolicy } from './baseline.ts'
import { instant, showDuration } from './duration.ts'
import { publisherName, samePublisher, tryIdentity } from './identity.ts'
import { governing } from './match.ts'
import type {
  Continuity,
  PublisherPredecessors,
  Requirement,
  WantsPublisherHistory,
} from './policy.ts'
import { reason, unavailableReason } from './reason.ts'
import { vouchFinding } from './vouch.ts'
import { provenanceReturned, provenReleases, type Placed } from './releases.ts'

export { comparableReleases } from './releases.ts'

/**
 * A release speaks for its publisher once it has stood this long before the version judged. Without
 * it, whoever publishes twice in a row would be vouched for by their own first, refused release.
 */
export const establishedAfter = 14 * 86_400_000

export type ContinuityFinding = {
  readonly reasons: readonly Reason[]
  /** The nearest release with provenance that it was compared with. */
  readonly against?: string
  /** A loss that time and a later release with provenance have settled. */
  readonly settled?: true
  /** When it will be, where only time is missing. */
  readonly settlesAt?: number
}

const provenOf = (
  continuity: Continuity,
  { package: { version }, history, claims }: JudgeInput,
) => provenReleases(continuity.level, version, history, claims.publishedAt)

const lossOfProvenance = (
  continuity: Continuity,
  input: JudgeInput,
  now: Date,
): ContinuityFinding => {
  const { evidence, claims, history } = input
  // npm attests a publication only when it came with provenance
  const attested =
    evidence.publishAttestation.state === 'verified' &&
    claims.attestations?.provenance !== undefined
  const against = provenOf(continuity, input)[0]?.release.version
  if (against === undefined) return { reasons: [] }
  if (attested) return { reasons: [], against }

  const { settledAfter } = continuity
  const since = instant(clockFor(input)?.time)
  const settlesAt =
    settledAfter !== 'never' &&
    since !== undefined &&
    provenanceReturned(history, input.package.version, claims.publishedAt)
      ? since + settledAfter
      : undefined
  if (settlesAt !== undefined && now.getTime() >= settlesAt)
    return { reasons: [], against, settled: true }
  const message = `${against} was published with provenance and this version without`
  const wanted = `provenance, as ${against} has`
  return {
    reasons: [reason('DOWNGRADED', message, { field: 'provenance', wanted, found: 'none' })],
    against,
    ...(settlesAt !== undefined && { settlesAt }),
  }
}

type Known = Placed & { readonly release: Release & { readonly identity: Identity } }

const isKnown = (placed: Placed): placed is Known =>
  placed.release.identity !== undefined &&
  (placed.release.provenance === undefined || placed.release.provenance === 'verified')

const mayBeLearned = ({ release: { provenance } }: Placed) =>
  provenance === undefined || provenance === 'unavailable'

/**
 * The releases whose word counts, the most telling first: those that had stood for a while when
 * this version came out; in a package too young for that, the oldest.
 */
const speakers = (proven: readonly Placed[], publishedAt: string | undefined) => {
  const at = instant(publishedAt)
  const established = proven.filter(
    ({ publishedAt: time }) =>
      at === undefined || time === undefined || at - time >= establishedAfter,
  )
  return established.length > 0 ? established : proven.toReversed()
}

const comparedWith = (before: Known['release'], identity: Identity): ContinuityFinding => {
  const against = before.version
  if (samePublisher(before.identity, identity)) return { reasons: [], against }
  const wanted = publisherName(before.identity)
  const found = publisherName(identity)
  const message = `${against} was published by ${wanted}, this version by ${found}`
  const field = wanted === found ? 'issuer' : 'repository'
  return { reasons: [reason('PUBLISHER_CHANGED', message, { field, wanted, found })], against }
}

const changeOfPublisher = (continuity: Continuity, input: JudgeInput): ContinuityFinding => {
  const { provenance } = input.evidence
  if (provenance.state !== 'verified') return { reasons: [] }
  const proven = provenOf(continuity, input)
  const speaking = speakers(proven, input.claims.publishedAt)
  const against =
    speaking.find(isKnown) ?? (speaking.some(mayBeLearned) ? undefined : proven.find(isKnown))
  if (against !== undefined) return comparedWith(against.release, provenance.identity)
  const failed = speaking.find(({ release }) => release.provenance === 'unavailable')
  if (failed === undefined) return { reasons: [] }
  const { version } = failed.release
  return {
    reasons: [unavailableReason('the publisher', `who published ${version} is not known`)],
    against: version,
  }
}

/** Is the publisher one that the requirement itself names? Then nobody else has to speak for it. */
const isNamed = ({ provenance: demand }: Requirement, { evidence, package: id }: JudgeInput) =>
  demand.want === 'identity' &&
  evidence.provenance.state === 'verified' &&
  ((identity: Identity) =>
    demand.identities.some(p => tryIdentity(p, identity, id.version).matched))(
    evidence.provenance.identity,
  )

/** Where provenance is ignored there is nothing to continue. */
export const continuityFinding = (
  continuity: Continuity,
  requirement: Requirement,
  input: JudgeInput,
  now: Date,
): ContinuityFinding => {
  if (continuity.level === 'off' || requirement.provenance.want === 'ignore')
    return { reasons: [] }
  // somebody whom the requirement names looked at exactly this version
  const { vouch } = requirement
  const { evidence, package: id } = input
  if (vouch && vouchFinding(vouch, evidence, id.version, now).reasons.length === 0)
    return { reasons: [] }
  if (input.evidence.provenance.state === 'absent')
    return lossOfProvenance(continuity, input, now)
  return isNamed(requirement, input) ? { reasons: [] } : changeOfPublisher(continuity, input)
}

/** Whose identities judging still needs, the most telling first; empty when none is wanted. */
export const publisherPredecessors: PublisherPredecessors = (policies, input) => {
  const { evidence, package: id, claims } = input
  if (evidence.provenance.state !== 'verified') return []
  const layers = policies.length > 0 ? policies : [baselinePolicy]
  const wanted = layers.flatMap(policy => {
    const { outcome, continuity } = governing(policy, id)
    if (outcome.kind !== 'require' || continuity.level === 'off') return []
    const asks = (r: Requirement) => r.provenance.want !== 'ignore' && !isNamed(r, input)
    if (!outcome.anyOf.some(asks)) return []
    const proven = provenOf(continuity, input)
    const speaking = speakers(proven, claims.publishedAt)
    if (speaking.some(isKnown)) return []
    const learnable = speaking.filter(mayBeLearned)
    if (learnable.length > 0 || proven.some(isKnown)) return learnable
    return proven.filter(mayBeLearned)
  })
  return [...new Set(wanted.map(placed => placed.release))]
}

export const wantsPublisherHistory: WantsPublisherHistory = (policies, input) =>
  publisherPredecessors(policies, input).length > 0

const words = new WeakMap<Continuity, string>()

/** The level and what settles a loss, in words. */
export const continuityWords = (continuity: Continuity): string => {
  const { level, settledAfter } = continuity
  if (level === 'off') return level
  const known = words.get(continuity)
  if (known !== undefined) return known
  const after = settledAfter === 'never' ? settledAfter : `after ${showDuration(settledAfter)}`
  const said = `${level}, a loss is settled ${after}`
  words.set(continuity, said)
  return said
}
