/** Reading a reply by its status, the same for all requests. */
import type { ErrorCode } from '../errors.ts'
import { upstreamError } from './faults.ts'
import type { UpstreamLimits, UpstreamRequest } from './options.ts'
import type { Attempt } from './retry.ts'
import { refusal, type Reply } from './transport.ts'

/** What reading a reply needs to know. */
export type Reading = {
  readonly upstream: string
  readonly limits: UpstreamLimits
  readonly request: UpstreamRequest
}

export type NoContent = { readonly kind: 'missing' } | { readonly kind: 'not-modified' }

/** undefined when the reply is the thing itself; else what it means. Reads off the body then. */
export const withoutContent = async (
  reply: Reply,
  { upstream }: Reading,
  conditional: boolean,
): Promise<Attempt<NoContent> | undefined> => {
  const { status, body } = reply
  if (status === 200) return undefined
  const kind =
    status === 404 || status === 410
      ? 'missing'
      : status === 304 && conditional
        ? 'not-modified'
        : undefined
  if (kind === undefined) return { fault: await refusal(reply, upstream) }
  await body.dump().catch(() => body.destroy())
  return { value: { kind } }
}

/** The reply is no use: lets go of the connection. */
export const dropReply = (
  reply: Reply,
  { upstream }: Reading,
  code: ErrorCode,
  what: string,
): Attempt<never> => {
  reply.body.destroy()
  const error = upstreamError(code, { upstream, url: reply.url }, what)
  return { fault: { error, again: false } }
}

export const tooLargeError = ({ upstream, limits, request }: Reading, url: URL) =>
  upstreamError(
    'EUPSTREAMSIZE',
    { upstream, url },
    `more than ${limits[request]} bytes; the limit is limits.${request}`,
    { limit: limits[request], key: `limits.${request}` },
  )

/** content-length, where it was told; more than the limit is refused before a byte is read. */
export const announcedSize = (reply: Reply, reading: Reading): number | undefined => {
  const text = reply.headers['content-length']
  const size = text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
  if (size === undefined || size <= reading.limits[reading.request]) return size
  reply.body.destroy()
  throw tooLargeError(reading, reply.url)
}
