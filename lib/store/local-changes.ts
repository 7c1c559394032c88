import { randomUUID } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { Database } from './database.ts'
import type { GroupWriter } from './group-writer.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { Change, Changes } from './store.ts'

/** Milliseconds between looks while somebody listens; one that finds nothing is some µs. */
const interval = 100
/** Changes kept for those who are slow to look; whoever is slower still is told to resync. */
const keptRows = 10_000
const pruneEvery = 500
const pageRows = 500

export type LocalChanges = Changes & { stop(): Promise<void> }

/**
 * Changes as rows that every process on the store reads in turn. `PRAGMA data_version` tells
 * whether another connection wrote anything at all; numbers without a gap tell whether all was
 * read.
 */
export const openLocalChanges = async (
  database: Database,
  writer: GroupWriter,
  lifetime: Lifetime,
  log: StoreLog,
): Promise<LocalChanges> => {
  const origin = randomUUID()
  const insert = database.prepare('INSERT INTO changes (origin, topic, key) VALUES (?, ?, ?)')
  const prune = database.prepare('DELETE FROM changes WHERE seq <= ?')
  const newest = database.prepare('SELECT max(seq) AS seq FROM changes')
  const after = database.prepare(
    `SELECT seq, origin, topic, key FROM changes WHERE seq > ? ORDER BY seq LIMIT ${pageRows}`,
  )
  const dataVersion = database.prepare('PRAGMA data_version')

  const listeners = new Set<(news: Change | 'resync') => void>()
  const tell = (news: Change | 'resync'): void => {
    for (const listener of listeners) listener(news)
  }
  const versionNow = () => Number(dataVersion.get()?.['data_version'])

  let last = await database.read('read changes', () => Number(newest.get()?.['seq'] ?? 0))
  let seen: number | undefined
  let failing = false

  const look = async (): Promise<void> => {
    // taken before the rows: what is written after them shows as yet another version
    const version = versionNow()
    if (version === seen) return
    for (;;) {
      const rows = await database.read('read changes', () => after.all(last))
      const [first] = rows
      if (first !== undefined && Number(first['seq']) > last + 1) tell('resync')
      for (const row of rows) {
        last = Number(row['seq'])
        if (row['origin'] === origin) continue
        tell({ topic: row['topic'] as Change['topic'], key: String(row['key']) })
      }
      if (rows.length < pageRows) break
    }
    seen = version
  }

  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  const turn = (): void => {
    looking ??= look()
      .then(
        () => void (failing = false),
        (error: unknown) => {
          // told once; what was missed is read at a later turn
          if (!failing && !lifetime.closed)
            log({ event: 'background-failed', job: 'changes', detail: messageOf(error) })
          failing = true
        },
      )
      .finally(() => (looking = undefined))
  }

  return {
    publish: async ({ topic, key }) => {
      assertOpen(lifetime)
      await writer.writeAlong(key.length + 60, () => {
        const { lastInsertRowid } = insert.run(origin, topic, key)
        const row = Number(lastInsertRowid)
        if (row % pruneEvery === 0) prune.run(row - keptRows)
      })
    },
    subscribe: listener => {
      assertOpen(lifetime)
      // the same function may listen twice
      const heard = (news: Change | 'resync') => listener(news)
      listeners.add(heard)
      timer ??= setInterval(turn, interval).unref()
      return () => {
        listeners.delete(heard)
        if (listeners.size > 0) return
        clearInterval(timer)
        timer = undefined
      }
    },
    stop: async () => {
      clearInterval(timer)
      await looking
    },
  }
}
