import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, unlinkIfThere } from './file-system.ts'
import { isAlive, pidNamespace } from './process-mark.ts'

/** Nothing is staged for longer: downloads have timeouts of minutes. */
const ageMax = 60 * 60 * 1000

export type TemporaryFiles = {
  /** A path nobody uses, `<pid namespace>-<pid>-<random>`. */
  next(): string
  /** Removes what dead processes left, and anything an hour old; returns how many. */
  clear(): Promise<number>
}

/**
 * Files that are not blobs yet, or no longer. They are on the blobs' file system, so that a rename
 * moves them, and named for their process, so that the next one knows which are nobody's.
 */
export const temporaryFiles = (fs: FileSystem, directory: string): TemporaryFiles => {
  const here = pidNamespace()
  const mine = `${here}-${process.pid}-${randomBytes(8).toString('hex')}`
  let given = 0

  const isLeftover = async (name: string): Promise<boolean> => {
    const [, where, pid] = /^(\d*)-(\d+)-[0-9a-f]+$/.exec(name) ?? []
    if (where === here && !isAlive(Number(pid))) return true
    const found = await unlessMissing(fs.stat(join(directory, name)))
    return found !== undefined && found.isFile() && Date.now() - found.mtimeMs > ageMax
  }

  return {
    next: () => join(directory, `${mine}${(++given).toString(16)}`),
    clear: async () => {
      let removed = 0
      for (const name of await fs.readdir(directory)) {
        if (!(await isLeftover(name))) continue
        if (await unlinkIfThere(fs, join(directory, name))) removed += 1
      }
      return removed
    },
  }
}
