/** An identity as written → the pattern that is compared. */
import type { Finding } from '../config/document.ts'
import { checkIdentity } from './identity-check.ts'
import { identityFields, type IdentityPattern } from './policy.ts'
import type { IdentityDocument } from './schema.ts'

/** What compiling a policy writes on: where things stand in the file, and what is wrong there. */
export type Desk = {
  readonly file: string
  readonly name: string
  readonly lineOf: (path: readonly PropertyKey[]) => number
  readonly complain: (finding: Finding) => void
}

export const compileIdentity = (
  identity: IdentityDocument,
  at: readonly PropertyKey[],
  desk: Desk,
  name?: string,
): IdentityPattern => {
  for (const finding of checkIdentity(identity, at)) desk.complain(finding)
  const fields = Object.fromEntries(
    identityFields.flatMap(field => {
      const value = identity[field]
      return value === undefined ? [] : [[field, value] as const]
    }),
  )
  return {
    ...(name !== undefined && { name }),
    line: desk.lineOf(at),
    fields,
    ...(identity.key !== undefined && { key: identity.key }),
  }
}
