/**
 * The keys an OIDC issuer signs with now: discovery document, then JWK set (OpenID Connect Discovery
 * 1.0, 4). Held for an hour; a key that is not among them is looked for once in a while, because
 * issuers change keys; when the issuer does not answer the last ones hold for a day.
 */
import { AttestryError, messageOf } from '../errors.ts'
import { fitsKey, keysOf, type IssuerKey, type Jwt } from './jwt.ts'

/** GET a JSON document; throws AttestryError when it cannot be had. */
export type FetchDocument = (url: string) => Promise<unknown>

const TTL = 3_600_000
const LAST_WORD = 86_400_000
/** Milliseconds between two looks, whatever tokens come: nobody can make us ask without end. */
const PAUSE = 30_000

const unavailable = (issuer: string, why: string, cause?: unknown) =>
  new AttestryError('EISSUER', `The keys of ${issuer} could not be had: ${why}.`, { cause })

const LOOPBACK = /^http:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?\//

/** Keys come over TLS; over plain HTTP only where the issuer itself is on this machine. */
const isSafe = (url: string, issuer: string) =>
  url.startsWith('https://') || (LOOPBACK.test(url) && issuer.startsWith('http://'))

const discover = async (issuer: string, fetchDocument: FetchDocument) => {
  const at = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
  const found = (await fetchDocument(at)) as { issuer?: unknown; jwks_uri?: unknown } | null
  if (found?.issuer !== issuer)
    throw unavailable(issuer, 'its discovery document names another issuer')
  const { jwks_uri: uri } = found
  if (typeof uri !== 'string' || !isSafe(uri, issuer))
    throw unavailable(issuer, 'its discovery document names no https address of keys')
  const keys = keysOf(await fetchDocument(uri))
  if (!keys) throw unavailable(issuer, 'its keys document is not a JWK set')
  return keys
}

export const openIssuerKeys = (
  issuer: string,
  { fetchDocument, now }: { readonly fetchDocument: FetchDocument; readonly now: () => Date },
) => {
  let held: { readonly keys: readonly IssuerKey[]; readonly at: number } | undefined
  let failure: { readonly error: unknown; readonly at: number } | undefined
  let asked = Number.NEGATIVE_INFINITY
  let flight: Promise<void> | undefined

  const refresh = (): Promise<void> => {
    asked = now().getTime()
    flight ??= discover(issuer, fetchDocument)
      .then(keys => {
        held = { keys, at: now().getTime() }
        failure = undefined
      })
      .catch((error: unknown) => {
        failure = { error, at: now().getTime() }
      })
      .finally(() => {
        flight = undefined
      })
    return flight
  }

  /** The keys that may have signed this token. Throws EISSUER when nobody can tell. */
  return async (jwt: Jwt): Promise<readonly IssuerKey[]> => {
    const fitting = () => held?.keys.filter(key => fitsKey(jwt, key)) ?? []
    const old = () => (held ? now().getTime() - held.at : Number.POSITIVE_INFINITY)
    if (flight) await flight
    const wanted = old() > TTL || fitting().length === 0
    if (wanted && now().getTime() - asked > PAUSE) await refresh()
    if (old() <= LAST_WORD && (fitting().length > 0 || !failure)) return fitting()
    throw unavailable(
      issuer,
      messageOf(failure?.error ?? 'they were asked for a moment ago'),
      failure?.error,
    )
  }
}
