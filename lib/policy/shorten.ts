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
import type { IdentityDocument } from './schema.ts'

type Written = IdentityDocument

const refOf = (ref: string | undefined): Written => {
  const [, kind, name] = /^refs\/(head|tag)s\/(.+)$/.exec(ref ?? '') ?? []
  if (name === undefined) return {}
  if (kind === 'head') return { branch: name }
  return name === 'v{version}' ? {} : { tag: name }
}

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
