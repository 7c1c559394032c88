/**
 * Why a version is let in or not, for people and for JSON: every rule tried, what each requirement
 * wanted and found, who came nearest, and the lines that would admit it where that may be offered.
 */
import type {
  AgeClock,
  Evidence,
  Fact,
  JudgeInput,
  ManifestAgreement,
  Provenance,
  PublishAttestation,
  RegistrySignature,
  Verdict,
  Vouch,
} from '../types.ts'
import { clockFor } from './age.ts'
import { judgeLayers } from './evaluate.ts'
import type { FieldComparison, IdentityTrial } from './identity.ts'
import type { Alternative, LayerJudgement } from './layer.ts'
import { coversVersion, inRange, patternMatches } from './match.ts'
import type { Outcome, Policy, Rule } from './policy.ts'
import type { Check } from './requirement.ts'
import { suggest, type Suggestion } from './suggest.ts'
import { voucherName } from './vouch.ts'

export type RuleTrial = {
  readonly rule: string
  readonly line?: number
  readonly matched: boolean
  /** One sentence. */
  readonly why: string
}

export type IdentityExplanation = {
  /** The name under `identities`; none when it is written in the rule. */
  readonly name?: string
  readonly line?: number
  readonly matched: boolean
  readonly fields: readonly FieldComparison[]
}

export type CheckExplanation = Omit<Check, 'identities' | 'nearest'> & {
  readonly ok: boolean
  readonly identities?: readonly IdentityExplanation[]
}

export type AlternativeExplanation = {
  /** The one that holds, or comes nearest to. */
  readonly counts: boolean
  readonly ok: boolean
  readonly checks: readonly CheckExplanation[]
}

export type LayerExplanation = {
  readonly policy: string
  readonly file?: string
  /** The rules in the order tried, up to the one that governs. */
  readonly tried: readonly RuleTrial[]
  readonly governing: {
    readonly rule: string
    readonly line?: number
    readonly outcome: Outcome['kind']
  }
  /** One for each alternative of `require`; none for waivers and denials. */
  readonly alternatives: readonly AlternativeExplanation[]
  /** Where the minimum age was judged. */
  readonly age?: CheckExplanation
  /** The identity that agrees in most fields, when none matched. */
  readonly nearestMiss?: IdentityExplanation
} & Pick<Verdict['layers'][number], 'mode' | 'reasons' | 'waiver'>

export type EvidenceSummary = {
  readonly integrity: string
  readonly facts: readonly {
    readonly fact: string
    readonly state: Fact['state'] | 'not looked at yet'
    readonly detail?: string
  }[]
  /** Who signed the provenance, where it verified. */
  readonly identity?: Readonly<Record<string, string>>
  readonly trust: string
}

export type Explanation = Suggestion & {
  readonly package: Verdict['package']
  readonly upstream: string
  readonly decision: Verdict['decision']
  readonly reasons: Verdict['reasons']
  readonly policyDigest: string
  readonly changesAt?: string
  readonly layers: readonly LayerExplanation[]
  readonly evidence: EvidenceSummary
  /** Since when it has been public, whether or not a minimum age asks. */
  readonly clock?: AgeClock
}

const lineOf = (line: number | undefined) => (line === undefined ? {} : { line })

const tryRule = (rule: Rule, { package: id }: JudgeInput): RuleTrial => {
  const said = { rule: rule.name, ...lineOf(rule.line) }
  const pattern = rule.packages.find(p => patternMatches(p, id))
  if (pattern === undefined) {
    const listed = rule.packages.map(p => p.text)
    const some =
      listed.length > 5 ? [...listed.slice(0, 5), `${listed.length - 5} more`] : listed
    const why = `${id.name}@${id.version} is none of ${some.join(', ')}`
    return { ...said, matched: false, why }
  }
  const { versions } = rule
  if (versions === undefined)
    return { ...said, matched: true, why: `the name matches ${pattern.text}` }
  const matched = coversVersion(rule, id.version)
  const lies = inRange(id.version, versions)
    ? `and lies in ${versions}`
    : matched
      ? 'and has no version that could lie in a range'
      : `but does not lie in ${versions}`
  return { ...said, matched, why: `matches ${pattern.text} ${lies}` }
}

const triedRules = (policy: Policy, input: JudgeInput): readonly RuleTrial[] => {
  const trials: RuleTrial[] = []
  for (const rule of policy.rules) {
    const trial = tryRule(rule, input)
    trials.push(trial)
    if (trial.matched) return trials
  }
  const why = 'no rule matched, so the defaults govern'
  return [...trials, { rule: 'defaults', ...lineOf(policy.defaults.line), matched: true, why }]
}

