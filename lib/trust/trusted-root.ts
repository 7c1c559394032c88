/** A sigstore trusted_root.json, checked before anything rests on it. */
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toTrustMaterial } from '@sigstore/verify'
import { AttestryError, messageOf } from '../errors.ts'

type Period = { readonly start?: unknown; readonly end?: unknown }
type Log = { readonly publicKey?: { readonly validFor?: Period } }
type Authority = { readonly validFor?: Period }

const refuse = (where: string, what: string, cause?: unknown): never => {
  throw new AttestryError('ETRUST', `${where}: ${what}`, { cause })
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const listOf = (root: Record<string, unknown>, key: string, where: string): unknown[] => {
  const value = root[key] ?? []
  if (!Array.isArray(value)) return refuse(where, `${key} is not a list`)
  return value
}

/**
 * @sigstore/verify takes a missing start of validity for "since ever"; the sigstore conformance
 * suite (trust-root-tlog-missing-validity-start) wants such a root refused, and so do we.
 */
const checkPeriod = (period: Period | undefined, where: string, what: string): void => {
  const { start, end } = period ?? {}
  if (typeof start !== 'string' || Number.isNaN(Date.parse(start)))
    refuse(
      where,
      `${what} has no start of its validity; wanted validFor.start, an ISO 8601 time`,
    )
  // tools that write every field write null for none
  if (
    end !== undefined &&
    end !== null &&
    (typeof end !== 'string' || Number.isNaN(Date.parse(end)))
  )
    refuse(where, `${what} has a validFor.end that is not an ISO 8601 time`)
}

const authorities = ['certificateAuthorities', 'tlogs'] as const

/**
 * Returns the document as it was given once it is known to be usable. `where` names it in errors,
 * `wanted` the lists that must not be empty. Throws ETRUST.
 */
export const checkTrustedRoot = (
  document: unknown,
  where: string,
  wanted: readonly string[] = authorities,
): object => {
  if (!isRecord(document)) return refuse(where, 'it is not a JSON object')
  const { mediaType } = document
  if (
    typeof mediaType !== 'string' ||
    !mediaType.startsWith('application/vnd.dev.sigstore.trustedroot')
  )
    refuse(where, `mediaType is ${JSON.stringify(mediaType)}; wanted a sigstore trusted root`)

  for (const key of ['tlogs', 'ctlogs']) {
    for (const [i, log] of listOf(document, key, where).entries())
      checkPeriod((log as Log)?.publicKey?.validFor, where, `${key}[${i}].publicKey`)
  }
  for (const key of ['certificateAuthorities', 'timestampAuthorities']) {
    for (const [i, authority] of listOf(document, key, where).entries())
      checkPeriod((authority as Authority)?.validFor, where, `${key}[${i}]`)
  }
  const needed = wanted.filter(key => listOf(document, key, where).length === 0)
  if (needed.length > 0) refuse(where, `it names no ${needed.join(' and no ')}`)

  try {
    // parses every key and certificate; the verifier itself is built where it is used
    toTrustMaterial(TrustedRoot.fromJSON(document))
  } catch (error) {
    refuse(where, `a key or certificate in it cannot be read: ${messageOf(error)}`, error)
  }
  return document
}
