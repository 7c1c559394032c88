/**
 * The third way to admit a refused version, beside pinning its publisher and waiving: somebody whom
 * the policy names looks at it and vouches. The command, and the lines where no rule takes vouches yet.
 */
import type { Identity, JudgeInput, Vouch } from '../types.ts'
import { showDuration } from './duration.ts'
import type { LayerJudgement } from './layer.ts'
import type { Policy } from './policy.ts'

export type VouchSuggestion = {
  readonly command: string
  /** YAML items for `rules:`, as in the other suggestion; empty where the rules in force take vouches. */
  readonly lines: string
  readonly advice: string
}

const quoted = (text: string) => JSON.stringify(text)

/** Who stands in lines that nobody has filled in; also who vouches when they are tried. */
const somebody = {
  issuer: 'https://accounts.google.com',
  subject: 'security@acme.example',
  subjectType: 'email',
} as const satisfies Identity

const vouchOf = (): Vouch => ({
  id: 'suggestion',
  signer: { kind: 'certificate', identity: somebody },
  said: { reason: 'tried', at: '1970-01-01T00:00:00.000Z' },
})

/** Names under `identities` that rules of this policy let vouch. */
const vouchersOf = ({ rules, defaults }: Policy): readonly string[] =>
  [...rules, defaults].flatMap(({ outcome }) =>
    outcome.kind === 'require'
      ? outcome.anyOf.flatMap(({ vouch = [] }) => vouch.flatMap(({ name }) => name ?? []))
      : [],
  )

const rule = (
  name: string,
  vouch: string,
  refusing: readonly LayerJudgement[],
  { package: id }: JudgeInput,
): string => {
  const age = refusing.reduce((most, { terms }) => Math.max(most, terms.minimumAge), 0)
  const texts = [...new Set(refusing.flatMap(l => l.terms.where?.text ?? []))]
  const conditions = texts.map(text => (texts.length === 1 ? text : `(${text})`))
  const kept = ['registrySignature', 'publishAttestation', 'provenance', 'manifest']
  return [
    `  - name: ${quoted(name)}`,
    `    packages: [${quoted(`${id.name}@${id.version}`)}]`,
    '    require:',
    ...kept.map(fact => `      ${fact}: if-present`),
    `      vouch: ${vouch}`,
    `    minimumAge: ${age === 0 ? 'off' : showDuration(age)}`,
    ...(conditions.length > 0 ? [`    where: ${quoted(conditions.join(' && '))}`] : []),
    '',
  ].join('\n')
}

/** The policy with that somebody in the place of everyone it lets vouch. */
const lettingSomebody = (policy: Policy): Policy => {
  const { subjectType: _, ...fields } = somebody
  const terms = <T extends Policy['defaults']>(one: T): T =>
    one.outcome.kind === 'require'
      ? {
          ...one,
          outcome: {
            ...one.outcome,
            anyOf: one.outcome.anyOf.map(r => (r.vouch ? { ...r, vouch: [{ fields }] } : r)),
          },
        }
      : one
  return { ...policy, rules: policy.rules.map(terms), defaults: terms(policy.defaults) }
}

const asksVouch = ({ alternatives }: LayerJudgement) =>
  alternatives.some(({ requirement }) => requirement.vouch !== undefined)

export type VouchAsk = {
  readonly refusing: readonly LayerJudgement[]
  readonly input: JudgeInput
  /** A rule's name that is free. */
  readonly name: string
  /** Would these lines admit it, if this were known of it? */
  readonly usable: (lines: string, input: JudgeInput) => boolean
  /** Would it be admitted by these policies, if this were known of it? */
  readonly allowed: (policies: readonly Policy[], input: JudgeInput) => boolean
  readonly policies: readonly Policy[]
}

/** Undefined where a vouch would not help, or would stand in for a key that the policy asks for. */
export const suggestVouch = ({
  refusing,
  input,
  name,
  usable,
  allowed,
  policies,
}: VouchAsk): VouchSuggestion | undefined => {
  const { package: id, evidence } = input
  const command = `attestry vouch ${id.name}@${id.version} --reason "what was looked at" --key vouch.key`
  const vouched: JudgeInput = {
    ...input,
    evidence: { ...evidence, vouches: [{ state: 'verified', ...vouchOf() }] },
  }
  if (refusing.some(asksVouch) && allowed(policies.map(lettingSomebody), vouched))
    return {
      command,
      lines: '',
      advice: 'The policy takes the vouch of those it names: look at the version, then vouch.',
    }
  const bound = refusing.some(({ alternatives }) =>
    alternatives.some(({ requirement }) => requirement.signature !== undefined),
  )
  const { issuer, subject } = somebody
  const inPlace = `{ issuer: ${quoted(issuer)}, subject: ${quoted(subject)} }`
  if (bound || !usable(rule(name, inPlace, refusing, input), vouched)) return undefined
  const [first, ...others] = refusing.map(({ policy }) => policy)
  const known = first
    ? [...new Set(vouchersOf(first))].filter(voucher =>
        others.every(({ identities }) => Object.hasOwn(identities, voucher)),
      )
    : []
  const whom = known.length > 0 ? `[${known.join(', ')}]` : inPlace
  const say = known.length > 0 ? '' : ` Put whom you trust in the place of ${subject}.`
  return {
    command,
    lines: rule(name, whom, refusing, input),
    advice: `These lines admit this one version once somebody whom they name has vouched for its bytes.${say}`,
  }
}
