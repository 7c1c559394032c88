/**
 * Who signs: from a publisher's particulars to the subject alternative name and the extensions
 * (1.3.6.1.4.1.57264.1.N) that Fulcio would put into the certificate
 * (fulcio docs/oid-info.md, config/identity/config.yaml).
 */

export type CertificateRequest = {
  readonly san: { readonly type: 'uri' | 'email' | 'other'; readonly value: string }
  /** `oid` is the last arc. `raw`: the bare string, as in .1 to .6, instead of a DER UTF8String. */
  readonly extensions: readonly {
    readonly oid: number
    readonly value: string
    readonly raw?: boolean
  }[]
}

export type GithubPublisher = {
  /** `owner/name` */
  readonly repository: string
  readonly repositoryId?: string
  readonly ownerId?: string
  /** Path in the repository. */
  readonly workflow?: string
  readonly workflowName?: string
  readonly ref?: string
  readonly commit?: string
  readonly trigger?: string
  readonly runner?: string
  readonly visibility?: string
  readonly environment?: string
  readonly run?: { readonly id: string; readonly attempt: string }
  readonly issuer?: string
  /** Origin, without a trailing slash; GitHub Enterprise has its own. */
  readonly server?: string
  /** The OIDC token's `sub` (.24). */
  readonly tokenSubject?: string
  /** `job_workflow_ref` of a reusable workflow: `owner/name/path@ref`; default is the caller. */
  readonly signer?: string
  readonly signerDigest?: string
  /** `legacy`: only .1 to .6, as before May 2023. */
  readonly era?: 'legacy' | 'current'
}

export const githubIssuer = 'https://token.actions.githubusercontent.com'

/** The publisher with every particular filled in. */
export const githubDefaults = (publisher: GithubPublisher) => {
  const ref = publisher.ref ?? 'refs/heads/main'
  const commit = publisher.commit ?? '0123456789abcdef0123456789abcdef01234567'
  const workflow = publisher.workflow ?? '.github/workflows/release.yml'
  const workflowRef = `${publisher.repository}/${workflow}@${ref}`
  const owner = publisher.repository.split('/')[0] ?? ''
  const environment = publisher.environment
  return {
    repositoryId: '1000001',
    ownerId: '2000002',
    workflowName: 'release',
    trigger: 'push',
    runner: 'github-hosted',
    visibility: 'public',
    run: { id: '3000003', attempt: '1' },
    issuer: githubIssuer,
    server: 'https://github.com',
    signer: workflowRef,
    signerDigest: commit,
    era: 'current' as const,
    tokenSubject: `repo:${publisher.repository}:${environment === undefined ? `ref:${ref}` : `environment:${environment}`}`,
    ...publisher,
    owner,
    ref,
    commit,
    workflow,
    workflowRef,
  }
}

export const githubCertificate = (publisher: GithubPublisher): CertificateRequest => {
  const p = githubDefaults(publisher)
  const { server } = p
  const legacy = [p.issuer, p.trigger, p.commit, p.workflowName, p.repository, p.ref]
  const current: (readonly [number, string | undefined])[] = [
    [8, p.issuer],
    [9, `${server}/${p.signer}`],
    [10, p.signerDigest],
    [11, p.runner],
    [12, `${server}/${p.repository}`],
    [13, p.commit],
    [14, p.ref],
    [15, p.repositoryId],
    [16, `${server}/${p.owner}`],
    [17, p.ownerId],
    [18, `${server}/${p.workflowRef}`],
    [19, p.commit],
    [20, p.trigger],
    [21, `${server}/${p.repository}/actions/runs/${p.run.id}/attempts/${p.run.attempt}`],
    [22, p.visibility],
    [23, p.environment],
    [24, p.tokenSubject],
  ]
  return {
    san: { type: 'uri', value: `${server}/${p.signer}` },
    extensions: [
      ...legacy.map((value, i) => ({ oid: i + 1, value, raw: true })),
      ...(p.era === 'legacy' ? [] : utf8(current)),
    ],
  }
}

export type GitlabPublisher = {
  /** `group/project` */
  readonly project: string
  readonly projectId?: string
  readonly namespaceId?: string
  readonly ref?: string
  readonly commit?: string
  readonly trigger?: string
  readonly runner?: string
  readonly jobId?: string
  /** Path of the pipeline's file. */
  readonly config?: string
  readonly environment?: string
  /** Origin, without a trailing slash. */
  readonly server?: string
}

export const gitlabDefaults = (publisher: GitlabPublisher) => ({
  projectId: '4000004',
  namespaceId: '5000005',
  ref: 'refs/heads/main',
  commit: '89abcdef0123456789abcdef0123456789abcdef',
  trigger: 'push',
  runner: 'gitlab-hosted',
  jobId: '6000006',
  server: 'https://gitlab.com',
  config: '.gitlab-ci.yml',
  ...publisher,
})

