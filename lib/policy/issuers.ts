/**
 * Issuers whose certificates have a shape of their own (fulcio docs/oid-info.md and
 * config/identity/config.yaml). Nothing is trusted by this: identities name their issuer exactly.
 */

export const githubIssuer = 'https://token.actions.githubusercontent.com'
export const gitlabIssuer = 'https://gitlab.com'
export const circleciIssuer = 'https://oidc.circleci.com'
export const googleIssuer = 'https://accounts.google.com'

export type IssuerKind = 'github' | 'gitlab' | 'circleci'

/** GitLab's own instances among the issuers of the public Fulcio; others are called so, mostly. */
const gitlabHosts = /^https:\/\/(gitlab\.[^/]+|dev\.gitlab\.org|ops\.gitlab\.net)$/

/** GitHub Enterprise Server, and GitHub's cloud with data residency. */
const enterprise = /^https:\/\/([^/]+\/_services\/token|token\.actions\.[^/]+\.ghe\.com)$/

export const issuerKind = (issuer: string): IssuerKind | undefined => {
  if (issuer === githubIssuer || issuer.startsWith(`${githubIssuer}/`)) return 'github'
  if (enterprise.test(issuer)) return 'github'
  if (gitlabHosts.test(issuer)) return 'gitlab'
  if (issuer === circleciIssuer || issuer.startsWith(`${circleciIssuer}/org/`))
    return 'circleci'
  return undefined
}

/**
 * Runs that people without any rights in the repository can start or feed: what they contribute is
 * built, or acted on, with the repository's own name in the certificate.
 */
export const strangersTriggers: Readonly<Record<IssuerKind, ReadonlySet<string>>> = {
  github: new Set([
    'pull_request',
    'pull_request_target',
    'pull_request_review',
    'pull_request_review_comment',
    'issues',
    'issue_comment',
    'discussion',
    'discussion_comment',
    'fork',
    'watch',
    'workflow_run',
  ]),
  gitlab: new Set(['merge_request_event', 'external_pull_request_event']),
  circleci: new Set(),
}

/** What starts a build when somebody with rights in the repository wants it to. */
export const ownTriggers: Readonly<Record<'github' | 'gitlab', readonly string[]>> = {
  github: ['push', 'release', 'workflow_dispatch'],
  gitlab: ['push', 'web'],
}

/** What CircleCI's certificates have where somebody was logged in on the machine that built. */
export const sshRerun = 'ssh-rerun'
