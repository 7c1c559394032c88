/**
 * An identity token by a login in somebody's own browser, at any OIDC issuer: authorization code
 * (RFC 6749, 4.1; OpenID Connect Core 1.0, 3.1) with PKCE S256 (RFC 7636) over a loopback redirect
 * (RFC 8252). No browser is opened here: the address is shown, and whoever reads it opens it.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { AttestryError } from '../errors.ts'
import { readToken } from './identity-token.ts'
import { openCallback } from './login-callback.ts'
import {
  askService,
  checkServiceUrl,
  oneLine,
  readAnswer,
  serviceAddress,
  type ServiceLimits,
} from './service.ts'

export type LoginOptions = {
  /** As its own discovery document writes it. */
  readonly issuer: string
  /** A public client: there is no secret. */
  readonly clientId: string
  /** Told the address to open. */
  readonly show: (url: string) => void
  /** Of each question to the issuer. */
  readonly limits: ServiceLimits
  /** Milliseconds that somebody has to log in. */
  readonly wait?: number
  readonly now?: () => Date
}

export type Endpoints = { readonly authorize: string; readonly token: string }

const WAIT = 5 * 60_000
const service = 'the OIDC issuer'

const refuse = (message: string): never => {
  throw new AttestryError('ESIGNIDENTITY', message)
}

/** 256 bits in 43 characters, as RFC 7636, 4.1 recommends for a verifier. */
const secret = () => randomBytes(32).toString('base64url')
const digest = (text: string) => createHash('sha256').update(text).digest()
const same = (found: string, wanted: string) => timingSafeEqual(digest(found), digest(wanted))

const discovered = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  code_challenge_methods_supported: z.array(z.string()).optional(),
})

/**
 * Of a discovery document (OpenID Connect Discovery 1.0, 4). Throws where it is another issuer's,
 * where an endpoint is not safe, and where it says that S256 is not taken.
 */
export const endpointsOf = (document: unknown, issuer: string): Endpoints => {
  const found = discovered.parse(document)
  const fail = (what: string): never => {
    throw new Error(`its discovery document ${what}`)
  }
  if (found.issuer !== issuer)
    fail(`is that of ${JSON.stringify(found.issuer)}; wanted that of ${issuer}`)
  const { code_challenge_methods_supported: methods } = found
  if (methods !== undefined && !methods.includes('S256')) fail('does not offer PKCE with S256')
  const endpoint = (url: string) => {
    const { href, protocol } = checkServiceUrl(service, url)
    // an issuer elsewhere names nothing on this machine
    if (protocol === 'http:' && !issuer.startsWith('http:')) fail('names an address over http')
    return href
  }
  return {
    authorize: endpoint(found.authorization_endpoint),
    token: endpoint(found.token_endpoint),
  }
}

const discover = async (issuer: string, limits: ServiceLimits): Promise<Endpoints> => {
  const url = serviceAddress(service, issuer, '/.well-known/openid-configuration')
  const answer = await askService({ service, url, method: 'GET' }, limits, [200])
  return readAnswer(service, answer, json => endpointsOf(json, issuer))
}

const addressFor = (endpoint: string, parameters: Readonly<Record<string, string>>): string => {
  const url = new URL(endpoint)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  return url.href
}

/** The authorization code. An answer without our state is not one to our question, error or not. */
const codeOf = (answer: URLSearchParams, state: string): string => {
  if (!same(answer.get('state') ?? '', state))
    refuse('The answer of the browser has another state than was asked with. Log in again.')
  const error = answer.get('error')
  if (error !== null) {
    const said = [error, answer.get('error_description') ?? []].flat().join(': ')
    refuse(`The OIDC issuer did not log anybody in: ${oneLine(said)}`)
  }
  return answer.get('code') || refuse('The answer of the browser has no authorization code.')
}

const exchange = async (
  url: string,
  parameters: Readonly<Record<string, string>> & { code: string; code_verifier: string },
  limits: ServiceLimits,
): Promise<string> => {
  const { code, code_verifier: verifier } = parameters
  const answer = await askService(
    {
      service,
      url,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(parameters).toString(),
      hides: [code, verifier],
    },
    limits,
    [200],
  )
  return readAnswer(
    service,
    answer,
    json => z.object({ id_token: z.string() }).parse(json).id_token,
  )
}

/**
 * What OpenID Connect Core 1.0, 3.1.3.7 has a client check; who signed it is Fulcio's work, and the
 * connection to the issuer says it too.
 */
const checkToken = (
  token: string,
  { issuer, clientId, now = () => new Date() }: LoginOptions,
  nonce: string,
): void => {
  const said = readToken(token, clientId, now())
  if (said.issuer !== issuer)
    refuse(`The identity token is of ${oneLine(said.issuer)}; wanted one of ${issuer}.`)
  if (!said.audiences.includes(clientId))
    refuse(`The identity token is for nobody; wanted one for ${clientId}.`)
  if (!same(said.nonce ?? '', nonce))
    refuse('The identity token has another nonce than was asked with: it is for another login.')
}

/** Throws ESIGNIDENTITY for the login and its token, ESIGNSERVICE for what the issuer answers. */
export const logIn = async (options: LoginOptions): Promise<string> => {
  const { issuer, clientId, show, limits, wait = WAIT } = options
  const { authorize, token: tokenEndpoint } = await discover(issuer, limits)
  const [state, nonce, verifier] = [secret(), secret(), secret()]
  const callback = await openCallback()
  const asked = { client_id: clientId, redirect_uri: callback.url }
  let code: string
  try {
    show(
      addressFor(authorize, {
        ...asked,
        response_type: 'code',
        scope: 'openid email',
        state,
        nonce,
        code_challenge: digest(verifier).toString('base64url'),
        code_challenge_method: 'S256',
      }),
    )
    code = codeOf(await callback.answer(wait), state)
  } finally {
    await callback.close()
  }
  const token = await exchange(
    tokenEndpoint,
    { ...asked, grant_type: 'authorization_code', code, code_verifier: verifier },
    limits,
  )
  checkToken(token, options, nonce)
  return token
}