const identityExplanation = ({
  pattern,
  matched,
  fields,
}: IdentityTrial): IdentityExplanation => ({
  ...(pattern.name !== undefined && { name: pattern.name }),
  ...lineOf(pattern.line),
  matched,
  fields,
})

const checkExplanation = ({ what, wanted, found, reasons, identities }: Check) => ({
  what,
  wanted,
  found,
  ok: reasons.length === 0,
  reasons,
  ...(identities && { identities: identities.map(identityExplanation) }),
})

/** The nearest miss is that of the alternative that counts, else of the first that has one. */
const nearestMiss = (nearest: Alternative | undefined, all: readonly Alternative[]) =>
  [...(nearest ? [nearest] : []), ...all]
    .flatMap(a => a.checks)
    .find(check => check.reasons.length > 0 && check.nearest !== undefined)?.nearest

const layerExplanation = (layer: LayerJudgement, input: JudgeInput): LayerExplanation => {
  const { policy, terms, verdict, alternatives, nearest, ageCheck } = layer
  const miss = nearestMiss(nearest, alternatives)
  return {
    policy: policy.name,
    ...(policy.file !== undefined && { file: policy.file }),
    mode: verdict.mode,
    tried: triedRules(policy, input),
    governing: { rule: terms.name, ...lineOf(terms.line), outcome: terms.outcome.kind },
    alternatives: alternatives.map(a => ({
      counts: a === nearest,
      ok: a.reasons.length === 0,
      checks: a.checks.map(checkExplanation),
    })),
    ...(ageCheck && { age: checkExplanation(ageCheck) }),
    ...(miss && { nearestMiss: identityExplanation(miss) }),
    reasons: verdict.reasons,
    ...(verdict.waiver && { waiver: verdict.waiver }),
  }
}

/** Parts that one verified fact or another has. */
type Known = Partial<
  RegistrySignature & PublishAttestation & Provenance & ManifestAgreement & { size: number }
>

const knownDetail = ({ keyId, builderId, signedAt, compared, size }: Known) => {
  const parts = [
    ...(keyId === undefined ? [] : [`by key ${keyId}`]),
    ...(builderId === undefined ? [] : [`built by ${builderId}`]),
    ...(signedAt ? [`signed ${signedAt.time} by the word of a ${signedAt.source}`] : []),
    ...(compared ? [`agrees in ${compared.join(', ')}`] : []),
    ...(size === undefined ? [] : [`${size} bytes`]),
  ]
  return parts.length === 0 ? undefined : parts.join(', ')
}

const vouchDetail = (fact: Fact<Vouch>): string | undefined => {
  if (fact.state !== 'verified') return fact.detail
  const { said, signedAt, revoked } = fact
  return [
    `by ${voucherName(fact)}: ${said.reason}`,
    ...(signedAt ? [`signed ${signedAt.time} by the word of a ${signedAt.source}`] : []),
    ...(said.until === undefined ? [] : [`until ${said.until}`]),
    ...(revoked ? [`revoked ${revoked.at}: ${revoked.reason}`] : []),
  ].join(', ')
}

export const evidenceSummary = (evidence: Evidence): EvidenceSummary => {
  const { registrySignature, publishAttestation, provenance, manifest, bytes } = evidence
  const facts = { registrySignature, publishAttestation, provenance, manifest, bytes }
  const vouches = (evidence.vouches ?? []).map(fact => {
    const detail = vouchDetail(fact)
    return { fact: 'vouch', state: fact.state, ...(detail !== undefined && { detail }) }
  })
  const told = Object.entries(facts).map<EvidenceSummary['facts'][number]>(
    ([name, fact]: [string, Fact<Known> | undefined]) => {
      if (fact === undefined) return { fact: name, state: 'not looked at yet' }
      const { state } = fact
      const detail = state === 'verified' ? knownDetail(fact) : fact.detail
      return { fact: name, state, ...(detail !== undefined && { detail }) }
    },
  )
  return {
    integrity: evidence.integrity,
    facts: [...told, ...vouches],
    ...(provenance.state === 'verified' && { identity: { ...provenance.identity } }),
    trust: evidence.trust,
  }
}

export const explain = (
  policies: readonly Policy[],
  input: JudgeInput,
  now: Date,
): Explanation => {
  const { verdict, layers } = judgeLayers(policies, input, now)
  const clock = clockFor(input)
  return {
    package: verdict.package,
    upstream: input.upstream,
    decision: verdict.decision,
    reasons: verdict.reasons,
    policyDigest: verdict.policyDigest,
    ...(verdict.changesAt !== undefined && { changesAt: verdict.changesAt }),
    layers: layers.map(layer => layerExplanation(layer, input)),
    evidence: evidenceSummary(input.evidence),
    ...(clock && { clock }),
    ...suggest(policies, input, now),
  }
}
