import { setImmediate as breathe } from 'node:timers/promises'
import type { AuditEntry } from '../types.ts'
import type { Database } from './database.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { AuditLog, StoredAuditEntry } from './store.ts'

/** Characters of JSON in one entry, and in all that wait to be written. */
export const entryMax = 256 * 1024
const waitingMax = 32 * 1024 * 1024
/** Entries in one transaction: about 1 ms. */
const batchRows = 256
const pageRows = 64

type Waiting = {
  readonly name: string
  readonly text: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export type LocalAuditLog = AuditLog & {
  /** Resolves when nothing waits any more. */
  drained(): Promise<void>
}

/**
 * The audit log in SQLite: a table whose triggers refuse every change. Appends made in one turn of
 * the event loop, and those that arrive while the disk is busy, are written in one transaction; an
 * append resolves once it is on the disk, so that a crash loses none that was acknowledged.
 * When the disk cannot keep up, appends fail (ESTORE) rather than fill the memory.
 */
export const openAuditLog = (
  database: Database,
  lifetime: Lifetime,
  log: StoreLog,
): LocalAuditLog => {
  const insert = database.prepare('INSERT INTO audit (name, entry) VALUES (?, ?)')
  const page = database.prepare(
    'SELECT seq, entry FROM audit WHERE seq > ? ORDER BY seq LIMIT ?',
  )
  const pageByName = database.prepare(
    'SELECT seq, entry FROM audit WHERE name = ? AND seq > ? ORDER BY seq LIMIT ?',
  )

  const waiting: Waiting[] = []
  let waitingSize = 0
  let writing: Promise<void> | undefined

  const writeBatch = async (): Promise<void> => {
    const batch = waiting.splice(0, batchRows)
    const size = batch.reduce((sum, { text }) => sum + text.length, 0)
    try {
      await database.transaction('write the audit log', size, () => {
        for (const { name, text } of batch) insert.run(name, text)
      })
      await database.settled()
      for (const { resolve } of batch) resolve()
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      waitingSize -= size
    }
  }

  const writeAll = async (): Promise<void> => {
    await breathe()
    while (waiting.length > 0) await writeBatch()
    writing = undefined
  }

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
      if (waitingSize + text.length > waitingMax) {
        throw refusal('The audit log cannot keep up: the disk is too slow or stuck.')
      }
      await new Promise<void>((resolve, reject) => {
        waitingSize += text.length
        waiting.push({ name: entry.package.name, text, resolve, reject })
        writing ??= writeAll()
      })
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

    drained: async () => {
      while (writing !== undefined) await writing
    },
  }
}
