/** A package's versions in order of publication, put together where the same publisher goes on. Pure. */
import type { Evidence, Identity, ReasonCode, State, VersionClaims } from '../types.ts'

/** `unknown`: it claims provenance, and nobody has looked at it yet. */
export type TimelineState = State | 'unknown'

/** What one publisher is told from another by, read from the certificate. */
export type Publisher = Pick<
  Identity,
  'issuer' | 'subject' | 'repository' | 'repositoryId' | 'workflow'
>

export type TimelineVersion = {
  readonly version: string
  /** The packument's word for when. */
  readonly publishedAt?: string
  readonly claimsProvenance: boolean
  readonly provenance: TimelineState
  /** What is wrong, where provenance is invalid or unavailable. */
  readonly detail?: string
  /** Codes of the reasons for which the policy in force hides it. */
  readonly refused?: readonly ReasonCode[]
}

/** Versions published one after the other by the same publisher, or alike in having none. */
export type TimelineRun = {
  readonly provenance: TimelineState
  /** Only where provenance verified. */
  readonly publisher?: Publisher
  readonly since: string
  readonly until: string
  readonly versions: readonly TimelineVersion[]
}

/** What is known of one version before it is grouped. */
export type TimelineEntry = TimelineVersion & { readonly publisher?: Publisher }

/**
 * Versions by the time the packument gives. One without a time keeps its place behind the one
 * that the packument names before it.
 */
export const byPublication = (versions: Iterable<VersionClaims>): readonly VersionClaims[] => {
  let last = Number.NEGATIVE_INFINITY
  const placed = Array.from(versions, claims => {
    last = claims.publishedAt === undefined ? last : Date.parse(claims.publishedAt)
    return { claims, at: last }
  })
  // the subtraction of two infinities is not a number
  return placed.sort((a, b) => (a.at === b.at ? 0 : a.at - b.at)).map(({ claims }) => claims)
}

const publisherOf = (identity: Identity): Publisher => {
  const { issuer, subject, repository, repositoryId, workflow } = identity
  return {
    issuer,
    subject,
    ...(repository !== undefined && { repository }),
    ...(repositoryId !== undefined && { repositoryId }),
    ...(workflow !== undefined && { workflow }),
  }
}

/** `provenance`: the fact, when somebody looked. */
export const entryOf = (
  claims: VersionClaims,
  provenance: Evidence['provenance'] | undefined,
  refused: readonly ReasonCode[] | undefined,
): TimelineEntry => {
  const claimsProvenance = claims.attestations?.provenance !== undefined
  const common = {
    version: claims.version,
    ...(claims.publishedAt !== undefined && { publishedAt: claims.publishedAt }),
    claimsProvenance,
    ...(refused && { refused }),
  }
  if (!provenance) return { ...common, provenance: claimsProvenance ? 'unknown' : 'absent' }
  const { state } = provenance
  if (state === 'verified')
    return { ...common, provenance: state, publisher: publisherOf(provenance.identity) }
  const detail = state === 'absent' ? undefined : provenance.detail
  return { ...common, provenance: state, ...(detail !== undefined && { detail }) }
}

/** A repository is its number where there is one: names can be given away. */
const keyOf = ({ provenance, publisher }: TimelineEntry): string => {
  if (!publisher) return provenance
  const { issuer, subject, repository, repositoryId, workflow } = publisher
  const where =
    repositoryId === undefined
      ? ['name', repository?.toLowerCase() ?? subject]
      : ['id', repositoryId]
  return JSON.stringify([issuer, ...where, workflow ?? subject])
}

/** `entries` in order of publication. A renamed repository has its newest name. */
export const runsOf = (entries: readonly TimelineEntry[]): readonly TimelineRun[] => {
  const runs: { key: string; entries: TimelineEntry[] }[] = []
  for (const entry of entries) {
    const key = keyOf(entry)
    const last = runs.at(-1)
    if (last?.key === key) last.entries.push(entry)
    else runs.push({ key, entries: [entry] })
  }
  return runs.map(({ entries }) => {
    const [first, last] = [entries.at(0), entries.at(-1)]
    return {
      provenance: last?.provenance ?? 'unknown',
      ...(last?.publisher && { publisher: last.publisher }),
      since: first?.version ?? '',
      until: last?.version ?? '',
      versions: entries.map(({ publisher: _publisher, ...version }) => version),
    }
  })
}

/** A run to show, or how many runs and versions are left out in its place. */
export type ShownRun =
  | { readonly run: TimelineRun }
  | { readonly run?: never; readonly runs: number; readonly versions: number }

/** The newest `most` runs and the one that `version` is in; what is left out is counted. */
export const shownRuns = (
  runs: readonly TimelineRun[],
  version: string,
  most: number,
): readonly ShownRun[] => {
  const shown: ShownRun[] = []
  const first = runs.length - most
  let left = { runs: 0, versions: 0 }
  for (const [i, run] of runs.entries()) {
    if (i < first && !run.versions.some(v => v.version === version)) {
      left = { runs: left.runs + 1, versions: left.versions + run.versions.length }
      continue
    }
    if (left.runs > 0) shown.push(left)
    left = { runs: 0, versions: 0 }
    shown.push({ run })
  }
  return shown
}
