/**
 * The lines that would admit a refused version, to be put first under `rules:` of every policy that
 * refuses it: a rule that pins the signer who was found; for what is only too new, one that asks this
 * version for everything but its age; else a waiver for this version alone.
 * Nothing is ever offered for bytes that do not match, for evidence that was forged, for what is
 * denied on purpose, or for what nobody has checked yet. What is offered was tried first.
 */
import type { Evidence, Identity, JudgeInput } from '../types.ts'
import { builtInRequirement, inForce } from './baseline.ts'
import { showDuration } from './duration.ts'
import { judgeLayers } from './evaluate.ts'
import type { LayerJudgement } from './layer.ts'
import { parsePolicy } from './parse.ts'
import { pinnedFields } from './pin.ts'
import type { Continuity, Policy, Presence, Requirement } from './policy.ts'
import { isDefinite } from './reason.ts'
import { shortened } from './shorten.ts'
import { suggestVouch, type VouchSuggestion } from './suggest-vouch.ts'

export type Suggestion = {
  /** YAML items for `rules:`, indented by two; empty when nothing may be offered. */
  readonly lines: string
  /** The policy files that need them, by name. */
  readonly addTo: readonly string[]
  /** One sentence: what the lines do, or why there are none. */
  readonly advice: string
  /** Another way, where one is open. */
  readonly vouch?: VouchSuggestion
}

const WAIVER_DAYS = 30

const quoted = (text: string) => JSON.stringify(text)

const strongest = (all: readonly Presence[]): Presence =>
  all.includes('required') ? 'required' : all.includes('if-present') ? 'if-present' : 'ignore'

const continuityText = ({ level, settledAfter }: Continuity): string =>
  level === 'off'
    ? level
    : `{ level: ${level}, settledAfter: ${settledAfter === 'never' ? settledAfter : showDuration(settledAfter)} }`

/** Every fact there is, by name. */
const factsOf = (evidence: Evidence) => {
  const { bytes, registrySignature, publishAttestation, provenance, manifest } = evidence
  // a vouch is nobody's claim about what it is for: one that is forged says nothing of the package
  return [bytes, registrySignature, publishAttestation, provenance, manifest]
}

/** What the layer asked for; where its rule asks for nothing, what its defaults do. */
const askedBy = ({ nearest, policy: { defaults } }: LayerJudgement): Requirement =>
  nearest?.requirement ??
  (defaults.outcome.kind === 'require' ? defaults.outcome.anyOf[0] : undefined) ??
  builtInRequirement

type Wanted = {
  readonly name: string
  readonly packages: string
  readonly versions?: string
  /** Lines below `require:`. */
  readonly provenance: readonly string[]
  readonly minimumAge: number
  readonly continuity?: Continuity
}

/** Keeps what the governing rules ask for besides: the new rule must not weaken them. */
const ruleLines = (wanted: Wanted, refusing: readonly LayerJudgement[]): string => {
  const { name, packages, versions, provenance, minimumAge, continuity } = wanted
  const asked = refusing.map(askedBy)
  const manifests = asked.map(r => r.manifest)
  const texts = new Set(refusing.flatMap(l => l.terms.where?.text ?? []))
  const conditions = [...texts].map(text => (texts.size === 1 ? text : `(${text})`))
  const enforced = refusing.some(
    ({ policy, terms }) => policy.mode === 'observe' && terms.mode === 'enforce',
  )
  return [
    `  - name: ${quoted(name)}`,
    `    packages: [${quoted(packages)}]`,
    ...(versions === undefined ? [] : [`    versions: ${quoted(versions)}`]),
    ...(enforced ? ['    mode: enforce'] : []),
    '    require:',
    `      registrySignature: ${strongest(asked.map(r => r.registrySignature))}`,
    `      publishAttestation: ${strongest(asked.map(r => r.publishAttestation))}`,
    `      manifest: ${manifests.includes('if-present') ? 'if-present' : 'ignore'}`,
    ...provenance,
    ...(continuity ? [`    continuity: ${continuityText(continuity)}`] : []),
    `    minimumAge: ${minimumAge === 0 ? 'off' : showDuration(minimumAge)}`,
    ...(conditions.length > 0 ? [`    where: ${quoted(conditions.join(' && '))}`] : []),
    '',
  ].join('\n')
}

