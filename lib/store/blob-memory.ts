import { LRUCache } from 'lru-cache'
import type { Integrity } from '../types.ts'

/** What the cache itself spends on an entry, about: the name, the buffer's object, the links. */
const entryBytes = 400

/**
 * Small blobs in memory, bounded by bytes. A hit is one look-up by the integrity as it was asked
 * for. The buffers are shared with those who got them and must not be written to.
 */
export type BlobMemory = {
  get(integrity: Integrity): Buffer | undefined
  set(integrity: Integrity, bytes: Buffer): void
  delete(integrity: Integrity): void
  /** Bytes held, with what the cache spends on them. */
  size(): number
}

const none: BlobMemory = {
  get: () => undefined,
  set: () => undefined,
  delete: () => undefined,
  size: () => 0,
}

/** `max` bytes altogether; 0 keeps nothing. A blob above `blobMax` bytes is not kept. */
export const openBlobMemory = (max: number, blobMax: number): BlobMemory => {
  if (max === 0) return none
  const cache = new LRUCache<Integrity, Buffer>({
    maxSize: max,
    maxEntrySize: Math.min(blobMax + entryBytes, max),
    sizeCalculation: bytes => bytes.length + entryBytes,
  })
  return {
    get: integrity => cache.get(integrity),
    set: (integrity, bytes) => {
      // A small buffer may be a slice of a big shared one, which it would keep alive.
      const own = bytes.buffer.byteLength > 2 * bytes.length + entryBytes
      cache.set(integrity, own ? Buffer.from(new Uint8Array(bytes).buffer) : bytes)
    },
    delete: integrity => {
      cache.delete(integrity)
    },
    size: () => cache.calculatedSize,
  }
}
