/** What a learned policy must do before anybody gets to see it. */
import { judge } from '../policy/evaluate.ts'
import { governing } from '../policy/match.ts'
import { parsePolicy } from '../policy/parse.ts'
import type { Policy } from '../policy/policy.ts'
import type { JudgeInput } from '../types.ts'
import { idOf } from './observation.ts'

/**
 * One sentence for each version that the policy, together with the other layers, would not admit
 * without a reason against it, or whose publisher it should pin and does not.
 */
export const objections = (
  text: string,
  options: {
    readonly file: string
    /** The layers with the policy in its place among them. */
    readonly among: (policy: Policy) => readonly Policy[]
    readonly learned: readonly JudgeInput[]
    /** Those whose publisher a learned rule has to name, by `name@version`. */
    readonly pinned: ReadonlySet<string>
    readonly now: Date
  },
): readonly string[] => {
  const policy = parsePolicy(text, { file: options.file })
  const layers = options.among(policy)
  return options.learned.flatMap(input => {
    const id = idOf(input.package)
    const { decision, reasons } = judge(layers, input, options.now)
    if (decision !== 'allow' || reasons.length > 0)
      return [`${id} would not be admitted: ${reasons.map(r => r.message).join('; ')}`]
    const { outcome } = governing(policy, input.package)
    const names =
      outcome.kind === 'require' && outcome.anyOf.every(r => r.provenance.want === 'identity')
    return options.pinned.has(id) && !names
      ? [`the publisher of ${id} would not be pinned`]
      : []
  })
}
