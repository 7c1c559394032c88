/** What is to be written, before it has words: rules over packages, in the order in which they judge. */
import type { Pin } from './pins.ts'

/**
 * `bare`: single versions without provenance of packages that have it otherwise. `older`: versions
 * from before a package came with provenance. `exact`: single versions of earlier publishers.
 * `built`: packages and who builds them. `signed`: the registry's signature is all there is.
 * `unsigned`: not even that.
 */
export type RuleKind = 'bare' | 'older' | 'exact' | 'built' | 'signed' | 'unsigned'

export type RuleDraft = {
  readonly kind: RuleKind
  /** As the policy writes them: names, `name@1.2.3`, `@scope/*`. Sorted, never empty. */
  readonly packages: readonly string[]
  /** What a pattern in `packages` rests on. */
  readonly note?: string
  /** A semver range. */
  readonly versions?: string
  /** Who may have built them; for `built` and `exact` never empty. */
  readonly pins: readonly Pin[]
  /** All that were seen bear the registry's signature. */
  readonly signed: boolean
}

/** The order in which they must stand for the first match to be the right one. */
export const ruleOrder: readonly RuleKind[] = [
  'bare',
  'exact',
  'older',
  'built',
  'signed',
  'unsigned',
]
