/** Since when a version has been public, by the best clock there is, and whether that is long enough. */
import type { AgeClock, Evidence, JudgeInput, Reason, Sighting } from '../types.ts'
import { instant, showDuration } from './duration.ts'
import { reason } from './reason.ts'

const clockOf = (
  source: AgeClock['source'],
  time: string | undefined,
): AgeClock | undefined => {
  const at = instant(time)
  return at === undefined ? undefined : { time: new Date(at).toISOString(), source }
}

const signedAt = (evidence: Evidence): string | undefined => {
  const { publishAttestation: publish, provenance } = evidence
  // the registry signs when it publishes; a build may have been signed long before that
  const first = publish.state === 'verified' ? publish.signedAt?.time : undefined
  return first ?? (provenance.state === 'verified' ? provenance.signedAt?.time : undefined)
}

/**
 * The clock of a version: when it was signed by a log's or timestamp authority's word; else when
 * we first saw it, if we had looked before and it was not there; else the packument's unsigned
 * `time`; else when we first saw it at all. Undefined when nothing is known.
 */
export const ageClock = (version: {
  readonly evidence: Evidence
  readonly sighting?: Sighting
  readonly publishedAt?: string
}): AgeClock | undefined => {
  const { evidence, sighting, publishedAt } = version
  return (
    clockOf('log', signedAt(evidence)) ??
    (sighting?.absentAt === undefined
      ? undefined
      : clockOf('first-seen', sighting.firstSeen)) ??
    clockOf('packument', publishedAt) ??
    clockOf('first-seen', sighting?.firstSeen)
  )
}

export const clockFor = ({ evidence, sighting, claims }: JudgeInput): AgeClock | undefined =>
  ageClock({
    evidence,
    ...(sighting && { sighting }),
    ...(claims.publishedAt !== undefined && { publishedAt: claims.publishedAt }),
  })

const says: Readonly<Record<AgeClock['source'], string>> = {
  log: 'the time it was signed',
  'first-seen': 'our own first sight of it',
  packument: "the packument's unsigned time",
}

export const clockWords = (clock: AgeClock): string => `${clock.time} by ${says[clock.source]}`

/** `ripeAt` is the instant from which the age suffices, where that is still to come. */
export const ageReasons = (
  minimumAge: number,
  clock: AgeClock | undefined,
  now: Date,
): { readonly reasons: readonly Reason[]; readonly ripeAt?: number } => {
  if (minimumAge === 0) return { reasons: [] }
  const since = instant(clock?.time)
  if (clock === undefined || since === undefined)
    return {
      reasons: [reason('EVIDENCE_UNAVAILABLE', 'its age could not be told: no clock knows it')],
    }
  const ripeAt = since + minimumAge
  // written so that a clock that is no number refuses
  if (now.getTime() >= ripeAt) return { reasons: [] }
  const wanted = showDuration(minimumAge)
  const until = new Date(ripeAt).toISOString()
  const message = `public since ${clockWords(clock)}; a minimum age of ${wanted} is reached at ${until}`
  return { reasons: [reason('TOO_NEW', message, { wanted, found: clock.time })], ripeAt }
}
