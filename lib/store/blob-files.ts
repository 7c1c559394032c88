import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BlobIndex } from './blob-index.ts'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, unlinkIfThere } from './file-system.ts'
import { isMissing } from './store-error.ts'
import type { TemporaryFiles } from './temporary-files.ts'

/** Bytes read and hashed at a time: 1.4 ms of the thread. */
export const step = 1024 * 1024

/**
 * Reads the file once and returns its sha512, and with `keep` its bytes: exactly the bytes that
 * were hashed. A file that ends early gives the digest of what is there.
 */
export const hashFile = async (
  handle: FileHandle,
  size: number,
  keep: boolean,
): Promise<{ readonly hex: string; readonly bytes: Buffer }> => {
  const hash = createHash('sha512')
  const buffer = Buffer.allocUnsafeSlow(keep ? size : Math.min(size, step))
  let position = 0
  while (position < size) {
    const offset = keep ? position : 0
    const length = Math.min(step, size - position)
    const { bytesRead } = await handle.read(buffer, offset, length, position)
    if (bytesRead === 0) break
    hash.update(buffer.subarray(offset, offset + bytesRead))
    position += bytesRead
  }
  return { hex: hash.digest('hex'), bytes: buffer }
}

/** Changes when the file's content may have: a rewritten or exchanged file has another. */
export const fingerprint = async (
  handle: FileHandle,
): Promise<{ readonly mark: string; readonly size: number; readonly inode: number }> => {
  const { ino, size, ctimeNs } = await handle.stat({ bigint: true })
  return { mark: `${ino}:${size}:${ctimeNs}`, size: Number(size), inode: Number(ino) }
}

export type BlobFiles = {
  pathOf(hex: string): string
  /** `undefined` when there is no such blob. */
  open(hex: string): Promise<FileHandle | undefined>
  sizeOf(hex: string): Promise<number | undefined>
  /** Gives the finished file at `path` its final name; `atOnce` without another thread. */
  place(path: string, hex: string, atOnce?: boolean): Promise<void>
  /**
   * Removes file and row; with `used`, only if nobody has used the blob since. Returns false when
   * there was nothing, or it was written again meanwhile. Open streams read on to their end: the
   * file loses its name only.
   */
  remove(hex: string, used?: number): Promise<boolean>
  /** Removes a file that is not what its name says, if it is still the one with this inode. */
  discard(hex: string, inode: number): Promise<void>
  isBeingRemoved(hex: string): boolean
}

/**
 * Blobs at `<root>/ab/cdef…`, named by their sha512 in hex. A row is written before its file is
 * renamed into place, and removed before the file is taken away; whoever takes a file away looks
 * afterwards whether the row came back, and if so puts the file back. So a blob whose commit was
 * acknowledged is never lost to a removal in another process that began before it.
 */
export const openBlobFiles = (
  fs: FileSystem,
  root: string,
  index: BlobIndex,
  temporary: TemporaryFiles,
): BlobFiles => {
  const removing = new Set<string>()
  const pathOf = (hex: string): string => join(root, hex.slice(0, 2), hex.slice(2))

  const place = async (path: string, hex: string, atOnce = false): Promise<void> => {
    const final = pathOf(hex)
    const rename = () => (atOnce ? fs.renameSync(path, final) : fs.rename(path, final))
    try {
      await rename()
    } catch (error) {
      if (!isMissing(error)) throw error
      const folder = dirname(final)
      if (atOnce) fs.mkdirSync(folder, { recursive: true })
      else await fs.mkdir(folder, { recursive: true })
      await rename()
    }
  }

  const takeAway = async (hex: string, inode?: number): Promise<boolean> => {
    const trash = temporary.next()
    const found = await unlessMissing(fs.rename(pathOf(hex), trash).then(() => true))
    if (found === undefined) return false
    const exchanged = inode !== undefined && (await fs.stat(trash)).ino !== inode
    if (exchanged || (await index.get(hex)) !== undefined) {
      await unlessMissing(place(trash, hex))
      return false
    }
    await unlinkIfThere(fs, trash)
    return true
  }

  return {
    pathOf,
    place,
    open: hex => unlessMissing(fs.open(pathOf(hex), 'r')),
    sizeOf: async hex => (await unlessMissing(fs.stat(pathOf(hex))))?.size,
    remove: async (hex, used) => {
      removing.add(hex)
      try {
        const forgotten = await index.forget(hex, used)
        if (!forgotten && used !== undefined) return false
        return await takeAway(hex)
      } finally {
        removing.delete(hex)
      }
    },
    discard: async (hex, inode) => {
      const found = await unlessMissing(fs.stat(pathOf(hex)))
      if (found?.ino !== inode) return
      await index.forget(hex)
      await takeAway(hex, inode)
    },
    isBeingRemoved: hex => removing.has(hex),
  }
}
