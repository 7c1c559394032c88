/** Which rules can never govern, because the ones before them take all they could match. */
import { subset } from 'semver'
import { coversName, inRange } from './match.ts'
import type { PackagePattern, Policy, Rule } from './policy.ts'

/** Does the wide pattern match every name and version that the narrow one matches? */
export const patternCovers = (wide: PackagePattern, narrow: PackagePattern): boolean => {
  if (wide.kind === 'all') return true
  if (narrow.kind === 'all') return false
  if (wide.kind === 'exact')
    return (
      narrow.kind === 'exact' &&
      wide.name === narrow.name &&
      (wide.version === undefined || wide.version === narrow.version)
    )
  if (narrow.kind === 'exact') return coversName(wide, narrow.name)
  return (
    narrow.head.startsWith(wide.head) &&
    narrow.tail.endsWith(wide.tail) &&
    // the star of the wide one would have to take this over, and no star takes a slash
    !narrow.head.slice(wide.head.length).includes('/')
  )
}

/** Is every version that the narrow side is about in the wide side's range? */
const rangeCovers = (
  wide: string | undefined,
  narrow: string | undefined,
  pattern: PackagePattern,
): boolean => {
  if (wide === undefined) return true
  if (pattern.kind === 'exact' && pattern.version !== undefined)
    return inRange(pattern.version, wide)
  // `*` takes prereleases as well, as ranges do here
  return subset(narrow ?? '*', wide, { includePrerelease: true })
}

export type Shadow = {
  /** Index of the rule, and of the pattern in its `packages`. */
  readonly rule: number
  readonly pattern: number
  /** The earlier rule that takes all of it. */
  readonly by: Rule
}

/** Patterns that can never decide, each with the earlier rule that takes all they match. */
export const shadowedPatterns = ({ rules }: Policy): readonly Shadow[] =>
  rules.flatMap((rule, i) =>
    rule.packages.flatMap((pattern, j): Shadow[] => {
      const by = rules
        .slice(0, i)
        .find(
          earlier =>
            rangeCovers(earlier.versions, rule.versions, pattern) &&
            earlier.packages.some(wide => patternCovers(wide, pattern)),
        )
      return by === undefined ? [] : [{ rule: i, pattern: j, by }]
    }),
  )
