/**
 * Presets → the fields that are compared. What is left out gets the value that lets in least:
 * hosted runners, the tag of the version itself, triggers that need rights in the repository.
 */
import type { Finding } from '../config/document.ts'
import {
  circleciIssuer,
  githubIssuer,
  gitlabIssuer,
  googleIssuer,
  ownTriggers,
  sshRerun,
  strangersTriggers,
} from './issuers.ts'
import type { IdentityField } from './policy.ts'
import { presetNames, type PresetName } from './preset-schema.ts'
import type { IdentityDocument } from './schema.ts'

type Path = readonly PropertyKey[]
type Said = Readonly<Partial<Record<IdentityField, string | readonly string[] | undefined>>>

export type Expanded = {
  /** A list: one of these. */
  readonly said: Said
  /** None of these; what a certificate does not have is fine. */
  readonly noneOf?: Readonly<Partial<Record<IdentityField, readonly string[]>>>
  readonly findings: readonly Finding[]
}

export const presetOf = (identity: IdentityDocument): PresetName | undefined =>
  presetNames.find(name => identity[name] !== undefined)

/** What may stand beside each. */
const beside: Readonly<Record<PresetName, readonly (keyof IdentityDocument)[]>> = {
  github: [
    ...(['workflow', 'tag', 'branch', 'trigger', 'environment', 'runner'] as const),
    ...(['signer', 'ownerId', 'visibility', 'server', 'enterprise'] as const),
  ],
  gitlab: [
    ...(['workflow', 'tag', 'branch', 'trigger', 'environment', 'runner'] as const),
    ...(['ownerId', 'visibility', 'server'] as const),
  ],
  circleci: ['repository', 'tag', 'branch'],
  google: [],
  kubernetes: ['issuer'],
}

const list = (said: string | readonly string[] | undefined): readonly string[] =>
  said === undefined ? [] : typeof said === 'string' ? [said] : said

const oneOf = (values: readonly string[]): string | readonly string[] | undefined =>
  values.length > 1 ? values : values[0]

const DEFAULT_TAG = 'v{version}'

type Desk = { readonly complain: (key: string, message: string) => void }

const refsOf = ({ tag, branch }: IdentityDocument, { complain }: Desk) => {
  const tags = tag === undefined && branch === undefined ? [DEFAULT_TAG] : list(tag)
  for (const name of tags)
    if (name.includes('*') && !name.includes('{version}'))
      complain(
        'tag',
        `tag: ${JSON.stringify(name)} takes any tag, whoever made it; write {version} into it`,
      )
  for (const name of list(branch))
    if (name.includes('*'))
      complain(
        'branch',
        `branch: whoever may push a branch like ${JSON.stringify(name)} can sign; name the branch`,
      )
  for (const [key, names] of [
    ['tag', tags],
    ['branch', list(branch)],
  ] as const)
    for (const name of names)
      if (name.startsWith('refs/')) complain(key, `${key}: wanted the name without refs/…/`)
  return oneOf([
    ...tags.map(name => `refs/tags/${name}`),
    ...list(branch).map(name => `refs/heads/${name}`),
  ])
}

const triggersOf = (
  kind: 'github' | 'gitlab',
  { trigger }: IdentityDocument,
  { complain }: Desk,
) => {
  for (const name of list(trigger))
    if (strangersTriggers[kind].has(name))
      complain(
        'trigger',
        `trigger: a run for ${name} acts on what anybody may propose; write the identity out field by field if that is meant`,
      )
  return trigger ?? ownTriggers[kind]
}

const serverOf = ({ server }: IdentityDocument, usual: string, { complain }: Desk): string => {
  if (server !== undefined && !/^https:\/\/[^\s/]+$/.test(server))
    complain('server', 'server: wanted an address as in https://git.acme.example, and no path')
  return server ?? usual
}

const numbered = (
  key: 'github' | 'gitlab',
  said: string,
  form: RegExp,
  { complain }: Desk,
): { readonly path: string; readonly id?: string } => {
  const { path, id } = form.exec(said)?.groups ?? {}
  if (path === undefined)
    complain(
      key,
      `${key}: wanted ${key === 'github' ? 'owner/name' : 'group/name'}, or that with #NUMBER; found ${JSON.stringify(said)}`,
    )
  return { path: path ?? said, ...(id !== undefined && { id }) }
}

