/**
 * Which fields of an identity that was found are worth pinning: who it is, and from where it was
 * built; not what differs with each build. Suggestions and learned policies pin by the same rules.
 */
import type { Identity } from '../types.ts'
import { issuerKind, sshRerun } from './issuers.ts'
import type { IdentityField } from './policy.ts'

export type PinnedFields = Readonly<Partial<Record<IdentityField, string>>>

/**
 * The text with `{version}` in the place of the version; undefined where the version is not in it
 * exactly once, or is part of a longer number there.
 */
export const withVersionOpen = (text: string, version: string): string | undefined => {
  const [head, tail, more] = text.split(version)
  if (head === undefined || tail === undefined || more !== undefined) return undefined
  return /[0-9]$|[0-9]\.$/.test(head) || /^\.?[0-9]/.test(tail)
    ? undefined
    : `${head}{version}${tail}`
}

/**
 * A workflow that signs in another's name: a reusable one, where it is not the caller itself. One of
 * the same repository is called at the caller's own ref, which is named after the version or not.
 */
const foreignSigner = ({ signer, repository, workflow, ref }: Identity, openRef?: string) => {
  const caller = ['/', '//'].map(slash => `${repository}${slash}${workflow}@${ref}`)
  if (signer === undefined || repository === undefined) return undefined
  if (workflow === undefined || ref === undefined || caller.includes(signer)) return undefined
  const own = signer.startsWith(`${repository}/`) && signer.endsWith(`@${ref}`)
  return own && openRef ? `${signer.slice(0, -ref.length)}${openRef}` : signer
}

/** A tag named after the version is pinned as `refs/tags/v{version}`, everything else as it stands. */
export const pinnedFields = (identity: Identity, version: string): PinnedFields => {
  const { issuer, subject, repository, repositoryId, ownerId, workflow } = identity
  const { ref, trigger, runner, environment } = identity
  const tag = ref?.startsWith('refs/tags/') ? withVersionOpen(ref, version) : undefined
  const nobodyElse = repository === undefined && repositoryId === undefined
  // CircleCI names no workflow, and what the runner is only where it is none to trust
  const onCircleci = issuerKind(issuer) === 'circleci'
  const fields = {
    issuer,
    subject: nobodyElse || onCircleci ? subject : undefined,
    repository,
    repositoryId,
    ownerId,
    workflow,
    signer: foreignSigner(identity, tag),
    ref: tag ?? ref,
    trigger,
    runner: onCircleci && runner !== sshRerun ? undefined : runner,
    environment,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
