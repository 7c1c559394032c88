/** One request on the wire: connections, headers, redirects. Knows nothing of packages. */
import type { Readable } from 'node:stream'
import { getCACertificates } from 'node:tls'
import type { Dispatcher } from 'undici'
import { guardedLookup } from './addresses.ts'
import { statusFault, upstreamError, retryAfter, type Fault } from './faults.ts'
import { instanceHeader, isLoopAnswer, loopError, viaHeader } from './loop.ts'
import { readBody } from './body.ts'
import {
  isConfigured,
  maxRedirects,
  mayHoldCredentials,
  redirectTarget,
  type Route,
} from './route.ts'

/** Milliseconds. */
export type UpstreamTimeouts = {
  readonly connect: number
  /** Until the answer begins. */
  readonly headers: number
  /** Between two pieces of the answer. */
  readonly idle: number
  /** A document altogether, with all attempts. */
  readonly document: number
  /** A tarball altogether. */
  readonly tarball: number
  /** A request passed on with a body: until the answer begins, and altogether. */
  readonly write: number
}

export type TransportOptions = {
  readonly route: Route
  readonly timeouts: UpstreamTimeouts
  readonly connections: number
  /** PEM, added to the usual authorities. */
  readonly ca?: string
  readonly userAgent: string
  readonly self?: string
  readonly authorization?: string
}

export type Reply = {
  readonly url: URL
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Dispatcher.ResponseData['body']
}

/** A request that changes something, or has a body. */
export type Outgoing = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer | Readable
  /** Milliseconds until the answer begins, in place of the usual. */
  readonly headersTimeout?: number
}

export type Transport = {
  /**
   * Resolves with any answer that is not a redirect; rejects with AttestryError or what undici
   * throws. The headers `as` take the place of our own credentials, and go where those may go.
   */
  get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    as?: Readonly<Record<string, string>>,
  ): Promise<Reply>
  /** As it is, with the headers given and no others' credentials. A redirect is an answer. */
  send(url: URL, outgoing: Outgoing, signal: AbortSignal): Promise<Reply>
  close(): Promise<void>
}

const redirects = new Set([301, 302, 303, 307, 308])
export const isRedirect = (status: number): boolean => redirects.has(status)

/** Error and redirect bodies are read this far, to keep the connection. */
const leftover = 64 * 1024

/** Who we are, on every request. */
const identify =
  (headers: Readonly<Record<string, string>>): Dispatcher.DispatcherComposeInterceptor =>
  dispatch =>
  (options, handler) =>
    dispatch({ ...options, headers: { ...(options.headers as object), ...headers } }, handler)

const one = (value: string | string[] | undefined) => (Array.isArray(value) ? value[0] : value)

/**
 * Milliseconds until the client library is loaded though nothing was asked: loading it takes a tenth
 * of a server's start, and the first answer needs none of it.
 */
const LOAD = 500

export const openTransport = (options: TransportOptions): Transport => {
  const { route, timeouts, connections, ca, userAgent, self, authorization } = options
  const identity = identify({
    'user-agent': userAgent,
    ...(self && { [viaHeader]: self }),
  })
  const open = async (lookup: object) => {
    const { Agent } = await import('undici')
    return new Agent({
      connections,
      pipelining: 1,
      allowH2: false,
      headersTimeout: timeouts.headers,
      bodyTimeout: timeouts.idle,
      keepAliveTimeout: 10_000,
      connect: {
        timeout: timeouts.connect,
        ...(ca !== undefined && { ca: [...getCACertificates('default'), ca] }),
        ...lookup,
      },
    })
  }
  const ours: Record<string, string> = authorization === undefined ? {} : { authorization }
  let closed = false
  const openAgents = async () => {
    const configured = await open({})
    const foreign = await open({ lookup: guardedLookup(route.kinds) })
    const close = () => Promise.all([configured.destroy(), foreign.destroy()])
    if (closed) await close()
    return { own: configured.compose(identity), guarded: foreign.compose(identity), close }
  }
  let agents: ReturnType<typeof openAgents> | undefined
  // what fails here fails again where somebody waits for it
  const early = setTimeout(() => void (agents ??= openAgents()).catch(() => undefined), LOAD)
  early.unref()

  const send = async (url: URL, outgoing: Outgoing, signal: AbortSignal): Promise<Reply> => {
    const { method, headers, body: sent, headersTimeout } = outgoing
    const { own, guarded } = await (agents ??= openAgents())
    const {
      statusCode,
      headers: raw,
      body,
    } = await (isConfigured(route, url) ? own : guarded).request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers,
      signal,
      ...(sent !== undefined && { body: sent }),
      ...(headersTimeout !== undefined && { headersTimeout }),
    })
    // an abort is told through the promise or the reader; nobody may be listening in between
    body.on('error', () => {})
    const flat = Object.fromEntries(Object.entries(raw).map(([k, v]) => [k, one(v)]))
    if (self !== undefined && flat[instanceHeader] === self) {
      body.destroy()
      throw loopError(route.upstream, route.base.href)
    }
    return { url, status: statusCode, headers: flat, body }
  }

  return {
    send,
    get: async (start, headers, signal, as = ours) => {
      let url = start
      let trusted = true
      for (let hops = 0; ; hops++) {
        // once outside, never again: a redirect back is not our request any more
        trusted &&= mayHoldCredentials(route, url)
        const sent = trusted ? { ...headers, ...as } : headers
        const reply = await send(url, { method: 'GET', headers: sent }, signal)
        if (!isRedirect(reply.status)) return reply
        await reply.body.dump({ limit: leftover, signal }).catch(() => reply.body.destroy())
        if (hops === maxRedirects) {
          const asked = { upstream: route.upstream, url: start }
          throw upstreamError('EUPSTREAMDATA', asked, `more than ${maxRedirects} redirects`)
        }
        url = await redirectTarget(route, url, reply.headers['location'])
      }
    },
    close: async () => {
      closed = true
      clearTimeout(early)
      const opened = await agents?.catch(() => undefined)
      await opened?.close()
    },
  }
}

/** What an answer that carries nothing for us means; reads off its body. */
export const refusal = async (reply: Reply, upstream: string): Promise<Fault> => {
  const asked = { upstream, url: reply.url }
  const tooLarge = () => upstreamError('EUPSTREAMSIZE', asked, 'the error is too long')
  if (reply.status === 508) {
    const body = readBody(reply.body, { encoding: 'identity', limit: leftover, tooLarge })
    if (isLoopAnswer(await body.catch(() => Buffer.alloc(0))))
      return { error: loopError(upstream, reply.url.origin), again: false }
  } else {
    await reply.body.dump({ limit: leftover }).catch(() => reply.body.destroy())
  }
  return statusFault(reply.status, retryAfter(reply.headers['retry-after'], Date.now()), asked)
}
