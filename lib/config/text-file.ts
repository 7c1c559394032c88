/** Reading one small text file that a person wrote, with what is wrong said by its path. */
import { readFile, stat } from 'node:fs/promises'
import { AttestryError, messageOf, type ErrorCode } from '../errors.ts'

const MOST = 4 * 1024 * 1024

/** Throws `code` when there is no such file, it is no regular file, or it has more than 4 MiB. */
export const readTextFile = async (file: string, code: ErrorCode): Promise<string> => {
  const fail = (what: string, cause?: unknown) =>
    new AttestryError(code, `${file}: ${what}`, { cause, details: { file } })
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw fail(error.code === 'ENOENT' ? 'there is no such file' : messageOf(error), error)
  })
  // a pipe or a device could be read without end
  if (!info.isFile()) throw fail('wanted a file')
  if (info.size > MOST) throw fail(`the file has ${info.size} bytes; at most ${MOST} are read`)
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw fail(messageOf(error), error)
  })
}
