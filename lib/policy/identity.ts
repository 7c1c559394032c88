/**
 * Who may sign: comparing a pattern with the identity that a certificate proved. Every field given
 * must match; matching is anchored at both ends.
 */
import type { Identity, Reason } from '../types.ts'
import { globMatches, isGlob, withVersion } from './glob.ts'
import { identityFields, type IdentityField, type IdentityPattern } from './policy.ts'
import { reason } from './reason.ts'

export type FieldComparison = {
  readonly field: IdentityField | 'key' | 'signedAt'
  /** With the version in the place of `{version}`; of several values all, in words. */
  readonly wanted: string
  /** Absent when the certificate says nothing about it. */
  readonly found?: string
  readonly ok: boolean
}

/** One identity tried. */
export type IdentityTrial = {
  readonly pattern: IdentityPattern
  readonly matched: boolean
  readonly fields: readonly FieldComparison[]
}

/** Fields in which `*` and `**` have a meaning; all others are compared as they stand. */
export const globFields: ReadonlySet<IdentityField> = new Set([
  'ref',
  'subject',
  'workflow',
  'signer',
  'repository',
])
/** Fields in which `{version}` stands for the version that is judged. */
export const versionFields: ReadonlySet<IdentityField> = new Set(['ref', 'subject', 'signer'])
/** Fields that say whose identity it is; the others only narrow it. */
export const namingFields: readonly IdentityField[] = [
  'subject',
  'repository',
  'repositoryId',
  'owner',
  'ownerId',
]

const fieldMatches = (field: IdentityField, wanted: string, found: string, version: string) => {
  const put = versionFields.has(field) ? version : '{version}'
  if (globFields.has(field) && isGlob(wanted)) {
    const atParts = field === 'subject' || field === 'signer'
    return globMatches(wanted, found, { version: put, atParts })
  }
  return withVersion(wanted, put) === found
}

export const tryIdentity = (
  pattern: IdentityPattern,
  identity: Identity,
  version: string,
): IdentityTrial => {
  const fields = identityFields.flatMap((field): FieldComparison[] => {
    const found = identity[field]
    const { [field]: only } = pattern.fields
    const several = only === undefined ? pattern.oneOf?.[field] : [only]
    const barred = pattern.noneOf?.[field]
    const shown = (value: string) =>
      versionFields.has(field) ? withVersion(value, version) : value
    return [
      ...(several === undefined
        ? []
        : [
            {
              wanted: several.map(shown).join(' or '),
              ok:
                found !== undefined &&
                several.some(value => fieldMatches(field, value, found, version)),
            },
          ]),
      ...(barred === undefined
        ? []
        : [
            {
              wanted: `anything but ${barred.join(' or ')}`,
              ok: found === undefined || !barred.includes(found),
            },
          ]),
    ].map(compared => ({ field, ...compared, ...(found !== undefined && { found }) }))
  })
  // an identity that names nothing, or only a key, is nobody's
  const matched = fields.length > 0 && pattern.key === undefined && fields.every(f => f.ok)
  return { pattern, matched, fields }
}

const misses = (trial: IdentityTrial) => trial.fields.filter(f => !f.ok).length
const hits = (trial: IdentityTrial) => trial.fields.length - misses(trial)

/** The identity that came nearest: fewest fields amiss, then most that agree, then the first. */
export const nearestTrial = (trials: readonly IdentityTrial[]): IdentityTrial | undefined =>
  trials.reduce<IdentityTrial | undefined>((best, trial) => {
    if (best === undefined) return trial
    const closer = misses(trial) - misses(best) || hits(best) - hits(trial)
    return closer < 0 ? trial : best
  }, undefined)

/** One IDENTITY_MISMATCH for each field in which the nearest identity is another. */
export const mismatchReasons = (
  trials: readonly IdentityTrial[],
  whose: 'signer' | 'voucher' = 'signer',
): readonly Reason[] => {
  const nearest = nearestTrial(trials)
  if (nearest === undefined)
    return [reason('IDENTITY_MISMATCH', 'the policy names no identity that may sign')]
  const of = nearest.pattern.name === undefined ? '' : ` of ${nearest.pattern.name}`
  return nearest.fields
    .filter(f => !f.ok)
    .map(({ field, wanted, found }) =>
      reason(
        'IDENTITY_MISMATCH',
        `${whose}'s ${field}${of}: wanted ${wanted}, found ${found ?? 'nothing'}`,
        { field, wanted, ...(found !== undefined && { found }) },
      ),
    )
}

/**
 * Are these the same publisher? Issuer and the repository's number, which outlives renames; where
 * one of them lacks the number, the repository's address (hosts, owners and names do not tell
 * upper from lower case); where there is no repository at all, the subject.
 */
export const samePublisher = (a: Identity, b: Identity): boolean => {
  if (a.issuer !== b.issuer) return false
  if (a.repositoryId !== undefined && b.repositoryId !== undefined)
    return a.repositoryId === b.repositoryId
  if (a.repository !== undefined && b.repository !== undefined)
    return a.repository.toLowerCase() === b.repository.toLowerCase()
  return a.repository === b.repository && a.subject === b.subject
}

/** The publisher in words. */
export const publisherName = (identity: Identity): string => {
  const id = identity.repositoryId === undefined ? '' : ` (id ${identity.repositoryId})`
  return `${identity.repository ?? identity.subject}${id}`
}
