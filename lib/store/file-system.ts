import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import * as promises from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { isMissing } from './store-error.ts'

/**
 * The calls of node:fs that the embedded store makes for its blobs. Handed in, so that a full disk or
 * a refused permission can be had in a test without filling a disk.
 */
export type FileSystem = Pick<
  typeof promises,
  'mkdir' | 'open' | 'readFile' | 'readdir' | 'rename' | 'stat' | 'unlink'
> & {
  readonly mkdirSync: (path: string, options: { recursive: true }) => unknown
  readonly renameSync: (from: string, to: string) => void
  readonly writeFileSync: (path: string, bytes: Uint8Array, options: { flag: 'wx' }) => void
}

export const nodeFileSystem: FileSystem = { ...promises, mkdirSync, renameSync, writeFileSync }

/** `undefined` instead of ENOENT; every other failure is thrown. */
export const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Removes a file; true when it was there. */
export const unlinkIfThere = async (fs: FileSystem, path: string): Promise<boolean> =>
  (await unlessMissing(fs.unlink(path).then(() => true))) ?? false

/** Writes all of `bytes`; a single write(2) may take less. */
export const writeFully = async (handle: FileHandle, bytes: Uint8Array): Promise<void> => {
  let offset = 0
  while (offset < bytes.byteLength) {
    const { bytesWritten } = await handle.write(bytes, offset, bytes.byteLength - offset)
    offset += bytesWritten
  }
}