const pinned = (identity: Identity, version: string): readonly string[] => [
  '      provenance:',
  ...Object.entries(shortened(pinnedFields(identity, version))).map(
    ([key, value]) => `        ${key}: ${JSON.stringify(value)}`,
  ),
]

const identityRule = (
  name: string,
  identity: Identity,
  refusing: readonly LayerJudgement[],
  { package: id }: JudgeInput,
): string =>
  ruleLines(
    {
      name,
      packages: id.name,
      versions: `>=${id.version}`,
      provenance: pinned(identity, id.version),
      minimumAge: Math.max(0, ...refusing.map(l => l.terms.minimumAge)),
    },
    refusing,
  )

/**
 * For what is only too new, as a fix that cannot wait is: everything but the age is asked for as
 * before, the manifest in the tarball too, that a waiver would let be. Undefined where the age is
 * not all there is, or the layers do not ask for the same.
 */
const agelessRule = (
  name: string,
  refusing: readonly LayerJudgement[],
  { package: { name: pkg, version }, evidence: { provenance } }: JudgeInput,
): string | undefined => {
  const codes = new Set(refusing.flatMap(l => l.verdict.reasons.map(r => r.code)))
  const levels = new Set(refusing.map(l => continuityText(l.terms.continuity)))
  const [first] = refusing
  if (codes.size > 1 || !codes.has('TOO_NEW') || levels.size > 1 || !first) return undefined
  const demands = refusing.map(layer => askedBy(layer).provenance.want)
  const presences = demands.flatMap(want => (want === 'identity' ? [] : [want]))
  const byName = presences.length < demands.length
  if (byName && provenance.state !== 'verified') return undefined
  return ruleLines(
    {
      name,
      packages: `${pkg}@${version}`,
      provenance:
        byName && provenance.state === 'verified'
          ? pinned(provenance.identity, version)
          : [`      provenance: ${strongest(presences)}`],
      minimumAge: 0,
      continuity: first.terms.continuity,
    },
    refusing,
  )
}

const waiverRule = (name: string, why: string, until: string, { package: id }: JudgeInput) =>
  [
    `  - name: ${quoted(name)}`,
    `    packages: [${quoted(`${id.name}@${id.version}`)}]`,
    '    allow:',
    `      reason: ${quoted(`${why}; say here why that is fine`)}`,
    `      until: ${until}`,
    '',
  ].join('\n')

const freeName = (wanted: string, policies: readonly Policy[]): string => {
  const taken = new Set(policies.flatMap(p => p.rules.map(rule => rule.name)))
  let name = wanted
  for (let n = 2; taken.has(name); n++) name = `${wanted} (${n})`
  return name
}

const allows = (policies: readonly Policy[], input: JudgeInput, now: Date): boolean => {
  const { verdict } = judgeLayers(policies, input, now)
  return verdict.decision === 'allow' && verdict.reasons.length === 0
}

/** Do the lines read, and does adding them to the refusing layers leave nothing against the version? */
const admits = (
  lines: string,
  policies: readonly Policy[],
  refusing: readonly LayerJudgement[],
  input: JudgeInput,
  now: Date,
): boolean => {
  const amended = inForce(policies).map(policy => {
    if (!refusing.some(layer => layer.policy === policy)) return policy
    const mode = policy.mode
    const text = `version: 1\nmode: ${mode}\nrules:\n${lines}`
    const { rules } = parsePolicy(text, { file: 'suggestion' })
    return { ...policy, rules: [...rules, ...policy.rules] }
  })
  return allows(amended, input, now)
}

const nothing = (advice: string): Suggestion => ({ lines: '', addTo: [], advice })

