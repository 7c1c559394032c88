/** Public keys that a policy names by their files, read from beside the policy. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { messageOf } from '../errors.ts'

/** Bytes; a key in PEM has 180. */
const MOST = 64 * 1024

/** Gives the text of the file at a path relative to the policy's folder; throws a sentence. */
export const keyReader =
  (policyFile: string) =>
  (path: string): string => {
    const file = resolve(dirname(policyFile), path)
    const fail = (what: string, cause?: unknown) => new Error(`${file}: ${what}`, { cause })
    try {
      const info = statSync(file)
      // a pipe or a device could be read without end
      if (!info.isFile()) throw fail('wanted a file')
      if (info.size > MOST) throw fail(`it has ${info.size} bytes; at most ${MOST} are read`)
      return readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw fail('there is no such file', error)
      throw error instanceof Error && error.message.startsWith(file)
        ? error
        : fail(messageOf(error), error)
    }
  }
