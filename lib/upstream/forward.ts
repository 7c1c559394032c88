/**
 * A client's request passed on: search, login, publish and the like. The answer is the upstream's,
 * less what is about its connection or could act in our name.
 */
import { Readable } from 'node:stream'
import { AttestryError, isAttestryError } from '../errors.ts'
import { tarballStream } from './body.ts'
import { faultOf, upstreamError } from './faults.ts'
import type { UpstreamOutcome } from './options.ts'
import { openDeadline } from './retry.ts'
import { mayHoldCredentials, type Route } from './route.ts'
import { isRedirect, type Reply, type Transport, type UpstreamTimeouts } from './transport.ts'
import type { ForwardAnswer, ForwardRequest, Upstream } from './upstream.ts'

/** Headers of a request that a registry reads. */
const asked = new Set([
  'accept',
  'content-type',
  'content-length',
  'content-encoding',
  'if-match',
  'npm-auth-type',
  'npm-command',
])

/** Headers of an answer that a client reads; cookies and what is about the connection are not. */
const answered = new Set([
  'content-type',
  'content-encoding',
  'last-modified',
  'npm-notice',
  'retry-after',
  'www-authenticate',
])

const pick = (
  headers: Readonly<Record<string, string | undefined>>,
  names: ReadonlySet<string>,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && names.has(entry[0].toLowerCase()),
    ),
  )

export type ForwardOptions = {
  readonly upstream: string
  readonly base: URL
  readonly route: Route
  readonly transport: Transport
  readonly timeouts: UpstreamTimeouts
  /** Our own. */
  readonly authorization?: string
  readonly report: (outcome: UpstreamOutcome['outcome'], milliseconds: number) => void
}

/** A token that is revoked stands in the address, and errors tell addresses. */
const revoking = /^-\/(?:user|npm\/v1\/tokens)\/token\//

const outcomeOf = (status: number): UpstreamOutcome['outcome'] =>
  status >= 500 ? 'EUPSTREAM' : status === 404 || status === 410 ? 'missing' : 'found'

export const openForward = (options: ForwardOptions): Upstream['forward'] => {
  const { upstream, base, route, transport, timeouts, authorization, report } = options

  const target = (path: string): URL => {
    const url = URL.parse(path, base.href)
    if (url && !path.startsWith('/') && mayHoldCredentials(route, url)) return url
    throw new AttestryError('EBADREQUEST', 'The address leads outside the upstream.')
  }

  const credentialsOf = ({ credentials }: ForwardRequest): Record<string, string> => {
    if (credentials === 'none') return {}
    if (credentials === 'own') return authorization === undefined ? {} : { authorization }
    const { authorization: theirs, otp } = credentials
    return {
      ...(theirs !== undefined && { authorization: theirs }),
      ...(otp !== undefined && { 'npm-otp': otp }),
    }
  }

  const exchange = async (
    url: URL,
    request: ForwardRequest,
    signal: AbortSignal,
  ): Promise<Reply> => {
    const { method, headers = {}, body } = request
    const credentials = credentialsOf(request)
    const plain = { ...pick(headers, asked), 'accept-encoding': 'identity' }
    if (method === 'GET') return transport.get(url, plain, signal, credentials)
    const reply = await transport.send(
      url,
      {
        method,
        headers: { ...plain, ...credentials },
        headersTimeout: timeouts.write,
        ...(body !== undefined && { body }),
      },
      signal,
    )
    if (!isRedirect(reply.status)) return reply
    reply.body.destroy()
    const what = `answered ${method} with a redirect, which is not followed`
    throw upstreamError('EUPSTREAMDATA', { upstream, url }, what)
  }

  return async (request): Promise<ForwardAnswer> => {
    const url = target(request.path)
    const { bytes, key } = request.limit
    const start = performance.now()
    const deadline = openDeadline(request.slow ? timeouts.write : timeouts.document)
    const signal = request.signal
      ? AbortSignal.any([deadline.signal, request.signal])
      : deadline.signal
    const told = { upstream, url: revoking.test(request.path) ? base : url }
    const tooLarge = () =>
      upstreamError('EUPSTREAMSIZE', told, `more than ${bytes} bytes; the limit is ${key}`, {
        limit: bytes,
        key,
      })
    let begun = false
    try {
      const reply = await exchange(url, request, signal)
      begun = true
      const length = reply.headers['content-length']
      const size = length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined
      if (size !== undefined && size > bytes) {
        reply.body.destroy()
        throw tooLarge()
      }
      const body = tarballStream(reply.body, {
        ...(size !== undefined && { size }),
        limit: bytes,
        tooLarge,
        failed: error => faultOf(error, told, { begun, late: deadline.passed() }).error,
        closed: () => deadline.clear(),
      })
      // it may fail before anybody reads it; reading it then throws the same error
      body.on('error', () => {})
      report(outcomeOf(reply.status), performance.now() - start)
      return { status: reply.status, headers: pick(reply.headers, answered), body }
    } catch (error) {
      deadline.clear()
      // what was not sent to its end must not keep its source waiting
      if (request.body instanceof Readable) request.body.destroy()
      const fault = faultOf(error, told, { begun, late: deadline.passed() }).error
      report(isAttestryError(fault) ? fault.code : 'EINTERNAL', performance.now() - start)
      throw fault
    }
  }
}
