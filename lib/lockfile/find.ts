/** Which lockfile a folder has, and its text. The only file of this room that reads files. */
import { open, readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { AttestryError, messageOf } from '../errors.ts'
import { MAX_LOCKFILE } from './read.ts'

const names = [
  'npm-shrinkwrap.json',
  'package-lock.json',
  'pnpm-lock.yaml',
  'yarn.lock',
  'bun.lock',
  'bun.lockb',
] as const

/**
 * The path of the folder's lockfile. npm-shrinkwrap.json goes before package-lock.json, and
 * bun.lock before bun.lockb, as npm and bun have it.
 *
 * @throws {AttestryError} ELOCKFILE when there is none, or when several clients have one.
 */
export const findLockfile = async (folder: string): Promise<string> => {
  let present: ReadonlySet<string>
  try {
    present = new Set(await readdir(folder))
  } catch (cause) {
    throw new AttestryError('ELOCKFILE', `${folder}: ${messageOf(cause)}`, { cause })
  }
  const found = names.filter(
    name =>
      present.has(name) &&
      !(name === 'package-lock.json' && present.has('npm-shrinkwrap.json')) &&
      !(name === 'bun.lockb' && present.has('bun.lock')),
  )
  const [first] = found
  if (first === undefined)
    throw new AttestryError(
      'ELOCKFILE',
      `${folder}: found ${present.has('deno.lock') ? 'deno.lock alone, which is not read' : 'no lockfile'}; wanted ${names.slice(0, -1).join(', ')}`,
    )
  if (found.length > 1)
    throw new AttestryError(
      'ELOCKFILE',
      `${folder}: found ${found.join(' and ')}; wanted one lockfile, or the name of one of them`,
      { details: { found } },
    )
  return join(folder, first)
}

/**
 * The lockfile that somebody named, or that of the folder they named, or of `cwd`. Absolute. That a
 * file is not there is told when it is read.
 *
 * @throws {AttestryError} ELOCKFILE when a folder has none, or several.
 */
export const lockfileAt = async (named: string | undefined, cwd: string): Promise<string> => {
  const path = resolve(cwd, named ?? '.')
  const info = await stat(path).catch(() => undefined)
  return named === undefined || info?.isDirectory() === true ? findLockfile(path) : path
}

/**
 * The text of a lockfile, never more than is read of one.
 *
 * @throws {AttestryError} ELOCKFILE when it cannot be read, is too large or is no UTF-8.
 */
export const loadLockfileText = async (file: string): Promise<string> => {
  const fail = (message: string, cause?: unknown) =>
    new AttestryError('ELOCKFILE', `${file}:1:1: ${message}`, { cause })
  let bytes: Buffer
  try {
    await using handle = await open(file)
    const { size } = await handle.stat()
    if (size > MAX_LOCKFILE) throw fail(`found ${size} bytes; wanted at most ${MAX_LOCKFILE}`)
    bytes = await handle.readFile()
  } catch (cause) {
    if (cause instanceof AttestryError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    throw fail(code === 'ENOENT' ? 'there is no such file' : messageOf(cause), cause)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    const isBinary = bytes.subarray(0, 64).includes('bun-lockfile-format')
    if (isBinary) return bytes.toString('latin1')
    throw fail('found bytes that are not UTF-8; wanted text', cause)
  }
}
