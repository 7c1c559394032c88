/** Facts and the identity behind them, as branches of a tree. */
import type { EvidenceSummary } from '../../policy/explain.ts'
import { counted, type Style } from '../audit/paint.ts'
import { bold, dim, markOfState, markSpan } from './look.ts'
import { branch, type Branch, type Look, type Span } from './tree.ts'

const NAMES: Readonly<Record<string, string>> = {
  registrySignature: 'registry signature',
  publishAttestation: 'publish attestation',
  minimumAge: 'minimum age',
}

export const factName = (fact: string): string => NAMES[fact] ?? fact

/** Green is for marks: as a word it is too pale on white ground. */
const STYLES: Readonly<Record<string, Style>> = {
  invalid: 'red',
  unavailable: 'magenta',
}

/** What tells who it was and from where; the other fields are digests and numbers of the run. */
const TOLD = [
  'issuer',
  'subject',
  'repository',
  'repositoryId',
  'owner',
  'workflow',
  'ref',
  'commit',
  'trigger',
  'runner',
  'environment',
  'run',
]

const identityBranches = (identity: Readonly<Record<string, string>>): readonly Branch[] => {
  const { signer, subject } = identity
  // a reusable workflow of another repository
  const told = signer === undefined || signer === subject ? TOLD : [...TOLD, 'signer']
  const shown = told.flatMap(field => {
    const value = identity[field]
    return value === undefined ? [] : [branch([dim(`${field}:`), value])]
  })
  const more = Object.keys(identity).length - shown.length
  return more > 0
    ? [...shown, branch(dim(`${counted(more, 'more field')} with --json`))]
    : shown
}

const stateSpan = (state: string, more: boolean): Span => {
  const text = more ? `${state},` : state
  const style = STYLES[state]
  return style === undefined ? text : { text, style }
}

export const evidenceBranch = (evidence: EvidenceSummary, look: Look): Branch => {
  const { facts, identity, integrity } = evidence
  const told = facts.map(({ fact, state, detail }) =>
    branch(
      [
        markSpan(markOfState(state), look),
        `${factName(fact)}:`,
        stateSpan(state, detail !== undefined),
        ...(detail === undefined ? [] : [dim(detail)]),
      ],
      fact === 'provenance' && identity ? identityBranches(identity) : [],
    ),
  )
  return branch(bold('Evidence'), [
    ...told,
    branch([
      dim('for the bytes'),
      integrity,
      dim(`by trust material ${evidence.trust.slice(0, 12)}`),
    ]),
  ])
}
