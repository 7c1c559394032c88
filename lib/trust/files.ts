/** Files that trust rests on: read whole, bounded, and told apart by what the file system says of them. */
import { readFile, stat } from 'node:fs/promises'
import { AttestryError, messageOf } from '../errors.ts'

/** Bytes; the real documents are under 10 kB. */
const documentLimit = 1024 * 1024

/** Throws ETRUST naming the file. */
export const readBounded = async (file: string, limit = documentLimit): Promise<Buffer> => {
  try {
    const { size } = await stat(file)
    if (size > limit) throw new Error(`it has ${size} bytes; wanted at most ${limit} bytes`)
    return await readFile(file)
  } catch (error) {
    throw new AttestryError('ETRUST', `${file}: ${messageOf(error)}`, { cause: error })
  }
}

export const parseJson = (text: string, where: string): unknown => {
  try {
    // editors on Windows may leave a byte order mark
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new AttestryError('ETRUST', `${where}: ${messageOf(error)}`, { cause: error })
  }
}

export const readJson = async (file: string): Promise<unknown> =>
  parseJson((await readBounded(file)).toString('utf8'), file)

/** Changes when a file is written, replaced, renamed over, or its symlink is swapped. */
export const fingerprintOf = async (files: readonly string[]): Promise<string> => {
  const each = await Promise.all(
    files.map(file =>
      stat(file).then(
        ({ dev, ino, size, mtimeMs }) => `${dev}:${ino}:${size}:${mtimeMs}`,
        (error: NodeJS.ErrnoException) => error.code ?? 'unreadable',
      ),
    ),
  )
  return each.join(' ')
}
