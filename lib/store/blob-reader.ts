import type { FileHandle } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import type { Integrity } from '../types.ts'
import { messageOf } from '../errors.ts'
import type { BlobFiles } from './blob-files.ts'
import { fingerprint, hashFile } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import { integrityOf } from './blob-name.ts'
import { storeError } from './store-error.ts'
import type { StoreLog } from './store-event.ts'

/** Files known to hold what their name says; about 300 bytes each. */
const provenMax = 32_768

export type OpenBlob = { readonly handle: FileHandle; readonly size: number }

/**
 * Takes blobs from the disk, and never one that is not what its name says: whole reads hash the
 * bytes they return (1.4 ms per MiB); streams hash the file once before its first byte is given
 * out, and again only if it was changed or exchanged. A file that fails is removed, logged, and
 * served as missing.
 */
export type BlobReader = {
  /** All bytes, shared by all who ask at the same time. */
  load(hex: string): Promise<Buffer | undefined>
  /** A proven file; the caller closes it. */
  open(hex: string): Promise<OpenBlob | undefined>
  /** Hashes the file, also one that was hashed before; false when there is none, or none any more. */
  check(hex: string): Promise<boolean>
  /** The size on disk where it agrees with the size recorded; looks at no bytes. */
  sizeOf(hex: string): Promise<number | undefined>
  /** This file was hashed while it was written. */
  proven(hex: string, mark: string): void
  /** The blob was removed: nobody joins a load that began before. */
  forget(hex: string): void
}

export const openBlobReader = (
  files: BlobFiles,
  index: BlobIndex,
  log: StoreLog,
): BlobReader => {
  const marks = new LRUCache<string, string>(atMost(provenMax))
  const loads = new Map<string, Promise<Buffer | undefined>>()
  const proofs = new Map<string, Promise<void>>()

  const damaged = async (hex: string, inode: number, detail: string): Promise<void> => {
    const integrity: Integrity = integrityOf(hex)
    // A disk that lets nothing be removed must not make a damaged blob more than missing.
    const kept = await files.discard(hex, inode).then(
      () => '',
      (error: unknown) => `; it could not be removed: ${messageOf(error)}`,
    )
    log({ event: 'blob-damaged', integrity, detail: detail + kept })
  }

  /** Runs `use` with the file if its length is right, and closes it unless `use` keeps it. */
  const withFile = async <T>(
    hex: string,
    use: (
      handle: FileHandle,
      found: { readonly size: number; readonly mark: string },
    ) => Promise<{ readonly wrong: string } | { readonly result: T; readonly keep?: boolean }>,
  ): Promise<T | undefined> => {
    let handle: FileHandle | undefined
    let keep = false
    try {
      handle = await files.open(hex)
      if (handle === undefined) return undefined
      const { size, mark, inode } = await fingerprint(handle)
      const row = await index.get(hex)
      if (row !== undefined && row.size !== size) {
        await damaged(hex, inode, `it has ${size} bytes, not ${row.size}`)
        return undefined
      }
      const outcome = await use(handle, { size, mark })
      if ('wrong' in outcome) {
        await damaged(hex, inode, outcome.wrong)
        return undefined
      }
      // A crash before the row, or a database that was replaced.
      if (row === undefined && !files.isBeingRemoved(hex)) await index.adopt(hex, size)
      keep = outcome.keep === true
      return outcome.result
    } catch (error) {
      throw storeError('read a blob', files.pathOf(hex), error)
    } finally {
      if (!keep) await handle?.close()
    }
  }

  const wrongDigest = { wrong: 'its bytes have another sha512' } as const

  const loadOnce = (hex: string): Promise<Buffer | undefined> =>
    withFile(hex, async (handle, { size }) => {
      const { hex: found, bytes } = await hashFile(handle, size, true)
      return found === hex ? { result: bytes } : wrongDigest
    })

  /** Hashes the file unless this very file was hashed before; one at a time for one blob. */
  const prove = async (hex: string, handle: FileHandle, size: number, mark: string) => {
    for (;;) {
      if (marks.get(hex) === mark) return true
      const running = proofs.get(hex)
      if (running === undefined) break
      await running
    }
    const proof = hashFile(handle, size, false).then(found => found.hex === hex)
    const done = proof.then(
      () => undefined,
      () => undefined,
    )
    proofs.set(hex, done)
    try {
      if (!(await proof)) return false
      marks.set(hex, mark)
      return true
    } finally {
      proofs.delete(hex)
    }
  }

  return {
    load: async hex => {
      const running = loads.get(hex)
      if (running !== undefined) return await running
      const load = loadOnce(hex)
      loads.set(hex, load)
      try {
        return await load
      } finally {
        if (loads.get(hex) === load) loads.delete(hex)
      }
    },
    open: hex =>
      withFile<OpenBlob>(hex, async (handle, { size, mark }) =>
        (await prove(hex, handle, size, mark))
          ? { result: { handle, size }, keep: true }
          : wrongDigest,
      ),
    check: async hex => {
      marks.delete(hex)
      const found = await withFile(hex, async (handle, { size, mark }) =>
        (await prove(hex, handle, size, mark)) ? { result: true } : wrongDigest,
      )
      return found === true
    },
    sizeOf: async hex => {
      const row = await index.get(hex)
      const size = await files.sizeOf(hex).catch((error: unknown) => {
        throw storeError('read a blob', files.pathOf(hex), error)
      })
      if (row !== undefined && row.size === size) return size
      // Rare: no row, no file, or a wrong length. Opening it tells which and repairs it.
      return await withFile(hex, async (handle, { size, mark }) =>
        row !== undefined || (await prove(hex, handle, size, mark))
          ? { result: size }
          : wrongDigest,
      )
    },
    proven: (hex, mark) => {
      marks.set(hex, mark)
    },
    forget: hex => {
      loads.delete(hex)
    },
  }
}
