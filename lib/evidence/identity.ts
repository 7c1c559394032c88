/** Who signed: a Fulcio certificate read into an Identity. */
import type { Identity } from '../types.ts'
import type { SigningCertificate } from './bundle.ts'
import { certificateFields, type CertificateFields } from './certificate-fields.ts'
import { refuse } from './finding.ts'

/** GitHub and GitLab ignore case in the names of owners and repositories. */
const fold = (text: string) => text.toLowerCase()
export const sameRepository = (a: string, b: string) => fold(a) === fold(b)
const inside = (uri: string, repository: string) => fold(uri).startsWith(`${fold(repository)}/`)

/**
 * Splits `https://host/owner/repo/path@ref` (GitLab: `…/repo//path@ref`). Tags may hold an `@`
 * (`refs/tags/@acme/lib@1.0.0`), so the known ref decides where the path ends, if it fits.
 */
export const splitWorkflowUri = (
  uri: string,
  repository: string,
  ref?: string,
): { readonly path: string; readonly ref: string } | undefined => {
  if (!inside(uri, repository)) return undefined
  const rest = uri.slice(repository.length + 1).replace(/^\//, '')
  const known =
    ref !== undefined && rest.endsWith(`@${ref}`) ? rest.length - ref.length - 1 : -1
  const at =
    known > 0 ? known : rest.includes('@refs/') ? rest.indexOf('@refs/') : rest.lastIndexOf('@')
  return at <= 0 ? undefined : { path: rest.slice(0, at), ref: rest.slice(at + 1) }
}

/** Extensions .1 to .6 are superseded; where both are present they must say the same. */
const checkDeprecated = ({ extensions }: CertificateFields): void => {
  const same = (a: string, b: string) => a === b
  const pairs = [
    ['issuer', 1, 8, same],
    ['trigger', 2, 20, same],
    ['commit', 3, 13, same],
    // .5 is `owner/name`, .12 the URL
    [
      'repository',
      5,
      12,
      (name: string, url: string) => URL.parse(url)?.pathname === `/${name}`,
    ],
    ['ref', 6, 14, same],
  ] as const
  for (const [field, deprecated, current, agree] of pairs) {
    const before = extensions.get(deprecated)
    const now = extensions.get(current)
    if (before !== undefined && now !== undefined && !agree(before, now))
      refuse(
        'INVALID_ATTESTATION',
        `The certificate contradicts itself about the ${field} (extensions .${deprecated} and .${current}).`,
        { npmCode: 'EATTESTATIONVERIFY', wanted: now, found: before },
      )
  }
}

/**
 * CircleCI names repositories without their scheme (`github.com/owner/name`); everybody else's are
 * addresses, and so is what a predicate or a policy says.
 */
const asAddress = (repository: string | undefined): string | undefined =>
  repository !== undefined && /^[\w-]+(?:\.[\w-]+)+(?:\/[^\s/:@]+){2,}$/.test(repository)
    ? `https://${repository}`
    : repository

/** GitHub's server is only in the subject when the certificate has nothing but .1 to .6. */
const legacyRepository = ({ subject, extensions }: CertificateFields): string | undefined => {
  const name = extensions.get(5)
  const server = subject.type === 'uri' ? URL.parse(subject.value)?.origin : undefined
  return name === undefined || server === undefined ? undefined : `${server}/${name}`
}

/**
 * Decodes the signing certificate of a bundle that verified. A reusable workflow is the
 * `signer` (.9 and the subject); `workflow` and `repository` (.18, .12) are the caller's. Throws a
 * finding when the certificate is none of Fulcio's or contradicts itself.
 */
export const decodeIdentity = (certificate: SigningCertificate): Identity => {
  const fields = certificateFields(certificate)
  checkDeprecated(fields)
  const { subject, extensions } = fields
  const first = (...arcs: readonly number[]) =>
    arcs.map(arc => extensions.get(arc)).find(value => value !== undefined)

  const issuer = first(8, 1)
  if (issuer === undefined)
    return refuse('INVALID_ATTESTATION', 'The certificate does not name its issuer.', {
      npmCode: 'EATTESTATIONVERIFY',
    })
  const repository = asAddress(first(12)) ?? legacyRepository(fields)
  const ref = first(14, 6)
  const workflowUri = first(18)
  const workflowAt = workflowUri ?? (first(9) === undefined ? subject.value : undefined)
  const workflow =
    repository === undefined || workflowAt === undefined
      ? undefined
      : splitWorkflowUri(workflowAt, repository, ref)?.path

  const optional = {
    signer: first(9),
    signerDigest: first(10),
    runner: first(11),
    repository,
    commit: first(13, 3),
    ref,
    repositoryId: first(15),
    owner: first(16),
    ownerId: first(17),
    workflow,
    workflowUri,
    workflowDigest: first(19),
    workflowName: first(4),
    trigger: first(20, 2),
    run: first(21),
    visibility: first(22),
    environment: first(23),
    tokenSubject: first(24),
  }
  return {
    issuer,
    subject: subject.value,
    subjectType: subject.type,
    ...(Object.fromEntries(
      Object.entries(optional).filter(([, value]) => value !== undefined),
    ) as { [K in keyof typeof optional]?: string }),
  }
}
