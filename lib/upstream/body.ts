/** Response bodies: documents into one buffer, tarballs as a stream; both bounded while they come. */
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as breathe } from 'node:timers/promises'
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createZstdDecompress,
  gunzipSync,
} from 'node:zlib'
import type { AttestryError } from '../errors.ts'

/** What a document may be compressed with; anything else is an error, and nothing is done twice. */
export const documentEncodings = 'gzip, br, zstd'

const chunkSize = 64 * 1024

const decoders = {
  gzip: () => createGunzip({ chunkSize }),
  'x-gzip': () => createGunzip({ chunkSize }),
  br: () => createBrotliDecompress({ chunkSize }),
  zstd: () => createZstdDecompress({ chunkSize }),
} as const

export type Encoding = keyof typeof decoders | 'identity'

/** The one encoding named, or undefined for any that we did not ask for. */
export const encodingOf = (header: string | undefined): Encoding | undefined => {
  const name = (header ?? 'identity').trim().toLowerCase() || 'identity'
  return name === 'identity' || Object.hasOwn(decoders, name) ? (name as Encoding) : undefined
}

/** Errors of a decoder: the bytes came, and they are not what the encoding says. */
export const isDecodingError = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  /^(Z_(?!BUF_ERROR)|ERR_BROTLI|ERR_ZSTD|ZSTD_error|ERR__ERROR|ERR_PADDING)/.test(error.code)

/** Up to here, packed and unpacked, the thread does at once what a stream would take many turns for. */
const small = { packed: 64 * 1024, unpacked: 512 * 1024 }

/** Undefined where either is more than small. Throws what zlib throws. */
export const unpackSmall = (packed: Buffer): Buffer | undefined => {
  if (packed.length > small.packed) return undefined
  try {
    return gunzipSync(packed, { maxOutputLength: small.unpacked })
  } catch (error) {
    if (error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE')
      return undefined
    throw error
  }
}

export type ReadBodyOptions = {
  readonly encoding: Encoding
  readonly limit: number
  readonly tooLarge: () => AttestryError
}

/** What was read, decoded, and the gzip it came in, where it did. */
export type Body = { readonly bytes: Buffer; readonly gzip?: Buffer }

/** Bytes put together in one go: new memory is slow the first time it is written to. */
const STEP = 1024 * 1024

const joined = async (chunks: readonly Buffer[]): Promise<Buffer> => {
  if (chunks.length === 1 && chunks[0]) return chunks[0]
  const total = chunks.reduce((sum, { length }) => sum + length, 0)
  if (total <= STEP) return Buffer.concat(chunks, total)
  const whole = Buffer.allocUnsafeSlow(total)
  let at = 0
  let rest = STEP
  for (const chunk of chunks) {
    at += chunk.copy(whole, at)
    if (at < rest) continue
    rest = at + STEP
    await breathe()
  }
  return whole
}

/**
 * The whole body, decoded. The limit holds before and after decoding: a small body that unpacks
 * to a huge one ends at the limit, and so does a huge one that unpacks to nothing.
 */
export const readWhole = async (body: Readable, options: ReadBodyOptions): Promise<Body> => {
  const { encoding, limit, tooLarge } = options
  const chunks: Buffer[] = []
  const bounded = async function* (source: AsyncIterable<Buffer>) {
    let total = 0
    for await (const chunk of source) {
      total += chunk.length
      if (total > limit) throw tooLarge()
      yield chunk
    }
  }
  const collect = async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of bounded(source)) chunks.push(chunk)
  }
  if (encoding === 'identity') {
    await pipeline(body, collect)
    return { bytes: await joined(chunks) }
  }
  const decode = (source: Parameters<typeof bounded>[0]) =>
    pipeline(source, bounded, decoders[encoding](), collect)
  if (encoding !== 'gzip' && encoding !== 'x-gzip') {
    await decode(body)
    return { bytes: await joined(chunks) }
  }
  const packed: Buffer[] = []
  let length = 0
  const rest = bounded(body as AsyncIterable<Buffer>)
  while (length <= small.packed) {
    const next = await rest.next()
    if (next.done === true) {
      const gzip = await joined(packed)
      const unpacked = unpackSmall(gzip)
      if (unpacked !== undefined && unpacked.length <= limit) return { bytes: unpacked, gzip }
      await decode(Readable.from([gzip]))
      return { bytes: await joined(chunks), gzip }
    }
    packed.push(next.value)
    length += next.value.length
  }
  const begun = [...packed]
  await decode(
    (async function* () {
      yield* begun
      for await (const chunk of rest) {
        packed.push(chunk)
        yield chunk
      }
    })(),
  )
  return { bytes: await joined(chunks), gzip: await joined(packed) }
}

export const readBody = async (body: Readable, options: ReadBodyOptions): Promise<Buffer> =>
  (await readWhole(body, options)).bytes

/**
 * A tarball's bytes as they came, ending in an error when fewer came than announced, or more than
 * allowed. `failed` turns what the connection throws into our error; `closed` is called once.
 */
export const tarballStream = (
  body: Readable,
  options: {
    readonly size?: number
    readonly limit: number
    readonly tooLarge: () => AttestryError
    readonly failed: (error: unknown) => AttestryError
    readonly closed: () => void
  },
): Readable => {
  const { size, limit, tooLarge, failed, closed } = options
  let total = 0
  const out = new Transform({
    highWaterMark: 4 * chunkSize,
    transform(chunk: Buffer, _, done) {
      total += chunk.length
      if (total > limit) done(tooLarge())
      else done(null, chunk)
    },
    flush(done) {
      if (size === undefined || size === total) done()
      else done(failed(new Error(`${total} of ${size} bytes came`)))
    },
  })
  body.on('error', error => out.destroy(failed(error)))
  out.on('close', () => {
    body.destroy()
    closed()
  })
  return body.pipe(out)
}

const isGzip = (bytes: Uint8Array) => bytes[0] === 0x1f && bytes[1] === 0x8b

/** Enough of a gzip stream to see its first bytes: the header may carry a file name. */
const peekSize = 1024

/**
 * Tarballs are asked for unencoded. Some servers mislabel the .tgz itself as `content-encoding:
 * gzip`, others really compress it once more. What is inside tells: gzip again is a wrapped
 * tarball, anything else is the tarball. Returns the bytes of the tarball either way.
 */
export const unwrapTarball = async (
  body: Readable,
): Promise<{ body: Readable; wrapped: boolean }> => {
  const source = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let head: Buffer = Buffer.alloc(0)
  while (head.length < peekSize) {
    const next = await source.next()
    if (next.done) break
    head = Buffer.concat([head, next.value])
  }
  const rest = Readable.from(
    (async function* () {
      try {
        yield head
        for (let next = await source.next(); !next.done; next = await source.next())
          yield next.value
      } finally {
        body.destroy()
      }
    })(),
    { objectMode: false },
  )
  const wrapped = isGzip(head) && isGzip(peek(head.subarray(0, peekSize)))
  if (!wrapped) return { body: rest, wrapped }
  const decoder = createGunzip({ chunkSize })
  rest.on('error', error => decoder.destroy(error))
  decoder.on('close', () => rest.destroy())
  return { body: rest.pipe(decoder), wrapped }
}

const peek = (bytes: Buffer): Buffer => {
  try {
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH })
  } catch {
    return Buffer.alloc(0)
  }
}
