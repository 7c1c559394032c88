import { randomBytes } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, unlinkIfThere } from './file-system.ts'
import { systemCode } from './store-error.ts'

/** Nothing is staged for longer: downloads have timeouts of minutes. */
const ageMax = 60 * 60 * 1000

/**
 * Where process numbers mean something: two containers on one volume may both be process 7. Empty
 * where there are no namespaces.
 */
const namespace = (): string => {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? ''
  } catch {
    return ''
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there, and somebody else's.
    return systemCode(error) !== 'ESRCH'
  }
}

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
  const here = namespace()
  const mine = `${here}-${process.pid}`

  const isLeftover = async (name: string): Promise<boolean> => {
    const [, where, pid] = /^(\d*)-(\d+)-[0-9a-f]+$/.exec(name) ?? []
    if (where === here && !isAlive(Number(pid))) return true
    const found = await unlessMissing(fs.stat(join(directory, name)))
    return found !== undefined && found.isFile() && Date.now() - found.mtimeMs > ageMax
  }

  return {
    next: () => join(directory, `${mine}-${randomBytes(8).toString('hex')}`),
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
