/**
 * Whether a package's versions are judged alike as long as nobody has looked at them: most packages
 * have many versions that nobody will ever look at, and one verdict then stands for all of them.
 */
import type { Release, VersionClaims } from '../types.ts'
import { inForce } from './baseline.ts'
import { coversName, governing } from './match.ts'
import type { PackagePattern, Policy, Rule, Terms } from './policy.ts'
import { hasProvenance, provenReleases } from './releases.ts'

const namesVersion = (pattern: PackagePattern) =>
  pattern.kind === 'exact' && pattern.version !== undefined

/** Which rule governs does not depend on the version. */
const isForAll = (rule: Rule, name: string): boolean => {
  const covering = rule.packages.filter(pattern => coversName(pattern, name))
  return covering.length === 0 || (rule.versions === undefined && !covering.some(namesVersion))
}

/** Nothing is asked but facts: no age, and no condition. */
const asksFactsAlone = ({ minimumAge, where }: Terms): boolean =>
  minimumAge === 0 && where === undefined

type Claims = Pick<VersionClaims, 'version' | 'attestations' | 'publishedAt'>

/**
 * True of a version on which, by these policies and as long as nothing is known of it, the verdict
 * rests on nothing but whether it claims signatures and attestations: not on the version, its age, or
 * the other releases. Of these continuity asks where one is compared with it that has provenance and
 * it has none itself; what is claimed and not yet looked at is not held against them.
 */
export const judgedAlike = (
  policies: readonly Policy[],
  name: string,
  history: readonly Release[],
): ((claims: Claims) => boolean) => {
  const layers = inForce(policies)
  const terms = layers.map(policy => governing(policy, { name, version: '' }))
  const plain = layers.every(({ rules }) => rules.every(rule => isForAll(rule, name)))
  if (!plain || !terms.every(asksFactsAlone)) return () => false
  const levels = new Set(terms.map(({ continuity }) => continuity.level))
  if (!history.some(hasProvenance)) return () => true
  return ({ version, attestations, publishedAt }) =>
    attestations !== undefined ||
    [...levels].every(
      level => provenReleases(level, version, history, publishedAt).length === 0,
    )
}
