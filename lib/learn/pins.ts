/**
 * From the publishers that were seen to the identities that name them. A pattern is never wider
 * than what was seen: the version, where refs are named after it, and the package's own name, where
 * tags are named after that as well and there are too many packages to list.
 */
import { checkIdentity } from '../policy/identity-check.ts'
import { issuerKind } from '../policy/issuers.ts'
import { pinnedFields, withVersionOpen, type PinnedFields } from '../policy/pin.ts'
import type { IdentityPattern } from '../policy/policy.ts'
import type { Identity } from '../types.ts'
import { groupBy, scopeOf, type Built } from './observation.ts'

/** The fields of one identity, and who they speak of. */
export type Pin = {
  readonly key: string
  readonly publisher: string
  readonly fields: PinnedFields
}

/** Packages of one repository whose tags are listed one by one before a pattern takes over. */
const LISTED = 3

/** One publisher, whatever workflow and ref: the issuer with the repository's number or address. */
export const publisherKey = ({
  issuer,
  repository,
  repositoryId,
  subject,
}: PinnedFields): string => `${issuer} ${repositoryId ?? repository?.toLowerCase() ?? subject}`

/**
 * A certificate that names a repository and not its number (all before May 2023) may be anybody's
 * who is given that name next: it is learned for the very versions that were seen.
 */
export const isPassing = ({ issuer, repository, repositoryId }: Identity): boolean =>
  repository !== undefined &&
  repositoryId === undefined &&
  // CircleCI's certificates name its own ids of organization, project and pipeline
  issuerKind(issuer) !== 'circleci'

export const pinKey = (fields: PinnedFields): string =>
  JSON.stringify(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)))

/** Values of one identity's lists, put together, beyond which nobody has learned it. */
const MOST = 16

/** What an identity says, once for each of its values where it has several. */
export const fieldsIn = ({ fields, oneOf = {} }: IdentityPattern): readonly PinnedFields[] => {
  const each = Object.entries(oneOf).reduce<PinnedFields[]>(
    (all, [field, values]) =>
      all.flatMap(one => values.map(value => ({ ...one, [field]: value }))),
    [fields],
  )
  return each.length > MOST ? [] : each
}

const isWritable = (fields: PinnedFields) => checkIdentity(fields, []).length === 0

const plainFields = ({ identity, version }: Built): PinnedFields => {
  const { ownerId, environment, ...fields } = pinnedFields(identity, version)
  return {
    ...fields,
    // a repository's number says whose it is
    ...(fields.repositoryId === undefined && ownerId !== undefined && { ownerId }),
    // one that cannot be written only narrows
    ...(environment !== undefined && isWritable({ ...fields, environment }) && { environment }),
  }
}

type Draft = { readonly seen: Built; readonly fields: PinnedFields }

const withRef = (draft: Draft, ref: string): Draft => ({
  ...draft,
  fields: { ...draft.fields, ref },
})

/** Branches named after the version, as two versions at least have shown. */
const openBranches = (drafts: readonly Draft[]): readonly Draft[] => {
  const opened = drafts.map(draft => {
    const { ref } = draft.fields
    return ref?.startsWith('refs/heads/') ? withVersionOpen(ref, draft.seen.version) : undefined
  })
  const key = (draft: Draft, ref: string) => pinKey({ ...draft.fields, ref })
  const versions = groupBy(drafts.keys(), i =>
    opened[i] === undefined ? undefined : key(drafts[i] as Draft, opened[i]),
  )
  return drafts.map((draft, i) => {
    const ref = opened[i]
    if (ref === undefined) return draft
    const alike = versions.get(key(draft, ref)) ?? []
    const distinct = new Set(alike.map(at => drafts[at]?.seen.version))
    return distinct.size > 1 ? withRef(draft, ref) : draft
  })
}

/** `refs/tags/@acme/lib@{version}` of `@acme/lib` as `refs/tags/@acme/*@{version}`. */
const withNameOpen = ({ seen, fields: { ref } }: Draft): string | undefined => {
  if (ref?.startsWith('refs/tags/') !== true || !ref.includes('{version}')) return undefined
  const scope = scopeOf(seen.name)
  const bare = scope === undefined ? seen.name : seen.name.slice(scope.length + 1)
  const [head, tail, more] = ref.split(bare)
  if (head === undefined || tail === undefined || more !== undefined) return undefined
  const alone = /[/@._-]$/.test(head) && /^[/@._-]/.test(tail)
  return alone ? `${head}*${tail}` : undefined
}

const openNames = (drafts: readonly Draft[]): readonly Draft[] => {
  const opened = drafts.map(withNameOpen)
  const key = (draft: Draft, ref: string) => pinKey({ ...draft.fields, ref })
  const alike = groupBy(drafts.keys(), i =>
    opened[i] === undefined ? undefined : key(drafts[i] as Draft, opened[i]),
  )
  return drafts.map((draft, i) => {
    const ref = opened[i]
    if (ref === undefined) return draft
    const names = new Set((alike.get(key(draft, ref)) ?? []).map(at => drafts[at]?.seen.name))
    return names.size > LISTED ? withRef(draft, ref) : draft
  })
}

/** Does `wide` say nothing but what `narrow` says as well? */
const covers = (wide: Pin, narrow: Pin): boolean =>
  Object.entries(wide.fields).every(
    ([field, value]) => narrow.fields[field as keyof PinnedFields] === value,
  )

/** Do the two name the same builds, or one of them some of the other's? */
export const overlap = (a: Pin, b: Pin): boolean =>
  a.key === b.key || covers(a, b) || covers(b, a)

/** Without what another of them says already: a certificate that said less lets in what says more. */
export const widestOf = (pins: readonly Pin[]): readonly Pin[] => {
  const distinct = [...new Map(pins.map(pin => [pin.key, pin])).values()]
  return distinct.filter(pin => !distinct.some(other => other !== pin && covers(other, pin)))
}

/** The pin of each observation; none where the language has no way to write it. */
export const pinsOf = (built: readonly Built[]): ReadonlyMap<Built, Pin> => {
  const drafts = built.map(seen => ({ seen, fields: plainFields(seen) }))
  const writable = drafts.filter(({ fields }) => isWritable(fields))
  const pins = openNames(openBranches(writable)).map(({ seen, fields }): [Built, Pin] => [
    seen,
    { key: pinKey(fields), publisher: publisherKey(seen.identity), fields },
  ])
  return new Map(pins)
}
