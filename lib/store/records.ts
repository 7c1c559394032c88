import { setImmediate as breathe } from 'node:timers/promises'
import type { Database } from './database.ts'
import type { GroupWriter } from './group-writer.ts'
import {
  checkCollection,
  checkKey,
  checkRecord,
  pageRows,
  parseRecord,
  textOf,
} from './record-rules.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { Records } from './store.ts'

/** Entries that a list reads first: most lists are a package's, and short. */
const firstRows = 4

/**
 * Records in SQLite. A read is about 10 µs and touches no file that is in the page cache. A write
 * resolves once it is on the disk; writes made together share that wait (see
 * group-writer.ts). Keys are ordered by their UTF-8 bytes, in `list` too, which shows each entry as
 * it is when it is reached.
 */
export const openRecords = (
  database: Database,
  writer: GroupWriter,
  lifetime: Lifetime,
  log: StoreLog,
): Records => {
  const select = database.prepare('SELECT value FROM records WHERE collection = ? AND key = ?')
  const upsert = database.prepare(
    `INSERT INTO records VALUES (?, ?, ?)
     ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value`,
  )
  const insert = database.prepare('INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const update = database.prepare(
    'UPDATE records SET value = ? WHERE collection = ? AND key = ? AND value = ?',
  )
  const remove = database.prepare('DELETE FROM records WHERE collection = ? AND key = ?')
  const removeValue = database.prepare(
    'DELETE FROM records WHERE collection = ? AND key = ? AND value = ?',
  )
  const keysFrom = database.prepare(
    'SELECT key FROM records WHERE collection = ? AND key >= ? ORDER BY key LIMIT ?',
  )
  const keysAfter = database.prepare(
    'SELECT key FROM records WHERE collection = ? AND key > ? ORDER BY key LIMIT ?',
  )

  const parse = <T>(collection: string, key: string, text: string) =>
    parseRecord<T>(collection, key, text, log)

  const look = async <T>(collection: string, key: string): Promise<T | undefined> => {
    const row = await database.read('read a record', () => select.get(collection, key))
    const text = row?.['value']
    return typeof text === 'string' ? parse<T>(collection, key, text)?.value : undefined
  }

  const checkCall = (collection: string, key: string) => checkRecord(lifetime, collection, key)

  const pageOf = async (
    collection: string,
    from: string,
    after: boolean,
    count: number,
  ): Promise<string[]> => {
    const statement = after ? keysAfter : keysFrom
    const rows = await database.read('list records', () =>
      statement.all(collection, from, count),
    )
    return rows.map(row => String(row['key']))
  }

  return {
    get: async <T>(collection: string, key: string) => {
      checkCall(collection, key)
      return await look<T>(collection, key)
    },

    put: async (collection, key, value, { lasting = true } = {}) => {
      checkCall(collection, key)
      const text = textOf(collection, key, value)
      const write = () => upsert.run(collection, key, text)
      await (lasting ? writer.write(text.length, write) : writer.writeAlong(text.length, write))
    },

    putIfAbsent: async <T>(collection: string, key: string, value: T) => {
      checkCall(collection, key)
      const text = textOf(collection, key, value)
      for (;;) {
        const row = await writer.write(text.length, () => {
          insert.run(collection, key, text)
          return select.get(collection, key)
        })
        const stored = String(row?.['value'])
        const found = parse<T>(collection, key, stored)
        if (found !== undefined) return found.value
        // A damaged row counts as absent; it goes only if it is still the one we saw.
        await writer.write(0, () => removeValue.run(collection, key, stored))
      }
    },

    swap: async <T>(collection: string, key: string, before: T | undefined, after: T) => {
      checkCall(collection, key)
      const text = textOf(collection, key, after)
      // what JSON.parse read, JSON.stringify writes again as it was
      const was = before === undefined ? undefined : textOf(collection, key, before)
      const written = await writer.write(text.length, () =>
        was === undefined
          ? insert.run(collection, key, text)
          : update.run(text, collection, key, was),
      )
      if (Number(written.changes) > 0) return true
      const row = await database.read('read a record', () => select.get(collection, key))
      const stored = row?.['value']
      const damaged = typeof stored === 'string' && !parse(collection, key, stored)
      // a damaged row counts as absent
      if (was !== undefined || !damaged) return false
      const { changes } = await writer.write(text.length, () =>
        update.run(text, collection, key, stored),
      )
      return Number(changes) > 0
    },

    delete: async (collection, key) => {
      checkCall(collection, key)
      const { changes } = await writer.write(0, () => remove.run(collection, key))
      return Number(changes) > 0
    },

    async *list<T>(collection: string, prefix = '') {
      assertOpen(lifetime)
      checkCollection(collection)
      if (prefix !== '') checkKey(prefix)
      let count = firstRows
      let keys = await pageOf(collection, prefix, false, count)
      while (keys.length > 0) {
        for (const key of keys) {
          // Keys with one prefix are neighbours.
          if (!key.startsWith(prefix)) return
          const value = await look<T>(collection, key)
          if (value !== undefined) yield [key, value] as const
        }
        const last = keys.at(-1)
        if (keys.length < count || last === undefined) return
        // A long list must not keep the server from its requests.
        await breathe()
        assertOpen(lifetime)
        count = pageRows
        keys = await pageOf(collection, last, true, count)
      }
    },
  }
}
