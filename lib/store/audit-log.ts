import { setImmediate as breathe } from 'node:timers/promises'
import type { AuditEntry } from '../types.ts'
import type { Database } from './database.ts'
import type { GroupWriter } from './group-writer.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { AuditLog, StoredAuditEntry } from './store.ts'

/** Characters of JSON in one entry. */
export const entryMax = 256 * 1024
const pageRows = 64

/**
 * The audit log in SQLite: a table whose triggers refuse every change. An append resolves once it
 * is on the disk, so that no crash loses one that was acknowledged.
 */
export const openAuditLog = (
  database: Database,
  writer: GroupWriter,
  lifetime: Lifetime,
  log: StoreLog,
): AuditLog => {
  const insert = database.prepare('INSERT INTO audit (name, entry) VALUES (?, ?)')
  const page = database.prepare(
    'SELECT seq, entry FROM audit WHERE seq > ? ORDER BY seq LIMIT ?',
  )
  const pageByName = database.prepare(
    'SELECT seq, entry FROM audit WHERE name = ? AND seq > ? ORDER BY seq LIMIT ?',
  )

  const parse = (seq: number, text: string): StoredAuditEntry | undefined => {
    try {
      return { ...(JSON.parse(text) as AuditEntry), seq }
    } catch {
      log({ event: 'audit-damaged', seq })
      return undefined
    }
  }

  return {
    append: async entry => {
      assertOpen(lifetime)
      const text = JSON.stringify(entry)
      if (text.length > entryMax) {
        throw refusal(`An audit entry of ${text.length} characters is too big.`, {
          package: entry.package,
          wanted: entryMax,
        })
      }
      await writer.write(text.length, () => insert.run(entry.package.name, text))
    },

    async *read({ after = 0, limit = Number.POSITIVE_INFINITY, name } = {}) {
      assertOpen(lifetime)
      let left = limit
      let last = after
      while (left > 0) {
        const count = Math.min(left, pageRows)
        const rows = await database.read('read the audit log', () =>
          name === undefined ? page.all(last, count) : pageByName.all(name, last, count),
        )
        for (const row of rows) {
          last = Number(row['seq'])
          const entry = parse(last, String(row['entry']))
          if (entry !== undefined) yield entry
        }
        if (rows.length < count) return
        left -= rows.length
        await breathe()
        assertOpen(lifetime)
      }
    },
  }
}
