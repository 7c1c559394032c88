/**
 * Whom a trusted root may speak for. A root that is tied to issuers or subjects proves certificates
 * of those and nothing else: neither another issuer's certificate nor, with its log or its clock, a
 * signature made with a key.
 */
import { globMatches } from '../policy/glob.ts'
import type { RootScope } from '../types.ts'
import type { SigningCertificate } from './bundle.ts'
import { refuse } from './finding.ts'
import { decodeIdentity } from './identity.ts'

const beyond = (detail: string, wanted: readonly string[], found: string): never =>
  refuse('INVALID_ATTESTATION', detail, {
    npmCode: 'EATTESTATIONVERIFY',
    wanted: wanted.join(' or '),
    found,
  })

/** Throws a finding when a root of this scope may not speak for who signed. */
export const checkScope = (
  { issuers, subjects }: RootScope,
  certificate: SigningCertificate | undefined,
): void => {
  if (issuers === undefined && subjects === undefined) return
  if (certificate === undefined)
    return beyond(
      'It is signed with a key, and the trusted root of its log may only speak for certificates.',
      [...(issuers ?? []), ...(subjects ?? [])],
      'a key',
    )
  const { issuer, subject } = decodeIdentity(certificate)
  if (issuers !== undefined && !issuers.includes(issuer))
    beyond(
      'The certificate is of an issuer that its trusted root may not speak for.',
      issuers,
      issuer,
    )
  if (
    subjects !== undefined &&
    !subjects.some(pattern => globMatches(pattern, subject, { atParts: true }))
  )
    beyond(
      'The certificate is of a subject that its trusted root may not speak for.',
      subjects,
      subject,
    )
}
