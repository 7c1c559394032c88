/**
 * Who may use the server. A credential is a token of ours or one that a configured OIDC issuer made;
 * what is neither is nobody's business here where access is anonymous (it may be meant for an
 * upstream), and refused with 401 where tokens are asked for.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import { globMatches } from '../policy/glob.ts'
import type { Records } from '../store/store.ts'
import { anonymous, type Caller } from './caller.ts'
import { openIssuerKeys, type FetchDocument } from './issuer-keys.ts'
import { claimsFault, isSignedBy, parseJwt, type Claims, type Jwt } from './jwt.ts'
import { openTokens, tokenPrefix } from './tokens.ts'

export type Issuer = {
  readonly issuer: string
  readonly audience: string
  /** Each claim must match one of its patterns. */
  readonly claims: Readonly<Record<string, readonly string[]>>
  readonly view?: string | undefined
}

export type AccessOptions = {
  readonly records: Records
  readonly mode: 'anonymous' | 'tokens'
  readonly issuers: Readonly<Record<string, Issuer>>
  /** What metrics ask for; open without it. */
  readonly adminToken?: string
  readonly fetchDocument: FetchDocument
  readonly now: () => Date
}

export type Access = ReturnType<typeof openAccess>

/** Everything in a claim that can be compared as text. */
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string'
    ? value
    : typeof value === 'number' || typeof value === 'boolean'
      ? String(value)
      : undefined

const fits = (claims: Claims, wanted: Issuer['claims']): boolean =>
  Object.entries(wanted).every(([name, patterns]) => {
    const text = Object.hasOwn(claims, name) ? textOf(claims[name]) : undefined
    return text !== undefined && patterns.some(pattern => globMatches(pattern, text))
  })

/** What is in an Authorization header: a bearer token, or the password of basic authentication. */
export const credentialOf = (authorization: string | undefined): string | undefined => {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)\s*$/.exec(authorization ?? '') ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') return undefined
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon === -1 ? undefined : text.slice(colon + 1)
}

const refused = (message: string) => new AttestryError('EUNAUTHORIZED', message)

const digest = (text: string) => createHash('sha256').update(text).digest()

export const openAccess = (options: AccessOptions) => {
  const { records, mode, adminToken, fetchDocument, now } = options
  const tokens = openTokens(records, now)
  const issuers = Object.entries(options.issuers)
  const keys = new Map(
    issuers.map(([, { issuer }]) => [issuer, openIssuerKeys(issuer, { fetchDocument, now })]),
  )

  const byOidc = async (jwt: Jwt): Promise<Caller> => {
    const named = issuers.filter(([, { issuer }]) => issuer === jwt.claims['iss'])
    const [first] = named
    const keysFor = first && keys.get(first[1].issuer)
    if (!first || !keysFor) throw refused('The token is of an issuer that is not configured.')
    const signed = (await keysFor(jwt)).some(key => isSignedBy(jwt, key))
    if (!signed) throw refused("The token's signature does not verify.")
    let fault = 'its claims fit none of the issuers configured'
    for (const [name, wanted] of named) {
      const { issuer, audience, claims, view } = wanted
      const wrong = claimsFault(jwt.claims, { issuer, audience, now: now().getTime() })
      if (wrong) fault = wrong
      else if (fits(jwt.claims, claims)) {
        const subject = textOf(jwt.claims['sub'])?.slice(0, 200) ?? 'nobody'
        return { kind: 'oidc', name: `${name}:${subject}`, ...(view !== undefined && { view }) }
      }
    }
    throw refused(`The token is not taken: ${fault}.`)
  }

  const byToken = async (token: string): Promise<Caller> => {
    const found = await tokens.find(token)
    if (!found) throw refused('The token is unknown, revoked or expired.')
    const { name, view } = found
    return { kind: 'token', name, ...(view !== undefined && { view }) }
  }

  return {
    mode,
    /**
     * Throws EUNAUTHORIZED, or EISSUER when an issuer's keys could not be had. `ours`: the
     * credential was meant for us and must go no further.
     */
    identify: async (
      authorization: string | undefined,
    ): Promise<{ readonly caller: Caller; readonly ours: boolean }> => {
      const credential = credentialOf(authorization)
      if (credential?.startsWith(tokenPrefix) === true)
        return { caller: await byToken(credential), ours: true }
      const jwt = credential === undefined ? undefined : parseJwt(credential)
      if (jwt && (mode === 'tokens' || keys.has(String(jwt.claims['iss']))))
        return { caller: await byOidc(jwt), ours: true }
      if (mode === 'anonymous') return { caller: anonymous, ours: false }
      throw refused(
        credential === undefined
          ? 'This registry asks for a token, and the request brought none.'
          : 'The credential is no token of this registry.',
      )
    },

    /** For what only operators may see; `strictly`: where no token is set, nobody may. */
    checkAdmin: (authorization: string | undefined, strictly = false): void => {
      if (adminToken === undefined) {
        if (strictly)
          throw refused('Set server.adminToken: this address is for nobody without it.')
        return
      }
      const credential = credentialOf(authorization) ?? ''
      if (!timingSafeEqual(digest(credential), digest(adminToken)))
        throw refused('This address asks for server.adminToken.')
    },
  }
}
