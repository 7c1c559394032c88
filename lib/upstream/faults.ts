/** What went wrong on the wire → our error, and whether asking again can help. */
import { AttestryError, isAttestryError, messageOf, type ErrorCode } from '../errors.ts'

/** A failed attempt. `again`: the same request may be made once more. `after`: not before (ms). */
export type Fault = {
  readonly error: AttestryError
  readonly again: boolean
  readonly after?: number
}

export type Asked = { readonly upstream: string; readonly url: URL }

/** A URL fit for messages: no credentials, no query (signed redirects carry secrets there). */
export const shown = (url: URL): string => {
  const text = `${url.origin}${url.pathname}`
  return text.length > 200 ? `${text.slice(0, 197)}...` : text
}

/** Causes are told by code and message only: the raw errors of parsers hold received bytes. */
export const upstreamError = (
  code: ErrorCode,
  { upstream, url }: Asked,
  what: string,
  details: Readonly<Record<string, unknown>> = {},
): AttestryError =>
  new AttestryError(code, `upstream ${upstream}: ${what} (${shown(url)})`, {
    details: { upstream, url: shown(url), ...details },
  })

const timeouts: Readonly<Record<string, string>> = {
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  UND_ERR_BODY_TIMEOUT: 'the answer stopped coming',
}

/** Connections that fail like this may work the next moment. */
const passing = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EAI_AGAIN',
])

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** The first of several connection attempts (one for each address of a name) stands for all. */
const single = (error: unknown): unknown =>
  error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error

/** `begun`: body bytes were already coming. `late`: the deadline for the whole has passed. */
export const faultOf = (
  thrown: unknown,
  asked: Asked,
  { begun, late }: { readonly begun: boolean; readonly late: boolean },
): Fault => {
  const error = single(thrown)
  if (isAttestryError(error)) return { error, again: false }
  const cause = codeOf(error)
  const fault = (code: ErrorCode, what: string, again: boolean, details = {}): Fault => ({
    error: upstreamError(code, asked, what, { ...(cause && { cause }), ...details }),
    again,
  })
  if (late) return fault('EUPSTREAMTIMEOUT', 'the answer took too long altogether', false)
  if (cause in timeouts)
    return fault('EUPSTREAMTIMEOUT', timeouts[cause] ?? cause, passing.has(cause))
  const unparsed = error instanceof Error && error.name === 'HTTPParserError'
  if (unparsed || cause === 'UND_ERR_HEADERS_OVERFLOW')
    return fault('EUPSTREAMDATA', 'the answer is not HTTP', false)
  if (begun)
    return fault('EUPSTREAM', 'the answer broke off before its end', true, { truncated: true })
  return fault('EUPSTREAM', messageOf(error).slice(0, 200), passing.has(cause))
}

/** Seconds or a date (RFC 9110 10.2.3) → milliseconds from `now`. */
export const retryAfter = (value: string | undefined, now: number): number | undefined => {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

const passingStatus = new Set([408, 425, 429, 500, 502, 503, 504])

/** A status that is no answer: everything but 2xx, 304, 404, 410 and redirects. */
export const statusFault = (status: number, after: number | undefined, asked: Asked): Fault => {
  const details = {
    status,
    ...(after !== undefined && { retryAfter: Math.ceil(after / 1000) }),
  }
  if (status === 401 || status === 403 || status === 407) {
    const what = `answered ${status}: it does not let us in`
    return { error: upstreamError('EUPSTREAMAUTH', asked, what, details), again: false }
  }
  const code = status < 300 ? 'EUPSTREAMDATA' : 'EUPSTREAM'
  return {
    error: upstreamError(code, asked, `answered ${status}`, details),
    again: passingStatus.has(status),
    ...(after !== undefined && { after }),
  }
}
