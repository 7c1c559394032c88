/** Finished packuments without their compression, kept for the next who takes none. */
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { createGunzip, gunzip } from 'node:zlib'
import type { LRUCache } from 'lru-cache'
import { openFlights } from './flights.ts'
import type { Representation } from './representation.ts'
import { unpooled } from './unpooled.ts'

const unpack = promisify(gunzip)

/** Of the bytes that may be kept; what is larger is inflated as it is sent. */
const SHARE = 1 / 2

const flights = new WeakMap<LRUCache<string, Buffer>, ReturnType<typeof openFlights<Buffer>>>()

/** The document's bytes, or a stream of them where they are too many to be kept. */
export const inflate = async (
  { etag, gzip, size }: Pick<Representation, 'etag' | 'gzip' | 'size'>,
  kept: LRUCache<string, Buffer>,
): Promise<Buffer | Readable> => {
  const known = kept.get(etag)
  if (known) return known
  if (size > kept.maxSize * SHARE) {
    const stream = createGunzip()
    stream.end(gzip)
    return stream
  }
  const flight = flights.get(kept) ?? openFlights<Buffer>()
  flights.set(kept, flight)
  return flight(etag, async () => {
    const document = unpooled(await unpack(gzip, { maxOutputLength: size }))
    kept.set(etag, document)
    return document
  })
}
