/**
 * Identities that let in more than one would think. What is said here is about GitHub, whose
 * certificates say more than others'; other issuers are taken as they are written.
 */
import { identityFields } from './policy.ts'
import type { IdentityDocument } from './schema.ts'

export type IdentityWarning = {
  readonly code: 'wide-identity' | 'wildcard-ref' | 'missing-trigger' | 'risky-trigger'
  /** The field it is about; none when it is about one that is missing. */
  readonly field?: keyof IdentityDocument
  readonly message: string
}

const github = 'https://token.actions.githubusercontent.com'

/** Runs started by what strangers do, with the secrets of the repository at hand. */
const strangers = new Set(['pull_request_target', 'issue_comment', 'workflow_run'])

/** The part of a `subject` or `signer` that names the ref. */
const refPart = (address: string): string => address.slice(address.indexOf('@') + 1)

const refWarnings = (identity: IdentityDocument): IdentityWarning[] =>
  (['ref', 'subject', 'signer'] as const).flatMap((field): IdentityWarning[] => {
    const value = identity[field]
    if (value === undefined || (field !== 'ref' && !value.includes('@'))) return []
    const ref = field === 'ref' ? value : refPart(value)
    if (!ref.includes('*')) return []
    const message = `${field}: whoever may push any ref like ${ref} can sign; name the ref, or write refs/tags/v{version}`
    return [{ code: 'wildcard-ref', field, message }]
  })

const missingWarning = (identity: IdentityDocument): IdentityWarning[] => {
  const { repositoryId, ownerId, workflow, subject, signer, ref, commit } = identity
  const missing = [
    // whoever has the owner's number has its repositories' names too
    repositoryId === undefined && ownerId === undefined
      ? 'no repositoryId (a renamed or deleted repository can be registered by somebody else)'
      : '',
    // the subject of a GitHub certificate is workflow@ref
    workflow === undefined && subject === undefined && signer === undefined
      ? 'no workflow (any workflow of the repository can sign)'
      : '',
    // a commit pins what was built at all
    ref === undefined && commit === undefined && subject?.includes('@') !== true
      ? 'no ref (a build of any branch can sign)'
      : '',
  ].filter(text => text !== '')
  if (missing.length === 0) return []
  return [{ code: 'wide-identity', message: `names ${missing.join(', ')}` }]
}

const triggerWarnings = ({ trigger, commit }: IdentityDocument): IdentityWarning[] => {
  if (trigger === undefined)
    return commit === undefined
      ? [
          {
            code: 'missing-trigger',
            message:
              'names no trigger: a run for pull_request_target counts as well, which strangers can start; write trigger: push',
          },
        ]
      : []
  if (!strangers.has(trigger)) return []
  const message = `trigger: ${trigger} runs can be started by anybody, with the secrets of the repository at hand`
  return [{ code: 'risky-trigger', field: 'trigger', message }]
}

export const identityWarnings = (identity: IdentityDocument): readonly IdentityWarning[] => {
  if (identity.issuer !== github || !identityFields.some(f => identity[f] !== undefined))
    return []
  return [...missingWarning(identity), ...refWarnings(identity), ...triggerWarnings(identity)]
}