export const gitlabCertificate = (publisher: GitlabPublisher): CertificateRequest => {
  const p = gitlabDefaults(publisher)
  const config = `${p.server}/${p.project}//${p.config}@${p.ref}`
  const [, kind, name] = /^refs\/(head|tag)s\/(.*)$/.exec(p.ref) ?? []
  return {
    san: { type: 'uri', value: config },
    extensions: [
      { oid: 1, value: p.server, raw: true },
      ...utf8([
        [8, p.server],
        [9, config],
        [10, p.commit],
        [11, p.runner],
        [12, `${p.server}/${p.project}`],
        [13, p.commit],
        [14, p.ref],
        [15, p.projectId],
        [16, `${p.server}/${p.project.split('/').slice(0, -1).join('/')}`],
        [17, p.namespaceId],
        [18, config],
        [19, p.commit],
        [20, p.trigger],
        [21, `${p.server}/${p.project}/-/jobs/${p.jobId}`],
        [22, 'public'],
        [23, p.environment],
        [
          24,
          `project_path:${p.project}:ref_type:${kind === 'tag' ? 'tag' : 'branch'}:ref:${name}`,
        ],
      ]),
    ],
  }
}

/** A person (or service account) known by an e-mail address. */
export const emailCertificate = (
  email: string,
  issuer = 'https://accounts.google.com',
): CertificateRequest => ({
  san: { type: 'email', value: email },
  extensions: [
    { oid: 1, value: issuer, raw: true },
    { oid: 8, value: issuer },
  ],
})

export type CircleciPublisher = {
  readonly organization?: string
  readonly project?: string
  readonly pipeline?: string
  /** `vcs-origin`: without a scheme. */
  readonly origin?: string
  readonly ref?: string
  readonly sshRerun?: boolean
  readonly issuer?: string
}

/** No digest, no trigger; the runner is two quotes where nobody was logged in (Fulcio's template). */
export const circleciCertificate = ({
  organization = '11111111-1111-4111-8111-111111111111',
  project = '22222222-2222-4222-8222-222222222222',
  pipeline = '33333333-3333-4333-8333-333333333333',
  origin = 'github.com/acme/widget',
  ref = 'refs/heads/main',
  sshRerun = false,
  issuer = `https://oidc.circleci.com/org/${organization}`,
}: CircleciPublisher = {}): CertificateRequest => {
  const api = 'https://circleci.com/api/v2'
  const definition = `${api}/projects/${project}/pipeline-definitions/${pipeline}`
  return {
    san: { type: 'uri', value: definition },
    extensions: [
      { oid: 1, value: issuer, raw: true },
      ...utf8([
        [8, issuer],
        [9, definition],
        [11, sshRerun ? 'ssh-rerun' : '""'],
        [12, origin],
        [14, ref],
        [18, `${api}/pipeline/44444444-4444-4444-8444-444444444444/config`],
        [21, 'https://app.circleci.com//workflow/55555555-5555-4555-8555-555555555555/job/6'],
      ]),
    ],
  }
}

/** A subject and an issuer are all that is known: service accounts of clusters, user names, SPIFFE. */
export const subjectCertificate = (
  type: CertificateRequest['san']['type'],
  value: string,
  issuer: string,
): CertificateRequest => ({
  san: { type, value },
  extensions: emailCertificate('', issuer).extensions,
})

/** What Fulcio makes of an OIDC token's claims: GitHub's where it names a repository, else e-mail, else `sub`. */
export const certificateFromToken = (
  claims: Readonly<Record<string, string>>,
): CertificateRequest => {
  const issuer = claims.iss ?? 'https://issuer.example'
  const { repository, email } = claims
  if (repository === undefined) {
    if (email !== undefined) return emailCertificate(email, issuer)
    const { extensions } = emailCertificate('', issuer)
    return { san: { type: 'uri', value: claims.sub ?? 'NO-SUBJECT' }, extensions }
  }
  const path = /^[^/]+\/[^/]+\/(.+)@[^@]*$/.exec(claims.workflow_ref ?? '')?.[1]
  return githubCertificate({
    repository,
    issuer,
    ...defined({
      repositoryId: claims.repository_id,
      ownerId: claims.repository_owner_id,
      workflow: path,
      workflowName: claims.workflow,
      ref: claims.ref,
      commit: claims.sha,
      trigger: claims.event_name,
      runner: claims.runner_environment,
      visibility: claims.repository_visibility,
      environment: claims.environment,
      tokenSubject: claims.sub,
      signer: claims.job_workflow_ref,
      signerDigest: claims.job_workflow_sha,
    }),
  })
}

/** An unsigned JWT: the local Fulcio reads the claims and believes them. E-mail addresses are verified. */
export const oidcToken = (claims: Readonly<Record<string, string>>): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const verified = claims.email === undefined ? {} : { email_verified: true }
  return `${part({ alg: 'none', typ: 'JWT' })}.${part({ ...verified, ...claims })}.`
}

const utf8 = (fields: readonly (readonly [number, string | undefined])[]) =>
  fields.flatMap(([oid, value]) => (value === undefined ? [] : [{ oid, value }]))

const defined = <T extends object>(record: T) =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
