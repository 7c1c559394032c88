/**
 * OIDC identity tokens for Fulcio: given, or from where a CI system keeps them. A token is sent
 * nowhere unless it was made for this: its audience must be the one Fulcio asks for.
 */
import { z } from 'zod'
import { AttestryError } from '../errors.ts'
import { askService, readAnswer, type ServiceLimits } from './service.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** What Fulcio, and everybody else who signs with it, asks for. */
export const defaultAudience = 'sigstore'

export type TokenClaims = {
  readonly issuer: string
  /** What Fulcio wants signed in proof of the key: the e-mail address where there is one, else `sub`. */
  readonly subject: string
  /** Who it is for; none where it does not say. */
  readonly audiences: readonly string[]
  /** What the login was asked with. */
  readonly nonce?: string
}

const refuse = (message: string): never => {
  throw new AttestryError('ESIGNIDENTITY', message)
}

const claims = z.object({
  iss: z.string(),
  sub: z.string().optional(),
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  exp: z.number().optional(),
  nonce: z.string().optional(),
  email: z.string().optional(),
  email_verified: z.union([z.boolean(), z.literal('true'), z.literal('false')]).optional(),
})

/** Unverified: that is Fulcio's work. Throws ESIGNIDENTITY, without a part of the token. */
export const readToken = (
  token: string,
  audience: string | undefined,
  now: Date,
): TokenClaims => {
  const parse = () => {
    try {
      const part = token.split('.', 3)[1] ?? ''
      return claims.parse(JSON.parse(Buffer.from(part, 'base64url').toString('utf8')))
    } catch {
      return refuse('The identity token is no JSON Web Token with an issuer.')
    }
  }
  const { iss, sub, aud, exp, nonce, email, email_verified: verified } = parse()
  const audiences = [aud ?? []].flat()
  if (audience !== undefined && aud !== undefined && !audiences.includes(audience))
    refuse(`The identity token is for ${audiences.join(', ')}; wanted one for ${audience}.`)
  if (exp !== undefined && exp * 1000 <= now.getTime())
    refuse(`The identity token ended at ${new Date(exp * 1000).toISOString()}.`)
  if (email !== undefined && verified !== true && verified !== 'true')
    refuse('The identity token names an e-mail address that its issuer has not verified.')
  const subject = email ?? sub ?? refuse('The identity token names neither subject nor e-mail.')
  return { issuer: iss, subject, audiences, ...(nonce !== undefined && { nonce }) }
}

/**
 * Where CI systems leave a token, first one first: SIGSTORE_ID_TOKEN (GitLab's `id_tokens`,
 * CircleCI's `circleci run oidc get`, and whatever cosign's users set), GitHub Actions' endpoint,
 * CIRCLE_OIDC_TOKEN_V2. None: undefined.
 */
export const ambientToken = async (
  env: Env,
  audience: string,
  limits: ServiceLimits,
): Promise<string | undefined> => {
  const set = (name: string) => env[name]?.trim() || undefined
  const given = set('SIGSTORE_ID_TOKEN')
  if (given !== undefined) return given
  const url = set('ACTIONS_ID_TOKEN_REQUEST_URL')
  const bearer = set('ACTIONS_ID_TOKEN_REQUEST_TOKEN')
  if (url !== undefined && bearer !== undefined) {
    const service = 'GitHub Actions'
    const address = URL.parse(url) ?? refuse('ACTIONS_ID_TOKEN_REQUEST_URL is no address.')
    address.searchParams.set('audience', audience)
    const answer = await askService(
      {
        service,
        url: address.href,
        method: 'GET',
        headers: { authorization: `Bearer ${bearer}` },
      },
      limits,
    )
    return readAnswer(
      service,
      answer,
      json => z.object({ value: z.string() }).parse(json).value,
    )
  }
  return set('CIRCLE_OIDC_TOKEN_V2')
}
