/**
 * Identities that let in more than one would think: what each kind of issuer puts into its
 * certificates, and which of it an identity leaves open. Other issuers are taken as they are written.
 */
import { expandIdentity } from './compile-identity.ts'
import { issuerKind, sshRerun, strangersTriggers, type IssuerKind } from './issuers.ts'
import type { IdentityPattern } from './policy.ts'
import { presetOf } from './preset.ts'
import type { IdentityDocument } from './schema.ts'

export type IdentityWarning = {
  readonly code:
    'wide-identity' | 'wildcard-ref' | 'missing-trigger' | 'risky-trigger' | 'risky-runner'
  /** The field it is about; none when it is about one that is missing. */
  readonly field?: keyof IdentityDocument
  readonly message: string
}

type Pattern = Pick<IdentityPattern, 'fields' | 'oneOf'>

const valuesOf = ({ fields, oneOf }: Pattern, field: keyof Pattern['fields']) =>
  oneOf?.[field] ?? (fields[field] === undefined ? [] : [fields[field]])

/** The part of a `subject` or `signer` that names the ref. */
const refPart = (address: string): string => address.slice(address.indexOf('@') + 1)

const refWarnings = ({ fields }: Pattern): IdentityWarning[] =>
  (['ref', 'subject', 'signer'] as const).flatMap((field): IdentityWarning[] => {
    const value = fields[field]
    if (value === undefined || (field !== 'ref' && !value.includes('@'))) return []
    const ref = field === 'ref' ? value : refPart(value)
    if (!ref.includes('*')) return []
    const message = `${field}: whoever may push any ref like ${ref} can sign; name the ref, or write refs/tags/v{version}`
    return [{ code: 'wildcard-ref', field, message }]
  })

/** What is left open, in words; the subject of a GitHub or GitLab certificate is workflow@ref. */
const missingIn = (kind: IssuerKind, pattern: Pattern): readonly string[] => {
  const { repository, repositoryId, ownerId, workflow, subject, signer, commit } =
    pattern.fields
  const anyRef = valuesOf(pattern, 'ref').length === 0 && commit === undefined
  if (kind === 'circleci')
    return [
      subject === undefined && signer === undefined
        ? 'no subject (any pipeline of the organization can sign)'
        : '',
      repository === undefined ? 'no repository (a build of any fork can sign)' : '',
      anyRef ? 'no ref (a build of any branch can sign)' : '',
    ]
  return [
    // whoever has the owner's number has its repositories' names too
    repositoryId === undefined && ownerId === undefined
      ? 'no repositoryId (a renamed or deleted repository can be registered by somebody else)'
      : '',
    // GitLab has one file, and the ref says what is in it
    kind === 'github' && workflow === undefined && subject === undefined && signer === undefined
      ? 'no workflow (any workflow of the repository can sign)'
      : '',
    // a commit pins what was built at all
    anyRef && subject?.includes('@') !== true ? 'no ref (a build of any branch can sign)' : '',
  ]
}

const wideWarnings = (
  kind: IssuerKind,
  pattern: Pattern,
  identity: IdentityDocument,
): IdentityWarning[] => {
  const preset = presetOf(identity)
  // all else a preset has filled in
  if (preset === 'github' || preset === 'gitlab')
    return pattern.fields.repositoryId !== undefined || pattern.fields.ownerId !== undefined
      ? []
      : [
          {
            code: 'wide-identity',
            field: preset,
            message: `names no number (a renamed or deleted repository can be registered by somebody else); write ${preset}: ${identity[preset]}#NUMBER`,
          },
        ]
  const missing = missingIn(kind, pattern).filter(text => text !== '')
  if (missing.length === 0) return []
  return [{ code: 'wide-identity', message: `names ${missing.join(', ')}` }]
}

const missingTrigger: Readonly<Partial<Record<IssuerKind, string>>> = {
  github:
    'names no trigger: a run for pull_request_target counts as well, which strangers can start; write trigger: push',
  gitlab:
    'names no trigger: a pipeline for a merge request counts as well, which strangers can open; write trigger: push',
}

const triggerWarnings = (kind: IssuerKind, pattern: Pattern): IdentityWarning[] => {
  const triggers = valuesOf(pattern, 'trigger')
  const message = missingTrigger[kind]
  if (triggers.length === 0)
    return pattern.fields.commit === undefined && message !== undefined
      ? [{ code: 'missing-trigger', message }]
      : []
  return triggers
    .filter(trigger => strangersTriggers[kind].has(trigger))
    .map(trigger => ({
      code: 'risky-trigger',
      field: 'trigger',
      message: `trigger: ${trigger} runs act on what anybody may propose, some with the secrets of the repository at hand`,
    }))
}

const runnerWarnings = ({ fields: { runner } }: Pattern): IdentityWarning[] =>
  runner === sshRerun
    ? [
        {
          code: 'risky-runner',
          field: 'runner',
          message: `runner: somebody was logged in on the machine of an ${sshRerun}; it may have built anything`,
        },
      ]
    : []

export const identityWarnings = (identity: IdentityDocument): readonly IdentityWarning[] => {
  const pattern = expandIdentity(identity)
  const kind = issuerKind(pattern.fields.issuer ?? '')
  if (kind === undefined) return []
  return [
    ...wideWarnings(kind, pattern, identity),
    ...refWarnings(pattern),
    ...triggerWarnings(kind, pattern),
    ...runnerWarnings(pattern),
  ]
}
