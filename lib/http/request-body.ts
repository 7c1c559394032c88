/** What clients send: documents into one buffer, packages as a stream; both bounded. */
import { Transform, type Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'

export type Bound = {
  /** Bytes. */
  readonly limit: number
  /** The setting that says so. */
  readonly key: string
}

/** Milliseconds a client may take to send a document. */
const PATIENCE = 60_000

/** npm and Bun send gzip; pnpm 12 takes zstd, and may send it one day. */
type Decode = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>
const decoders = new Map<string, Decode>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['zstd', promisify(zstdDecompress)],
])

const tooLarge = ({ limit, key }: Bound): AttestryError =>
  new AttestryError(
    'ETOOLARGE',
    `The request has more than ${limit} bytes; the limit is ${key}.`,
    {
      details: { limit, key },
    },
  )

const checkAnnounced = (ctx: Context, bound: Bound): void => {
  if (ctx.request.length !== undefined && ctx.request.length > bound.limit)
    throw tooLarge(bound)
}

/** Nothing more is read for us; what still comes is let go, so that the answer can be. */
export const letGo = (ctx: Context): void => {
  ctx.req.unpipe()
  ctx.req.resume()
}

/**
 * The whole body as JSON; gzip or zstd is taken off. The limit holds before and after. Throws ETOOLARGE or
 * EBADREQUEST.
 */
export const readJson = async (ctx: Context, bound: Bound): Promise<unknown> => {
  checkAnnounced(ctx, bound)
  const encoding = ctx.get('content-encoding').toLowerCase() || 'identity'
  const decode = decoders.get(encoding)
  if (!decode && encoding !== 'identity')
    throw new AttestryError('EBADREQUEST', 'The body may be gzip or zstd, and nothing else.')
  const bad = (what: string, cause?: unknown) =>
    new AttestryError('EBADREQUEST', `The body ${what}.`, { cause })
  const chunks: Buffer[] = []
  let size = 0
  const timer = setTimeout(() => ctx.req.destroy(), PATIENCE)
  try {
    // not destroyed at the end of the loop: the answer goes over the same connection
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
      size += (chunk as Buffer).length
      if (size > bound.limit) throw tooLarge(bound)
      chunks.push(chunk as Buffer)
    }
  } catch (error) {
    throw error instanceof AttestryError ? error : bad('broke off', error)
  } finally {
    clearTimeout(timer)
  }
  const whole = Buffer.concat(chunks)
  const text = decode
    ? await decode(whole, { maxOutputLength: bound.limit }).catch((error: unknown) => {
        const code = (error as NodeJS.ErrnoException).code
        throw code === 'ERR_BUFFER_TOO_LARGE'
          ? tooLarge(bound)
          : bad(`is not ${encoding}`, error)
      })
    : whole
  try {
    return JSON.parse(text.toString('utf8'))
  } catch (error) {
    throw bad('is not JSON', error)
  }
}

/**
 * The body as it comes, ending in ETOOLARGE at the limit, in what `check` says of a piece before that
 * is passed on, and in an error when the client goes.
 */
export const openBody = (
  ctx: Context,
  bound: Bound,
  check: (chunk: Buffer) => Error | undefined = () => undefined,
): Readable => {
  checkAnnounced(ctx, bound)
  let size = 0
  const bounded = new Transform({
    transform(chunk: Buffer, _, done) {
      size += chunk.length
      const wrong = size > bound.limit ? tooLarge(bound) : check(chunk)
      if (wrong) done(wrong)
      else done(null, chunk)
    },
  })
  ctx.req.once('error', error => bounded.destroy(error))
  ctx.req.once('close', () => {
    if (!ctx.req.readableEnded) bounded.destroy(new Error('the client went away'))
  })
  // told where the body is read
  bounded.on('error', () => letGo(ctx))
  return ctx.req.pipe(bounded)
}

/** Does the request bring a body, however long? */
export const hasBody = (ctx: Context): boolean =>
  ctx.get('transfer-encoding') !== '' || (ctx.request.length ?? 0) > 0
