/**
 * Dist-tags after versions were hidden. A tag that names a hidden version breaks yarn 1 and deno,
 * so `latest` moves to the highest shown release that is not above the original one (never to the
 * newest by time, which may be a back-port), and any other tag goes.
 */
import lte from 'semver/functions/lte.js'
import prerelease from 'semver/functions/prerelease.js'
import rcompare from 'semver/functions/rcompare.js'
import validVersion from 'semver/functions/valid.js'

export type DistTags = Readonly<Record<string, string>>

const highest = (versions: readonly string[]): string | undefined =>
  versions.toSorted((a, b) => rcompare(a, b, true))[0]

export const repointDistTags = (tags: DistTags, shown: ReadonlySet<string>): DistTags => {
  const kept = Object.entries(tags).filter(([, version]) => shown.has(version))
  const latest = tags['latest']
  if (latest === undefined || shown.has(latest)) return Object.fromEntries(kept)
  const valid = [...shown].filter(version => validVersion(version, true))
  const releases = valid.filter(version => prerelease(version, true) === null)
  const notAbove = validVersion(latest, true)
    ? releases.filter(version => lte(version, latest, true))
    : releases
  const next = highest(notAbove) ?? highest(releases) ?? highest(valid)
  return Object.fromEntries(next === undefined ? kept : [...kept, ['latest', next]])
}
