/** The shortest way to write an identity that is known field by field: a preset where one says just that. */
import { expandIdentity } from './compile-identity.ts'
import {
  circleciIssuer,
  githubIssuer,
  gitlabIssuer,
  googleIssuer,
  issuerKind,
} from './issuers.ts'
import type { PinnedFields } from './pin.ts'
import { identityFields } from './policy.ts'
import { presetOf } from './preset.ts'
import type { IdentityDocument } from './schema.ts'

type Written = IdentityDocument

const oneOrAll = (values: readonly string[]): string | string[] =>
  values.length === 1 ? (values[0] ?? '') : [...values]

/** Branches and tags by their names, the default tag too. */
const refsOf = (refs: readonly string[]): Written => {
  const named = (kind: string) =>
    refs.filter(ref => ref.startsWith(kind)).map(ref => ref.slice(kind.length))
  const [tags, branches] = [named('refs/tags/'), named('refs/heads/')]
  return {
    ...(tags.length > 0 && { tag: oneOrAll(tags) }),
    ...(branches.length > 0 && { branch: oneOrAll(branches) }),
  }
}

const refOf = (ref: string | undefined): Written =>
  // what is the default need not be said
  ref === undefined || ref === 'refs/tags/v{version}' ? {} : refsOf([ref])

const pick = (fields: PinnedFields, ...keys: readonly (keyof PinnedFields)[]): Written =>
  Object.fromEntries(
    keys.flatMap(key => (fields[key] === undefined ? [] : [[key, fields[key]] as const])),
  )

/** `acme/lib#1`, and the server it lies on. */
const splitRepository = ({ repository = '', repositoryId }: PinnedFields) => {
  const url = URL.parse(repository)
  const path = url?.pathname.slice(1) ?? ''
  return {
    origin: url?.origin ?? '',
    place: repositoryId === undefined ? path : `${path}#${repositoryId}`,
  }
}

const onGithub = (fields: PinnedFields): Written => {
  const { issuer = '', workflow, runner } = fields
  const { origin, place } = splitRepository(fields)
  const file = /^\.github\/workflows\/([^/]+)$/.exec(workflow ?? '')?.[1]
  return {
    github: place,
    ...(workflow !== undefined && { workflow: file ?? workflow }),
    ...refOf(fields.ref),
    ...pick(fields, 'trigger', 'environment'),
    ...(runner !== 'github-hosted' && pick(fields, 'runner')),
    ...pick(fields, 'signer', 'ownerId', 'visibility'),
    ...(issuer.startsWith(`${githubIssuer}/`)
      ? { enterprise: issuer.slice(githubIssuer.length + 1) }
      : issuer === githubIssuer
        ? {}
        : { server: origin }),
  }
}

const onGitlab = (fields: PinnedFields): Written => {
  const { issuer = '', workflow, runner } = fields
  return {
    gitlab: splitRepository(fields).place,
    ...(workflow !== '.gitlab-ci.yml' && pick(fields, 'workflow')),
    ...refOf(fields.ref),
    ...pick(fields, 'trigger', 'environment'),
    ...(runner !== 'gitlab-hosted' && pick(fields, 'runner')),
    ...pick(fields, 'ownerId', 'visibility'),
    ...(issuer !== gitlabIssuer && { server: issuer }),
  }
}

const onCircleci = (fields: PinnedFields): Written => {
  const [, project = '', pipeline = ''] =
    /\/projects\/([^/]+)\/pipeline-definitions\/([^/]+)$/.exec(fields.subject ?? '') ?? []
  const organization = (fields.issuer ?? '').slice(`${circleciIssuer}/org/`.length)
  return {
    circleci: { organization, project, pipeline },
    ...pick(fields, 'repository'),
    ...refOf(fields.ref),
  }
}

const byAccount = (fields: PinnedFields): Written => {
  const { issuer, subject = '' } = fields
  if (issuer === googleIssuer) return { google: subject }
  const account =
    /^https:\/\/kubernetes\.io\/namespaces\/([^/]+)\/serviceaccounts\/([^/]+)$/.exec(subject)
  return account === null
    ? fields
    : { kubernetes: account.slice(1).join('/'), ...pick(fields, 'issuer') }
}

/** A preset that stands for exactly these fields, else the fields. */
export const shortened = (fields: PinnedFields): Written => {
  const kind = issuerKind(fields.issuer ?? '')
  const short =
    kind === 'github'
      ? onGithub(fields)
      : kind === 'gitlab'
        ? onGitlab(fields)
        : kind === 'circleci'
          ? onCircleci(fields)
          : byAccount(fields)
  const { fields: meant, oneOf, findings } = expandIdentity(short)
  const same =
    findings.length === 0 &&
    oneOf === undefined &&
    identityFields.every(field => meant[field] === fields[field])
  return same ? short : fields
}

/** The values of the one field in which these differ; undefined where they differ in more. */
const difference = (all: readonly PinnedFields[]) => {
  const [first = {}] = all
  const fields = identityFields.filter(field => all.some(one => one[field] !== first[field]))
  const [field, ...more] = fields
  if (field === undefined || more.length > 0) return undefined
  const values = all.flatMap(one => one[field] ?? [])
  return values.length === all.length ? { field, values } : undefined
}

/**
 * One preset that stands for exactly these, where they differ in nothing but their ref or their
 * trigger; a list of values in more than one place would let in what none of them does.
 */
export const shortenedTogether = (all: readonly PinnedFields[]): Written | undefined => {
  const [first = {}, second] = all
  if (second === undefined) return shortened(first)
  const differing = difference(all)
  const { tag, branch, ...short } = shortened(first)
  if (differing === undefined || presetOf(short) === undefined) return undefined
  const { field, values } = differing
  if (field !== 'ref' && field !== 'trigger') return undefined
  const written =
    field === 'ref'
      ? { ...short, ...refsOf(values) }
      : {
          ...short,
          ...(tag !== undefined && { tag }),
          ...(branch !== undefined && { branch }),
          trigger: oneOrAll(values),
        }
  const { fields, oneOf = {}, findings } = expandIdentity(written)
  const said = new Set(oneOf[field])
  const same =
    findings.length === 0 &&
    said.size === values.length &&
    values.every(value => said.has(value)) &&
    identityFields.every(other => other === field || fields[other] === first[other])
  return same ? written : undefined
}
