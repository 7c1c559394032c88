/** A signer as a case writes it → the identity that a certificate would prove. */
import type { Identity } from '../types.ts'
import type { SignerDocument } from './case-schema.ts'
import { identityFields } from './policy.ts'

export type Signers = Readonly<Record<string, Identity>>

type Path = readonly PropertyKey[]

export const signerOf = (
  said: SignerDocument,
  at: Path,
  complain: (path: Path, message: string) => void,
): Identity => {
  for (const field of identityFields)
    if (/[*{}]/.test(said[field] ?? ''))
      complain([...at, field], `${field}: a certificate holds no patterns; write what it says`)
  const { issuer, repository, workflow, ref, ...rest } = said
  const made =
    repository !== undefined && workflow !== undefined && ref !== undefined
      ? `${repository}/${workflow}@${ref}`
      : undefined
  const subject = rest.subject ?? made
  if (issuer === undefined) complain(at, 'a certificate has an issuer')
  if (subject === undefined)
    complain(at, 'a certificate has a subject: write it, or repository, workflow and ref')
  const fields = Object.fromEntries(
    Object.entries({ ...said, signer: said.signer ?? made }).filter(
      ([, value]) => value !== undefined,
    ),
  )
  return {
    ...fields,
    issuer: issuer ?? '',
    subject: subject ?? '',
    subjectType: subject?.startsWith('https://')
      ? 'uri'
      : subject?.includes('@')
        ? 'email'
        : 'other',
  }
}
