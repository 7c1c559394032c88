import { LRUCache } from 'lru-cache'
import { isAttestryError } from '../../errors.ts'
import {
  checkCollection,
  checkKey,
  checkRecord,
  pageRows,
  parseRecord,
  textOf,
} from '../record-rules.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import type { Records } from '../store.ts'
import type { Postgres } from './postgres.ts'

/** A token that was revoked meanwhile must not live on for as long as an outage lasts. */
const tokenAge = 10 * 60_000

type Seen = { readonly text: string | undefined; readonly at: number }

export type SharedRecords = Records & {
  /** What was read before no longer stands in while PostgreSQL is away. */
  forget(collection?: string): void
}

/**
 * Records in PostgreSQL, as the text that JSON.stringify gives. What was read lately stands in while
 * PostgreSQL is away, so that what was admitted can still be served; nothing is written meanwhile.
 */
export const openPostgresRecords = (
  postgres: Postgres,
  lifetime: Lifetime,
  log: StoreLog,
  memoryBytes: number,
): SharedRecords => {
  const seen = new LRUCache<string, Seen>({
    maxSize: Math.max(1, memoryBytes),
    sizeCalculation: ({ text }, key) => (text?.length ?? 0) + key.length + 100,
  })
  const seenKey = (collection: string, key: string) => `${collection}\0${key}`
  const note = (collection: string, key: string, text: string | undefined) => {
    seen.set(seenKey(collection, key), { text, at: Date.now() })
  }
  const parse = <T>(collection: string, key: string, text: string) =>
    parseRecord<T>(collection, key, text, log)

  const standIn = (collection: string, key: string, error: unknown): Seen => {
    const found = seen.get(seenKey(collection, key))
    const down = isAttestryError(error) && error.code === 'ESTOREDOWN'
    const old = collection === 'token' && Date.now() - (found?.at ?? 0) > tokenAge
    if (!found || !down || old) throw error
    return found
  }

  const read = async (collection: string, key: string): Promise<string | undefined> => {
    try {
      const [row] = await postgres.run(
        'read a record',
        sql => sql`SELECT value FROM records WHERE collection = ${collection} AND key = ${key}`,
      )
      const text = row?.['value'] as string | undefined
      note(collection, key, text)
      return text
    } catch (error) {
      return standIn(collection, key, error).text
    }
  }

  const removeDamaged = (collection: string, key: string, text: string) =>
    postgres.run(
      'remove a record',
      sql =>
        sql`DELETE FROM records WHERE collection = ${collection} AND key = ${key} AND value = ${text}`,
    )

  return {
    forget: collection => {
      if (collection === undefined) return seen.clear()
      for (const key of seen.keys()) if (key.startsWith(`${collection}\0`)) seen.delete(key)
    },

    get: async <T>(collection: string, key: string) => {
      checkRecord(lifetime, collection, key)
      const text = await read(collection, key)
      return text === undefined ? undefined : parse<T>(collection, key, text)?.value
    },

    put: async (collection, key, value) => {
      checkRecord(lifetime, collection, key)
      const text = textOf(collection, key, value)
      await postgres.run(
        'write a record',
        sql => sql`INSERT INTO records VALUES (${collection}, ${key}, ${text})
          ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value`,
      )
      note(collection, key, text)
    },

    putIfAbsent: async <T>(collection: string, key: string, value: T) => {
      checkRecord(lifetime, collection, key)
      const text = textOf(collection, key, value)
      for (;;) {
        const stored = await postgres.run('write a record', async sql => {
          await sql`INSERT INTO records VALUES (${collection}, ${key}, ${text}) ON CONFLICT DO NOTHING`
          // a statement of its own: it sees what another has committed meanwhile
          const [row] =
            await sql`SELECT value FROM records WHERE collection = ${collection} AND key = ${key}`
          return row?.['value'] as string | undefined
        })
        // it was deleted in between
        if (stored === undefined) continue
        const found = parse<T>(collection, key, stored)
        note(collection, key, stored)
        if (found !== undefined) return found.value
        await removeDamaged(collection, key, stored)
      }
    },

    swap: async <T>(collection: string, key: string, before: T | undefined, after: T) => {
      checkRecord(lifetime, collection, key)
      const text = textOf(collection, key, after)
      const was = before === undefined ? undefined : textOf(collection, key, before)
      let tries = 0
      const trySwap = async (): Promise<boolean> => {
        const { count } = await postgres.run('write a record', sql => {
          tries += 1
          return was === undefined
            ? sql`INSERT INTO records VALUES (${collection}, ${key}, ${text}) ON CONFLICT DO NOTHING`
            : sql`UPDATE records SET value = ${text}
                WHERE collection = ${collection} AND key = ${key} AND value = ${was}`
        })
        return count > 0
      }
      if (await trySwap()) {
        note(collection, key, text)
        return true
      }
      const stored = await read(collection, key)
      // it was written, and only the answer was lost
      if (tries > 1 && stored === text) return true
      if (was !== undefined || stored === undefined) return false
      if (parse(collection, key, stored)) return false
      await removeDamaged(collection, key, stored)
      return trySwap()
    },

    delete: async (collection, key) => {
      checkRecord(lifetime, collection, key)
      const { count } = await postgres.run(
        'remove a record',
        sql => sql`DELETE FROM records WHERE collection = ${collection} AND key = ${key}`,
      )
      seen.delete(seenKey(collection, key))
      return count > 0
    },

    async *list<T>(collection: string, prefix = '') {
      assertOpen(lifetime)
      checkCollection(collection)
      if (prefix !== '') checkKey(prefix)
      let from = prefix
      for (let first = true; ; first = false) {
        assertOpen(lifetime)
        const start = from
        const rows = await postgres.run('list records', sql =>
          first
            ? sql`SELECT key, value FROM records
                WHERE collection = ${collection} AND key >= ${start} ORDER BY key LIMIT ${pageRows}`
            : sql`SELECT key, value FROM records
                WHERE collection = ${collection} AND key > ${start} ORDER BY key LIMIT ${pageRows}`,
        )
        for (const row of rows) {
          const key = String(row['key'])
          // keys with one prefix are neighbours
          if (!key.startsWith(prefix)) return
          from = key
          const found = parse<T>(collection, key, String(row['value']))
          if (found !== undefined) yield [key, found.value] as const
        }
        if (rows.length < pageRows) return
      }
    },
  }
}