const githubPath = /^(?<path>[A-Za-z0-9][\w-]*\/[\w.-]+)(?:#(?<id>[0-9]+))?$/
const gitlabPath = /^(?<path>[A-Za-z0-9_][\w.-]*(?:\/[\w.-]+)+)(?:#(?<id>[0-9]+))?$/

const githubIssuerOf = ({ server, enterprise }: IdentityDocument, { complain }: Desk) => {
  if (enterprise !== undefined && server !== undefined)
    complain('enterprise', 'enterprise: a server of your own has an issuer of its own')
  if (enterprise !== undefined && !/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(enterprise))
    complain('enterprise', 'enterprise: wanted a slug as in acme')
  if (enterprise !== undefined) return `${githubIssuer}/${enterprise}`
  if (server === undefined || server === 'https://github.com') return githubIssuer
  const { hostname } = URL.parse(server) ?? { hostname: '' }
  // GitHub's cloud with data residency; else GitHub Enterprise Server
  return hostname.endsWith('.ghe.com')
    ? `https://token.actions.${hostname}`
    : `${server}/_services/token`
}

const github = (identity: IdentityDocument, desk: Desk): Said => {
  const { workflow, environment, runner = 'github-hosted', signer, ownerId } = identity
  const { path, id } = numbered('github', identity.github ?? '', githubPath, desk)
  const server = serverOf(identity, 'https://github.com', desk)
  if (workflow === undefined)
    desk.complain(
      'github',
      'github: any workflow of the repository could sign; name it, as in workflow: release.yml',
    )
  else if (workflow.includes('*'))
    desk.complain('workflow', 'workflow: name the one that publishes')
  return {
    issuer: githubIssuerOf(identity, desk),
    repository: `${server}/${path}`,
    repositoryId: id,
    ownerId,
    workflow: workflow?.includes('/') === false ? `.github/workflows/${workflow}` : workflow,
    signer,
    ref: refsOf(identity, desk),
    trigger: triggersOf('github', identity, desk),
    runner,
    environment,
    visibility: identity.visibility,
  }
}

const gitlab = (identity: IdentityDocument, desk: Desk): Said => {
  const { workflow = '.gitlab-ci.yml', environment, runner = 'gitlab-hosted' } = identity
  const { path, id } = numbered('gitlab', identity.gitlab ?? '', gitlabPath, desk)
  const server = serverOf(identity, gitlabIssuer, desk)
  if (workflow.includes('*')) desk.complain('workflow', 'workflow: name the file')
  return {
    issuer: server,
    repository: `${server}/${path}`,
    repositoryId: id,
    ownerId: identity.ownerId,
    workflow,
    ref: refsOf(identity, desk),
    trigger: triggersOf('gitlab', identity, desk),
    runner,
    environment,
    visibility: identity.visibility,
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const circleci = (identity: IdentityDocument, desk: Desk): Said => {
  const ids = identity.circleci ?? { organization: '', project: '', pipeline: '' }
  for (const key of ['organization', 'project', 'pipeline'] as const)
    if (!uuid.test(ids[key]))
      desk.complain('circleci', `circleci: ${key}: wanted a UUID in lower case`)
  if (identity.repository === undefined || identity.repository.includes('*'))
    desk.complain(
      'circleci',
      'circleci: builds of forks bear the same ids; name the repository, as in repository: https://github.com/owner/name',
    )
  return {
    issuer: `${circleciIssuer}/org/${ids.organization}`,
    subject: `https://circleci.com/api/v2/projects/${ids.project}/pipeline-definitions/${ids.pipeline}`,
    repository: identity.repository,
    ref: refsOf(identity, desk),
  }
}

const google = (identity: IdentityDocument, desk: Desk): Said => {
  const email = identity.google ?? ''
  if (!/^[^\s@*{}]+@[^\s@*{}/]+$/.test(email))
    desk.complain('google', `google: wanted an e-mail address; found ${JSON.stringify(email)}`)
  return { issuer: googleIssuer, subject: email }
}

const kubernetes = ({ kubernetes: said = '', issuer }: IdentityDocument, desk: Desk): Said => {
  const name = '[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?'
  const parts = new RegExp(`^(${name})/(${name})$`).exec(said)
  if (parts === null)
    desk.complain(
      'kubernetes',
      `kubernetes: wanted namespace/serviceaccount; found ${JSON.stringify(said)}`,
    )
  if (issuer === undefined)
    desk.complain(
      'kubernetes',
      'kubernetes: every cluster has such an account; name the issuer, as in https://container.googleapis.com/v1/projects/…',
    )
  const [, namespace, account] = parts ?? []
  return {
    issuer,
    // fulcio pkg/identity/kubernetes
    subject: `https://kubernetes.io/namespaces/${namespace}/serviceaccounts/${account}`,
  }
}

const presets = { github, gitlab, circleci, google, kubernetes }

/** Throws nothing: what is wrong is among the findings. */
export const expandPreset = (
  name: PresetName,
  identity: IdentityDocument,
  at: Path,
): Expanded => {
  const findings: Finding[] = []
  const complain = (key: string, message: string) => {
    findings.push({
      path: identity[key as 'github'] === undefined ? at : [...at, key],
      message,
    })
  }
  for (const key of Object.keys(identity) as (keyof IdentityDocument)[])
    if (identity[key] !== undefined && key !== name && !beside[name].includes(key))
      complain(
        key,
        `${key} has no meaning beside ${name}${key === 'ref' ? '; write tag or branch' : ''}`,
      )
  const said = presets[name](identity, { complain })
  return {
    said,
    ...(name === 'circleci' && { noneOf: { runner: [sshRerun] } }),
    findings,
  }
}
