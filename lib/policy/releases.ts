/**
 * Which earlier releases of a package a version is compared with. The history is parsed once per
 * list, so that judging all versions of a large package with one list stays cheap.
 */
import type { SemVer } from 'semver'
import parse from 'semver/functions/parse.js'
import type { Release } from '../types.ts'
import { instant } from './duration.ts'
import type { ComparableReleases, ContinuityLevel } from './policy.ts'

/** A release with what puts it in order. */
export type Placed = {
  readonly release: Release
  readonly version: SemVer
  /** Milliseconds since the epoch. */
  readonly publishedAt: number | undefined
}
/** Highest version first. Most packages have nothing with provenance, and nothing of theirs is parsed. */
type Parsed = {
  readonly all: () => readonly Placed[]
  readonly withProvenance: readonly Placed[]
}

const parsedLists = new WeakMap<readonly Release[], Parsed>()

export const hasProvenance = (release: Release): boolean =>
  release.claimsProvenance || release.provenance === 'verified'

/**
 * Highest first. What only build metadata or a leading `v` tells apart is equal to semver, and still
 * has one order: the answer does not depend on the order in which an upstream lists its versions.
 */
const downwards = (a: Placed, b: Placed) =>
  b.version.compare(a.version) || (b.release.version < a.release.version ? -1 : 1)

/** As loosely as clients read it, which install 1.0.1beta. */
const placeOf = (version: string): SemVer | null => parse(version, { loose: true })

/** Releases whose version is not semver cannot be put in order, and are left out. */
const placed = (releases: readonly Release[]): readonly Placed[] =>
  releases
    .flatMap((release): Placed[] => {
      const version = placeOf(release.version)
      return version ? [{ release, version, publishedAt: instant(release.publishedAt) }] : []
    })
    .sort(downwards)

const parsed = (history: readonly Release[]): Parsed => {
  const remembered = parsedLists.get(history)
  if (remembered) return remembered
  let all: readonly Placed[] | undefined
  const made: Parsed = {
    all: () => (all ??= placed(history)),
    withProvenance: placed(history.filter(hasProvenance)),
  }
  parsedLists.set(history, made)
  return made
}

const stable = (version: SemVer) => version.prerelease.length === 0

/** The comparison for one version: what is earlier, what is of its line, how the line began. */
const comparison = (version: SemVer, history: Parsed, publishedAt: number | undefined) => {
  const other = (k: Placed) => k.version.raw !== version.raw
  const sameKind = (k: Placed) => !stable(version) || stable(k.version)
  const earlier = (k: Placed) =>
    k.version.compare(version) < 0 ||
    (k.publishedAt !== undefined && publishedAt !== undefined && k.publishedAt < publishedAt)
  const inLine = (k: Placed) => k.version.major === version.major
  const compared = (k: Placed) => other(k) && sameKind(k) && earlier(k)

  /**
   * Was this release line opened when a lower one already had provenance? Then its first release
   * may not come without. By the times of publishing where they are known; else only a version
   * with nothing before it in its line opens one.
   */
  const openedAfterAdoption = (): boolean => {
    const adopted = history.withProvenance.filter(
      k => k.version.major < version.major && sameKind(k),
    )
    if (adopted.length === 0) return false
    const since = adopted.flatMap(k => k.publishedAt ?? [])
    const line = history.all().filter(k => other(k) && sameKind(k) && inLine(k))
    if (
      publishedAt === undefined ||
      since.length === 0 ||
      line.some(k => k.publishedAt === undefined)
    )
      return !line.some(earlier)
    const first = line.reduce((time, k) => Math.min(time, k.publishedAt ?? time), publishedAt)
    return since.reduce((least, time) => Math.min(least, time)) < first
  }
  return { compared, inLine, openedAfterAdoption }
}

const select = (
  level: ContinuityLevel,
  text: string,
  history: readonly Release[],
  publishedAt: string | undefined,
  from: (lists: Parsed) => readonly Placed[],
): readonly Placed[] => {
  if (level === 'off') return []
  const lists = parsed(history)
  const candidates = from(lists)
  if (candidates.length === 0) return []
  const version = placeOf(text)
  // what cannot be put in order comes after all: it is installed where a dist-tag names it
  if (version === null) return candidates.filter(k => k.release.version !== text)
  const { compared, inLine, openedAfterAdoption } = comparison(
    version,
    lists,
    instant(publishedAt),
  )
  const earlier = candidates.filter(compared)
  if (earlier.length === 0) return []
  const whole = level === 'package' || earlier.every(inLine)
  const lower = !whole && openedAfterAdoption()
  const chosen = earlier.filter(
    k => whole || inLine(k) || (lower && k.version.major < version.major),
  )
  const below = chosen.filter(k => k.version.compare(version) < 0)
  const above = chosen.filter(k => k.version.compare(version) >= 0)
  return [...below, ...above.toReversed()]
}

/**
 * The earlier releases that continuity compares with, nearest first: the next lower versions
 * downwards, then higher ones that came out before, upwards. Earlier is what is lower by semver or
 * known to be published before. A stable version is compared with stable releases, a prerelease
 * with all. The version itself may stand in the history; it is left out.
 */
export const comparableReleases: ComparableReleases = (level, version, history, publishedAt) =>
  select(level, version, history, publishedAt, lists => lists.all()).map(k => k.release)

/** Those of them that have provenance, or claim to. */
export const provenReleases = (
  ...[level, version, history, publishedAt]: Parameters<ComparableReleases>
): readonly Placed[] =>
  select(level, version, history, publishedAt, lists => lists.withProvenance)

/** Did provenance come back: is there a release, published later, that has it? */
export const provenanceReturned = (
  history: readonly Release[],
  version: string,
  publishedAt: string | undefined,
): boolean => {
  const at = instant(publishedAt)
  return (
    at !== undefined &&
    parsed(history).withProvenance.some(
      ({ release, publishedAt: later }) =>
        release.version !== version &&
        later !== undefined &&
        later > at &&
        // only what is not known to be false counts in favour
        (release.provenance === undefined ||
          release.provenance === 'verified' ||
          release.provenance === 'unavailable'),
    )
  )
}
