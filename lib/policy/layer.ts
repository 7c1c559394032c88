/** What one layer, one policy file, says about one version. */
import type { AgeClock, JudgeInput, Reason, RuleVerdict } from '../types.ts'
import { ageReasons, clockFor, clockWords } from './age.ts'
import { conditionFinding } from './condition.ts'
import { continuityFinding, continuityWords } from './continuity.ts'
import { instant, showDuration } from './duration.ts'
import { governing } from './match.ts'
import { namespaceReasons } from './namespace.ts'
import type { Continuity, Policy, Requirement, Terms } from './policy.ts'
import { isDefinite, merged, reason } from './reason.ts'
import { byteReasons, requirementChecks, type Check } from './requirement.ts'

/** One of the alternatives of `require`, judged. */
export type Alternative = {
  readonly requirement: Requirement
  readonly checks: readonly Check[]
  readonly reasons: readonly Reason[]
  /** When a loss of provenance will count as settled, and when the condition speaks of another time. */
  readonly changes: readonly number[]
}

export type LayerJudgement = {
  readonly policy: Policy
  readonly terms: Terms
  readonly verdict: RuleVerdict
  /** Empty for waivers and denials. */
  readonly alternatives: readonly Alternative[]
  /** The alternative that holds or comes nearest. */
  readonly nearest?: Alternative
  readonly ageCheck?: Check
  /** Future instants at which time alone changes what this layer says. */
  readonly changes: readonly number[]
}

const continuityCheck = (
  continuity: Continuity,
  requirement: Requirement,
  input: JudgeInput,
  now: Date,
) => {
  const { reasons, against, settled, settlesAt } = continuityFinding(
    continuity,
    requirement,
    input,
    now,
  )
  const compared =
    against === undefined ? 'nothing to compare with' : `compared with ${against}`
  const check: Check = {
    what: 'continuity',
    wanted: continuityWords(continuity),
    found: settled ? `${compared}; the loss is settled` : compared,
    reasons,
  }
  return { check, settlesAt }
}

const alternative = (
  requirement: Requirement,
  terms: Terms,
  input: JudgeInput,
  now: Date,
): Alternative => {
  const { check, settlesAt } = continuityCheck(terms.continuity, requirement, input, now)
  const condition = terms.where && conditionFinding(terms.where, input, now)
  const checks = [
    ...requirementChecks(requirement, input.evidence, input.package.version, now),
    check,
    ...(condition ? [condition.check] : []),
  ]
  const reasons = checks.flatMap(c => c.reasons)
  const changes = [
    ...(settlesAt === undefined ? [] : [settlesAt]),
    ...(condition?.changes ?? []),
    ...checks.flatMap(({ ends }) => ends ?? []),
  ]
  return { requirement, checks, reasons, changes }
}

/** What is merely unchecked is nearer than what certainly fails; then fewer checks, then fewer reasons. */
const distance = ({ checks, reasons }: Alternative): readonly number[] => [
  checks.filter(c => c.reasons.some(isDefinite)).length,
  reasons.filter(isDefinite).length,
  reasons.length,
]

const closer = (a: Alternative, b: Alternative): Alternative => {
  const [x, y] = [distance(a), distance(b)]
  const at = x.findIndex((value, i) => value !== y[i])
  return at !== -1 && (x[at] ?? 0) < (y[at] ?? 0) ? a : b
}

/** What a rule says by itself, before what holds whatever rule governs. */
type Said = Pick<LayerJudgement, 'alternatives' | 'nearest' | 'ageCheck' | 'changes'> & {
  readonly reasons: readonly Reason[]
  readonly waiver?: RuleVerdict['waiver']
  readonly clock?: AgeClock
}

const requireSays = (
  anyOf: readonly Requirement[],
  terms: Terms,
  input: JudgeInput,
  now: Date,
): Said => {
  const alternatives = anyOf.map(r => alternative(r, terms, input, now))
  const nearest = alternatives.reduce<Alternative | undefined>(
    (best, next) => (best === undefined ? next : closer(next, best)),
    undefined,
  )
  const against = nearest?.reasons ?? [
    reason('DENIED', 'the rule has no alternative that could hold'),
  ]
  const changes = alternatives.flatMap(a => a.changes)
  const said = { alternatives, ...(nearest && { nearest }), reasons: against, changes }
  if (terms.minimumAge === 0) return said
  const clock = clockFor(input)
  const age = ageReasons(terms.minimumAge, clock, now)
  const ageCheck: Check = {
    what: 'minimumAge',
    wanted: showDuration(terms.minimumAge),
    found: clock === undefined ? 'no clock knows it' : `public since ${clockWords(clock)}`,
    reasons: age.reasons,
  }
  return {
    ...said,
    reasons: [...against, ...age.reasons],
    changes: [...(age.ripeAt === undefined ? [] : [age.ripeAt]), ...changes],
    ageCheck,
    ...(clock && { clock }),
  }
}

const ruleSays = (terms: Terms, input: JudgeInput, now: Date): Said => {
  const { outcome } = terms
  const nothing = { alternatives: [], changes: [] }
  if (outcome.kind === 'require') return requireSays(outcome.anyOf, terms, input, now)
  if (outcome.kind === 'deny')
    return { ...nothing, reasons: [reason('DENIED', outcome.reason)] }
  const { waiver } = outcome
  if (waiver.until === undefined) return { ...nothing, reasons: [], waiver }
  const end = instant(waiver.until)
  if (end !== undefined && now.getTime() < end)
    return { ...nothing, reasons: [], waiver, changes: [end] }
  const message = `the waiver ended at ${waiver.until}: ${waiver.reason}`
  return { ...nothing, reasons: [reason('WAIVER_EXPIRED', message)] }
}

export const judgeLayer = (policy: Policy, input: JudgeInput, now: Date): LayerJudgement => {
  const terms = governing(policy, input.package)
  const said = ruleSays(terms, input, now)
  const reasons = merged([
    ...byteReasons(input.evidence),
    ...namespaceReasons(policy, input),
    ...said.reasons,
  ])
  const { alternatives, nearest, ageCheck, waiver, clock } = said
  return {
    policy,
    terms,
    alternatives,
    ...(nearest && { nearest }),
    ...(ageCheck && { ageCheck }),
    changes: said.changes,
    verdict: {
      policy: policy.name,
      rule: terms.name,
      ...(terms.line !== undefined && { line: terms.line }),
      mode: terms.mode,
      reasons,
      ...(waiver && { waiver }),
      ...(clock && { clock }),
    },
  }
}
