import { Readable } from 'node:stream'
import type { Integrity } from '../types.ts'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { BlobMemory } from './blob-memory.ts'
import { hexOf, integrityOf } from './blob-name.ts'
import type { BlobReader, OpenBlob } from './blob-reader.ts'
import type { FileSystem } from './file-system.ts'
import type { KeepBudget } from './staged-blob.ts'
import { stageBlob } from './staged-blob.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal, storeError } from './store-error.ts'
import type { BlobFile, Blobs, StagedBlob } from './store.ts'
import type { TemporaryFiles } from './temporary-files.ts'

export type LocalBlobsTools = {
  readonly fs: FileSystem
  readonly files: BlobFiles
  readonly index: BlobIndex
  readonly reader: BlobReader
  readonly memory: BlobMemory
  readonly temporary: TemporaryFiles
  readonly lifetime: Lifetime
  /** Blobs up to this size are kept in memory, and read whole. */
  readonly memoryBlobMax: number
  readonly budget: KeepBudget
  /** Called after each commit, with the blob's bytes; there may be too much now. */
  readonly grown: (size: number) => void
}

export type LocalBlobs = Blobs & {
  /** As `delete`; with `used`, only if nobody has used the blob since. */
  remove(integrity: Integrity, used?: number): Promise<boolean>
  /** True while this file is read in this process. */
  isRead(hex: string): boolean
  abortStaged(): Promise<void>
}

/** Bytes read at a time for a stream: with the usual 64 KiB most of the time goes into asking. */
const chunk = 256 * 1024

type Range = { readonly start: number; readonly end: number }

const checkRange = ({ start, end }: Range, size: number): Range => {
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end)
  if (whole && start >= 0 && start <= end && start < size) {
    return { start, end: Math.min(end, size - 1) }
  }
  throw refusal(`Bytes ${start} to ${end} are not in a blob of ${size} bytes.`, {
    start,
    end,
    size,
  })
}

/** Blobs as files, behind a memory of small ones. */
export const openLocalBlobs = (tools: LocalBlobsTools): LocalBlobs => {
  const { files, index, reader, memory, lifetime } = tools
  const staged = new Set<StagedBlob>()
  const reading = new Map<string, number>()
  // Changes with each removal, so that a load that began before one is not remembered after it.
  let removals = 0

  const load = async (
    integrity: Integrity,
    hex: string,
    remember = true,
  ): Promise<Buffer | undefined> => {
    const before = removals
    const bytes = await reader.load(hex)
    if (bytes === undefined) return undefined
    const kept = remember && removals === before && bytes.length <= tools.memoryBlobMax
    if (kept) memory.set(integrity, bytes)
    index.touch(integrity)
    return bytes
  }

  const fromMemory = (integrity: Integrity): Buffer | undefined => {
    const bytes = memory.get(integrity)
    if (bytes !== undefined) index.touch(integrity)
    return bytes
  }

  /** Until the returned function is called, this file is read in this process. */
  const hold = (hex: string): (() => void) => {
    reading.set(hex, (reading.get(hex) ?? 0) + 1)
    return () => {
      const left = (reading.get(hex) ?? 1) - 1
      if (left > 0) reading.set(hex, left)
      else reading.delete(hex)
    }
  }

  const streamOf = (bytes: Buffer, range?: Range) => {
    const { start, end } = range
      ? checkRange(range, bytes.length)
      : { start: 0, end: bytes.length }
    const part = range ? bytes.subarray(start, end + 1) : bytes
    const stream = Readable.from(part.length > 0 ? [part] : [], { objectMode: false })
    return { stream, size: bytes.length }
  }

  /** Bytes where they are in memory or small enough for it, else the proven file. */
  const find = async (integrity: Integrity): Promise<Buffer | OpenBlob | undefined> => {
    const held = fromMemory(integrity)
    if (held !== undefined) return held
    const hex = hexOf(integrity)
    const row = await index.get(hex)
    if (row !== undefined && row.size <= tools.memoryBlobMax) return await load(integrity, hex)
    const found = await reader.open(hex)
    if (found !== undefined) index.touch(integrity)
    return found
  }

  const streamFile = async (hex: string, { handle, size }: OpenBlob, range?: Range) => {
    try {
      const part = range && checkRange(range, size)
      const stream = handle.createReadStream({ start: 0, ...part, highWaterMark: chunk })
      stream.once('close', hold(hex))
      return { stream, size }
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  const fileOf = (hex: string, { handle, size }: OpenBlob): BlobFile => {
    const release = hold(hex)
    let closing: Promise<void> | undefined
    return {
      size,
      read: async (into, position) => {
        try {
          return (await handle.read(into, 0, into.length, position)).bytesRead
        } catch (error) {
          throw storeError('read a blob', files.pathOf(hex), error)
        }
      },
      close: () => (closing ??= handle.close().finally(release)),
    }
  }

  const remove = async (integrity: Integrity, used?: number): Promise<boolean> => {
    const hex = hexOf(integrity)
    try {
      return await files.remove(hex, used)
    } catch (error) {
      throw storeError('remove a blob', files.pathOf(hex), error)
    } finally {
      removals += 1
      memory.delete(integrity)
      reader.forget(hex)
    }
  }

  return {
    stage: async use => {
      assertOpen(lifetime)
      const blob = stageBlob(tools.temporary.next(), {
        fs: tools.fs,
        files,
        index,
        budget: tools.budget,
        keepMax: tools.memoryBlobMax,
        committed: (info, hex, { bytes, mark }) => {
          if (bytes !== undefined && use?.remember !== false) memory.set(info.integrity, bytes)
          if (mark !== undefined) reader.proven(hex, mark)
          tools.grown(info.size)
        },
        ended: ended => staged.delete(ended),
      })
      staged.add(blob)
      if (lifetime.closed) {
        await blob.abort()
        assertOpen(lifetime)
      }
      return blob
    },

    stat: async integrity => {
      assertOpen(lifetime)
      const held = memory.get(integrity)
      const size = held?.length ?? (await reader.sizeOf(hexOf(integrity)))
      return size === undefined ? undefined : { integrity, size }
    },

    get: async (integrity, use) => {
      assertOpen(lifetime)
      const held = fromMemory(integrity)
      return held ?? (await load(integrity, hexOf(integrity), use?.remember))
    },

    peek: fromMemory,

    find: async integrity => {
      assertOpen(lifetime)
      const found = await find(integrity)
      return found === undefined || Buffer.isBuffer(found)
        ? found
        : fileOf(hexOf(integrity), found)
    },

    open: async (integrity, range) => {
      assertOpen(lifetime)
      const found = await find(integrity)
      if (found === undefined) return undefined
      return Buffer.isBuffer(found)
        ? streamOf(found, range)
        : await streamFile(hexOf(integrity), found, range)
    },

    delete: async integrity => {
      assertOpen(lifetime)
      return await remove(integrity)
    },

    async *list() {
      for (let shard = 0; shard < 256; shard++) {
        assertOpen(lifetime)
        for await (const { hex, size } of index.inShard(shard))
          yield { integrity: integrityOf(hex), size }
      }
    },

    verify: async integrity => {
      assertOpen(lifetime)
      const intact = await reader.check(hexOf(integrity))
      if (!intact) memory.delete(integrity)
      return intact
    },

    size: async () => {
      assertOpen(lifetime)
      return await index.total()
    },

    remove,
    isRead: hex => reading.has(hex),
    abortStaged: async () => {
      // A file that cannot be removed now goes when the store is opened again.
      await Promise.allSettled([...staged].map(blob => blob.abort()))
    },
  }
}
