/**
 * One request to a service that takes part in signing: https or loopback only, a time and a size
 * limit, no redirects (a request may carry an identity token), and no word of the request in what
 * is told of its failure.
 */
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import { version } from '../version.ts'

export type ServiceLimits = {
  /** Milliseconds for one request, altogether. */
  readonly timeout: number
  /** Bytes of an answer. */
  readonly size: number
}

/** Rekor v2 answers when the entry is in the tree, which may take ten seconds and more. */
export const serviceLimits: ServiceLimits = { timeout: 30_000, size: 1024 * 1024 }

export type ServiceRequest = {
  /** As in errors: `Fulcio`, `Rekor`, `the timestamp authority`. */
  readonly service: string
  readonly url: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Parts of the request, beside tokens, that must not come back in what is told. */
  readonly hides?: readonly string[]
}

export type ServiceAnswer = {
  readonly status: number
  readonly location?: string
  readonly body: Buffer
}

const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** Throws EUSAGE: what travels there must be seen by nobody else. */
export const checkServiceUrl = (service: string, url: string): URL => {
  const parsed = URL.parse(url)
  const secure =
    parsed?.protocol === 'https:' ||
    (parsed?.protocol === 'http:' && loopback.test(parsed.hostname))
  if (parsed === null || !secure || parsed.username !== '' || parsed.password !== '')
    throw new AttestryError(
      'EUSAGE',
      `${service}: found ${JSON.stringify(url)}; wanted an https address without credentials (http for this machine only)`,
    )
  return parsed
}

/** `path` behind the service's address, whose own path stays. */
export const serviceAddress = (service: string, base: string, path: string): string => {
  const url = checkServiceUrl(service, base)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${path}`
  return url.href
}

/** Of somebody else's text what a terminal can show in a line; at most 300 characters. */
export const oneLine = (text: string): string =>
  text.replaceAll(/[\s\p{C}]+/gu, ' ').slice(0, 300)

/** What the service says is wrong, if it says so in JSON: its own way, or as OAuth 2.0 has it. */
const complaintOf = (body: Buffer): string => {
  try {
    const said = JSON.parse(body.toString('utf8')) as Record<string, unknown>
    const text = [said['message'], said['error_description'], said['error']].find(
      part => typeof part === 'string',
    )
    return text === undefined ? '' : `: ${oneLine(text)}`
  } catch {
    return ''
  }
}

/** Whatever came back must not tell what was sent: no JSON web token, no bearer token. */
const cleaned = (text: string, { headers, hides = [] }: ServiceRequest): string => {
  const bearer = headers?.['authorization']?.replace(/^Bearer /, '') ?? ''
  return [bearer, ...hides]
    .filter(part => part !== '')
    .reduce(
      (clean, part) => clean.replaceAll(part, '[hidden]'),
      text.replaceAll(/[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, '[hidden]'),
    )
}

/** Any answer but these is an error: ESIGNSERVICE, with what the service said. */
export const askService = async (
  asked: ServiceRequest,
  limits: ServiceLimits,
  takes: readonly number[] = [200, 201],
): Promise<ServiceAnswer> => {
  const { service, url, method = 'POST', headers, body } = asked
  const fail = (why: string, cause?: unknown) => {
    const message = `${service} (${new URL(url).host}): ${cleaned(why, asked)}`
    return new AttestryError('ESIGNSERVICE', message, { cause })
  }
  checkServiceUrl(service, url)
  try {
    const { request } = await import('undici')
    const response = await request(url, {
      method,
      headers: { accept: 'application/json', 'user-agent': `attestry/${version}`, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : Buffer.from(body) }),
      signal: AbortSignal.timeout(limits.timeout),
    })
    const chunks: Buffer[] = []
    let total = 0
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      total += chunk.length
      if (total > limits.size) throw fail(`its answer has more than ${limits.size} bytes`)
      chunks.push(chunk)
    }
    const answered = Buffer.concat(chunks)
    const { statusCode: status } = response
    if (!takes.includes(status)) throw fail(`it answered ${status}${complaintOf(answered)}`)
    const { location } = response.headers
    return { status, body: answered, ...(typeof location === 'string' && { location }) }
  } catch (error) {
    if (isAttestryError(error)) throw error
    const timedOut = error instanceof Error && error.name === 'TimeoutError'
    throw fail(timedOut ? `no answer within ${limits.timeout} ms` : messageOf(error), error)
  }
}

/** The body as JSON; `read` may throw whatever it likes about it. */
export const readAnswer = <T>(
  service: string,
  { body }: ServiceAnswer,
  read: (json: unknown) => T,
): T => {
  try {
    return read(JSON.parse(body.toString('utf8')))
  } catch (error) {
    // a syntax error cites what it found, which may be a part of a token
    const why = error instanceof SyntaxError ? 'it is no JSON' : messageOf(error)
    throw new AttestryError('ESIGNSERVICE', `${service}: its answer cannot be read: ${why}`, {
      cause: error,
    })
  }
}
