/** From which version on a rule may ask for provenance without refusing older honest versions. */
import { compare } from 'semver'

/** One package: its lowest version that was seen with provenance, and those that lack it. */
export type Span = {
  readonly name: string
  readonly lowest: string
  readonly without: readonly string[]
}

export type Floor = {
  /** Absent: every version. */
  readonly from?: string
  readonly spans: readonly Span[]
}

/** The highest version below the lowest verified one that lacks provenance. */
const bareBelow = ({ lowest, without }: Span): string | undefined =>
  without
    .filter(version => compare(version, lowest) < 0)
    .reduce<string | undefined>(
      (most, version) => (most === undefined || compare(version, most) > 0 ? version : most),
      undefined,
    )

/** Would a rule from that version on refuse a known release that is older than what was seen? */
export const hits = (span: Span, from: string | undefined): boolean => {
  const bare = bareBelow(span)
  return bare !== undefined && (from === undefined || compare(bare, from) >= 0)
}

const lowestOf = (spans: readonly Span[]): string | undefined =>
  spans.reduce<string | undefined>(
    (least, { lowest }) => (least === undefined || compare(lowest, least) < 0 ? lowest : least),
    undefined,
  )

/** The floor that takes in every version seen, and none lower than that. */
export const commonFloor = (spans: readonly Span[]): string | undefined =>
  spans.some(span => hits(span, undefined)) ? lowestOf(spans) : undefined

/**
 * The fewest floors that take in all versions seen and refuse no older release: again and again the
 * lowest version of those left over, for all that bear it.
 */
export const floorsOf = (spans: readonly Span[]): readonly Floor[] => {
  if (spans.length === 0) return []
  const from = commonFloor(spans)
  if (from === undefined) return [{ spans }]
  const fitting = spans.filter(span => !hits(span, from))
  const rest = spans.filter(span => hits(span, from))
  return [{ from, spans: fitting }, ...floorsOf(rest)]
}

/** `<` bounds below which a package came without provenance, and the packages for each. */
export const boundsOf = (
  spans: readonly Span[],
): readonly { readonly below: string; readonly names: readonly string[] }[] => {
  const below = lowestOf(spans)
  if (below === undefined) return []
  const fits = ({ lowest, without }: Span) =>
    compare(below, lowest) <= 0 &&
    compare(bareBelow({ name: '', lowest, without }) ?? '0.0.0-0', below) < 0
  const names = spans.filter(fits).map(span => span.name)
  return [{ below, names }, ...boundsOf(spans.filter(span => !fits(span)))]
}
