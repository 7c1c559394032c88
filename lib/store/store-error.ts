import { AttestryError, isAttestryError, messageOf } from '../errors.ts'

/** What the system's and SQLite's codes mean to the person who owns the disk. */
const meanings: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'a file would exceed the size the system allows',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is not a directory',
  EEXIST: 'the path exists and is not a directory',
  ENOENT: 'it does not exist',
  EMFILE: 'this process has too many files open',
  ENFILE: 'the machine has too many files open',
  EIO: 'the disk reports an input/output error',
}

/** Primary result codes, https://sqlite.org/rescode.html */
const sqliteMeanings: Readonly<Record<number, string>> = {
  5: 'another process holds the database locked',
  6: 'another connection holds the database locked',
  8: 'the database is read-only',
  10: 'the disk reports an input/output error, or a file would exceed the size allowed',
  11: 'the database is damaged; move it away to start afresh, or restore a copy',
  13: 'the disk is full',
  14: 'the database cannot be opened; the directory may not be writable',
  26: 'the file is not a SQLite database; move it away',
}

/** SQLite's primary result code, where `error` is one of its errors. */
export const sqliteCode = (error: unknown): number | undefined => {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined

export const isMissing = (error: unknown): boolean => systemCode(error) === 'ENOENT'

const meaningOf = (error: unknown): string => {
  const sqlite = sqliteCode(error)
  if (sqlite !== undefined) {
    return sqliteMeanings[sqlite] ?? `SQLite says: ${messageOf(error)} (${sqlite})`
  }
  const code = systemCode(error)
  const meaning = code === undefined ? undefined : meanings[code]
  return meaning === undefined ? messageOf(error) : `${meaning} (${code})`
}

/**
 * ESTORE: `Cannot <doing> at <path>: <why>.` An AttestryError passes through as it is, so a cause
 * is told once, by whoever was nearest to it.
 */
export const storeError = (doing: string, path: string, cause: unknown): AttestryError =>
  isAttestryError(cause)
    ? cause
    : new AttestryError('ESTORE', `Cannot ${doing} at ${path}: ${meaningOf(cause)}.`, {
        cause,
        details: { path },
      })

/** ESTORE for what a caller handed in. */
export const refusal = (
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): AttestryError => new AttestryError('ESTORE', message, { details })

/** Shared by the parts of one store: every call after `close` fails with ESTORE. */
export type Lifetime = { closed: boolean }

export const assertOpen = (lifetime: Lifetime): void => {
  if (lifetime.closed) throw refusal('The store is closed.')
}
