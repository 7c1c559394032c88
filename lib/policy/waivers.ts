/** Waivers that are over, or soon will be: somebody has to renew or remove them. */
import { instant } from './duration.ts'
import type { Policy, Rule, Waiver } from './policy.ts'

/** Two weeks: time enough to look at a package again. */
export const waiverNotice = 14 * 86_400_000

export type EndingWaiver = {
  /** The policy's name, its file where it has one, and the rule with its line. */
  readonly policy: string
  readonly file?: string
  readonly rule: string
  readonly line?: number
  readonly packages: readonly string[]
  readonly waiver: Waiver & { readonly until: string }
  /** True once it is over: the rule refuses from then on. */
  readonly ended: boolean
  /** Milliseconds until the end; negative once it is over. */
  readonly left: number
}

const endOf = (rule: Rule): (Waiver & { readonly until: string }) | undefined => {
  if (rule.outcome.kind !== 'allow') return undefined
  const { until, ...waiver } = rule.outcome.waiver
  return until === undefined ? undefined : { ...waiver, until }
}

/** Those over, and those that end within `notice` milliseconds, the first to end first. */
export const endingWaivers = (
  policies: readonly Policy[],
  now: Date,
  notice = waiverNotice,
): readonly EndingWaiver[] =>
  policies
    .flatMap(({ name, file, rules }) =>
      rules.flatMap((rule): EndingWaiver[] => {
        const waiver = endOf(rule)
        const end = instant(waiver?.until)
        if (waiver === undefined || end === undefined) return []
        const left = end - now.getTime()
        if (left > notice) return []
        return [
          {
            policy: name,
            ...(file !== undefined && { file }),
            rule: rule.name,
            ...(rule.line !== undefined && { line: rule.line }),
            packages: rule.packages.map(({ text }) => text),
            waiver,
            ended: left <= 0,
            left,
          },
        ]
      }),
    )
    .sort((a, b) => a.left - b.left)