/** Why nothing may be offered, if so. */
const forbidden = (refusing: readonly LayerJudgement[], { evidence }: JudgeInput) => {
  const codes = new Set(refusing.flatMap(l => l.verdict.reasons.map(r => r.code)))
  if (codes.has('INTEGRITY_MISMATCH') || evidence.bytes?.state === 'invalid')
    return 'These bytes are not what was published or signed, and no policy can admit them.'
  if (factsOf(evidence).some(fact => fact?.state === 'invalid'))
    return 'Its evidence does not verify, so it may be forged: nothing is offered to admit it.'
  if (codes.has('OUT_OF_NAMESPACE'))
    return 'The name is reserved for another upstream; see which upstream it should come from.'
  const denying = refusing.find(
    ({ terms, policy }) => terms.outcome.kind === 'deny' && terms !== policy.defaults,
  )
  if (denying) {
    const line = denying.terms.line === undefined ? '' : ` in line ${denying.terms.line}`
    return `Rule ${JSON.stringify(denying.terms.name)}${line} of ${denying.policy.name} denies it on purpose; change that rule if it is wrong.`
  }
  if (factsOf(evidence).some(fact => fact?.state === 'unavailable'))
    return 'Its evidence has not been checked; look again once it could be, before admitting it.'
  return undefined
}

export const suggest = (
  policies: readonly Policy[],
  input: JudgeInput,
  now: Date,
): Suggestion => {
  const { verdict, layers } = judgeLayers(policies, input, now)
  if (verdict.reasons.length === 0) return nothing('It is allowed; nothing needs adding.')
  if (!verdict.reasons.some(isDefinite))
    return nothing('Nothing speaks against it, but it could not be checked; look again later.')
  const refusing = layers.filter(layer => layer.verdict.reasons.length > 0)
  const advice = forbidden(refusing, input)
  if (advice !== undefined) return nothing(advice)

  const { name, version } = input.package
  const addTo = refusing.map(layer => layer.policy.name)
  const touched = refusing.map(layer => layer.policy)
  const provenance = input.evidence.provenance
  const usable = (lines: string, known: JudgeInput = input) => {
    try {
      return admits(lines, policies, refusing, known, now)
    } catch {
      // a name or version that the language has no way to write
      return false
    }
  }
  const vouchName = freeName(`${name}@${version} is vouched for`, touched)
  const vouch = suggestVouch({
    refusing,
    input,
    name: vouchName,
    usable,
    policies: inForce(policies),
    allowed: (amended, known) => allows(amended, known, now),
  })
  const other = vouch ? { vouch } : {}
  // a rule that pins the publisher would let go what these ask for besides
  const asksMore = refusing.map(askedBy).some(asked => asked.vouch ?? asked.signature)
  if (provenance.state === 'verified' && !asksMore) {
    const ruleName = freeName(`${name} is published from where ${version} was`, touched)
    const lines = identityRule(ruleName, provenance.identity, refusing, input)
    if (usable(lines))
      return {
        ...other,
        lines,
        addTo,
        advice:
          'These lines pin the publisher that was found, from this version on; add them only if that is the right one.',
      }
  }
  const earlyName = freeName(`${name}@${version} need not wait`, touched)
  const early = asksMore ? undefined : agelessRule(earlyName, refusing, input)
  if (early !== undefined && usable(early))
    return {
      ...other,
      lines: early,
      addTo,
      advice:
        'These lines let this one version in before its time; everything else is asked of it as before.',
    }
  const day = new Date(now.getTime() + WAIVER_DAYS * 86_400_000)
  if (Number.isNaN(day.getTime())) return nothing('The time is not known.')
  const until = day.toISOString().slice(0, 10)
  const codes = [...new Set(verdict.reasons.map(r => r.code))].join(', ')
  const waiverName = freeName(`waiver for ${name}@${version} until ${until}`, touched)
  const lines = waiverRule(waiverName, codes, until, input)
  if (usable(lines))
    return {
      ...other,
      lines,
      addTo,
      advice: `These lines admit this one version, unproven as it is, for ${WAIVER_DAYS} days.`,
    }
  return nothing('No rule can be written for this name and version.')
}
