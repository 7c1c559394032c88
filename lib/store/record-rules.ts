/** What a record may be, whatever keeps it. */
import { messageOf } from '../errors.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal } from './store-error.ts'
import type { StoreLog } from './store-event.ts'

/** Bytes of JSON. What is bigger belongs in a blob: a record is read and written in one step. */
export const recordMax = 8 * 1024 * 1024
/** Bytes of UTF-8; a PostgreSQL index holds no more than 2,704. */
export const keyMax = 2048
export const collectionMax = 128

/** Entries that a list reads at a time. */
export const pageRows = 64

/** A key both SQLite and PostgreSQL store as it is: no NUL, no half of a surrogate pair. */
const checkName = (what: 'collection' | 'key', name: string, max: number): void => {
  const bytes = Buffer.byteLength(name)
  const wrong =
    bytes === 0
      ? 'is empty'
      : bytes > max
        ? `has ${bytes} bytes; at most ${max} are allowed`
        : name.includes('\0')
          ? 'holds a NUL character'
          : name.isWellFormed()
            ? undefined
            : 'is not well-formed Unicode'
  if (wrong === undefined) return
  throw refusal(`The ${what} of a record ${wrong}.`, { [what]: name.slice(0, 120) })
}

export const textOf = (collection: string, key: string, value: unknown): string => {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw refusal(`A record's value is not JSON: ${messageOf(error)}.`, { collection, key })
  }
  if (text === undefined) throw refusal("A record's value is not JSON.", { collection, key })
  const bytes = text.length > recordMax ? text.length : Buffer.byteLength(text)
  if (bytes <= recordMax) return text
  throw refusal(
    `A record of ${bytes} bytes is too big (at most ${recordMax}); keep it as a blob.`,
    { collection, key, found: bytes, wanted: recordMax },
  )
}

export const checkCollection = (name: string): void =>
  checkName('collection', name, collectionMax)
export const checkKey = (name: string): void => checkName('key', name, keyMax)

/** ESTORE unless the store is open and both are names. */
export const checkRecord = (lifetime: Lifetime, collection: string, key: string): void => {
  assertOpen(lifetime)
  checkCollection(collection)
  checkKey(key)
}

/** `undefined`, and a word to the log, when it is not JSON any more. */
export const parseRecord = <T>(
  collection: string,
  key: string,
  text: string,
  log: StoreLog,
): { value: T } | undefined => {
  try {
    return { value: JSON.parse(text) as T }
  } catch {
    log({ event: 'record-damaged', collection, key })
    return undefined
  }
}
