/**
 * Whether a package's versions are judged alike as long as nobody has looked at them: most packages
 * have many versions that nobody will ever look at, and one verdict then stands for all of them.
 */
import type { Release } from '../types.ts'
import { inForce } from './baseline.ts'
import { coversName, governing } from './match.ts'
import type { PackagePattern, Policy, Rule, Terms } from './policy.ts'
import { hasProvenance } from './releases.ts'

const namesVersion = (pattern: PackagePattern) =>
  pattern.kind === 'exact' && pattern.version !== undefined

/** Which rule governs does not depend on the version. */
const isForAll = (rule: Rule, name: string): boolean => {
  const covering = rule.packages.filter(pattern => coversName(pattern, name))
  return covering.length === 0 || (rule.versions === undefined && !covering.some(namesVersion))
}

/** Nothing is asked but facts: no age, no condition, and of other releases only what cannot be. */
const asksFactsAlone = ({ continuity, minimumAge, where }: Terms, proven: boolean): boolean =>
  minimumAge === 0 && where === undefined && (continuity.level === 'off' || !proven)

/**
 * True when, by these policies, the verdict on a version of which nothing is known rests on nothing
 * but whether it claims signatures and attestations: not on the version, its age, or the others.
 */
export const judgesAlike = (
  policies: readonly Policy[],
  name: string,
  history: readonly Release[],
): boolean => {
  const proven = history.some(hasProvenance)
  return inForce(policies).every(
    policy =>
      policy.rules.every(rule => isForAll(rule, name)) &&
      asksFactsAlone(governing(policy, { name, version: '' }), proven),
  )
}
