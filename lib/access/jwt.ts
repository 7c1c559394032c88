/** JSON web tokens (RFC 7519), signed with RS256 or ES256 (RFC 7518 3.3, 3.4): taken apart and checked. */
import { createPublicKey, verify, type KeyObject } from 'node:crypto'

export type Claims = Readonly<Record<string, unknown>>

export type Jwt = {
  readonly algorithm: string
  readonly keyId?: string
  readonly claims: Claims
  readonly signed: Buffer
  readonly signature: Buffer
}

/** Characters; those that CI services make have one or two thousand. */
const MAX = 12_000
/** Milliseconds by which clocks may differ. */
const SKEW = 60_000
const MIN_RSA_BITS = 2048

const record = (value: unknown): Claims | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Claims)
    : undefined

const part = (text: string): Claims | undefined => {
  try {
    return record(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch {
    return undefined
  }
}

/** Undefined when it is not one; nothing in it is proven. */
export const parseJwt = (text: string): Jwt | undefined => {
  const match = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(text.length > MAX ? '' : text)
  if (!match) return undefined
  const [, first = '', second = '', third = ''] = match
  const header = part(first)
  const claims = part(second)
  const algorithm = header?.['alg']
  // a `crit` names extensions that must be understood (RFC 7515 4.1.11); we know none
  if (!header || !claims || typeof algorithm !== 'string' || 'crit' in header) return undefined
  const keyId = header['kid']
  return {
    algorithm,
    ...(typeof keyId === 'string' && { keyId }),
    claims,
    signed: Buffer.from(`${first}.${second}`),
    signature: Buffer.from(third, 'base64url'),
  }
}

/** A key of a JWK set (RFC 7517) for one algorithm only: what a token's header says never chooses it. */
export type IssuerKey = {
  readonly keyId?: string
  readonly algorithm: 'RS256' | 'ES256'
  readonly key: KeyObject
}

const keyOf = (jwk: Claims): IssuerKey | undefined => {
  const { kty, crv, alg, use, kid } = jwk
  const algorithm =
    kty === 'RSA' ? 'RS256' : kty === 'EC' && crv === 'P-256' ? 'ES256' : undefined
  if (!algorithm || (alg !== undefined && alg !== algorithm)) return undefined
  if (use !== undefined && use !== 'sig') return undefined
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const bits = key.asymmetricKeyDetails?.modulusLength ?? MIN_RSA_BITS
    if (bits < MIN_RSA_BITS) return undefined
    return { algorithm, key, ...(typeof kid === 'string' && { keyId: kid }) }
  } catch {
    return undefined
  }
}

/** The usable keys of a JWK set; undefined when the document is none. */
export const keysOf = (document: unknown): readonly IssuerKey[] | undefined => {
  const keys = record(document)?.['keys']
  if (!Array.isArray(keys)) return undefined
  return keys.flatMap(jwk => {
    const key = keyOf(record(jwk) ?? {})
    return key ? [key] : []
  })
}

export const fitsKey = (jwt: Jwt, { keyId, algorithm }: IssuerKey): boolean =>
  algorithm === jwt.algorithm && (jwt.keyId === undefined || jwt.keyId === keyId)

/** Any throw means that it does not verify. */
export const isSignedBy = (
  { signed, signature }: Jwt,
  { key, algorithm }: IssuerKey,
): boolean => {
  try {
    return algorithm === 'RS256'
      ? verify('sha256', signed, key, signature)
      : verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
  } catch {
    return false
  }
}

const time = (value: unknown) => (typeof value === 'number' ? value * 1000 : Number.NaN)

/** What speaks against the claims every token must have; `exp` is required. */
export const claimsFault = (
  { iss, aud, exp, nbf, iat }: Claims,
  wanted: { readonly issuer: string; readonly audience: string; readonly now: number },
): string | undefined => {
  if (iss !== wanted.issuer) return 'it is of another issuer'
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.includes(wanted.audience)) return 'it was made for another audience'
  if (!(time(exp) + SKEW > wanted.now)) return 'it has expired, or says no time'
  if (nbf !== undefined && !(time(nbf) - SKEW <= wanted.now)) return 'its time has not come'
  if (iat !== undefined && !(time(iat) - SKEW <= wanted.now)) return 'it was made in the future'
  return undefined
}
