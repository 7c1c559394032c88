import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { ListenMeta, Sql } from 'postgres'
import { messageOf } from '../../errors.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import type { Change, Changes } from '../store.ts'
import { openBatcher } from './batcher.ts'
import type { Postgres } from './postgres.ts'

/** Milliseconds between looks when no notification comes; a proxy may swallow them. */
const interval = 750
const keptRows = 20_000
const pageRows = 500

export type SharedChanges = Changes & { stop(): Promise<void>; drained(): Promise<void> }

/**
 * Changes as rows under numbers without a gap (the row that counts them is locked while they are
 * added), told at once by NOTIFY, and found by looking where that does not arrive.
 */
export const openPostgresChanges = async (
  postgres: Postgres,
  lifetime: Lifetime,
  log: StoreLog,
): Promise<SharedChanges> => {
  const origin = randomUUID()
  const channel = `attestry_${postgres.schema}`.slice(0, 63)
  const listeners = new Set<(news: Change | 'resync') => void>()
  const tell = (news: Change | 'resync'): void => {
    for (const listener of listeners) listener(news)
  }
  const newest = async (sql: Pick<Sql, never> & Sql) => {
    const [row] = await sql`SELECT seq FROM change_count WHERE one = 1`
    return Number(row?.['seq'] ?? 0)
  }

  let last = await postgres.run('read changes', newest)

  const look = async (): Promise<void> => {
    for (;;) {
      const start = last
      const { rows, count } = await postgres.run('read changes', async sql => ({
        count: await newest(sql),
        rows: await sql`SELECT seq, origin, topic, key FROM changes WHERE seq > ${start}
          ORDER BY seq LIMIT ${pageRows}`,
      }))
      const [first] = rows
      // pruned before we came, or a database that was set back
      if (count < last || (first !== undefined && Number(first['seq']) > last + 1)) {
        tell('resync')
        last = Math.min(last, count)
      }
      for (const row of rows) {
        last = Number(row['seq'])
        if (row['origin'] === origin) continue
        tell({ topic: row['topic'] as Change['topic'], key: String(row['key']) })
      }
      if (rows.length < pageRows) return
    }
  }

  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let again = false
  const turn = (): void => {
    if (lifetime.closed || listeners.size === 0) return
    if (looking) {
      again = true
      return
    }
    again = false
    looking = look()
      // that PostgreSQL is away is told elsewhere, and what was missed is read when it is back
      .catch(() => undefined)
      .finally(() => {
        looking = undefined
        if (again) turn()
      })
  }

  const ear = postgres.single()
  let listening: Promise<ListenMeta | undefined> | undefined
  const listen = (): void => {
    listening ??= ear.listen(channel, turn, turn).catch((error: unknown) => {
      listening = undefined
      if (lifetime.closed) return undefined
      log({ event: 'background-failed', job: 'listen', detail: messageOf(error) })
      setTimeout(listen, 5_000).unref()
      return undefined
    })
  }

  const batcher = openBatcher<Change, void>(500, async changes => {
    await postgres.transaction('publish changes', async sql => {
      const [row] = await sql`UPDATE change_count SET seq = seq + ${changes.length}
        WHERE one = 1 RETURNING seq`
      const end = Number(row?.['seq'])
      const start = end - changes.length
      await sql`INSERT INTO changes SELECT * FROM unnest(
        ${changes.map((_, index) => start + index + 1)}::bigint[],
        ${changes.map(() => origin)}::uuid[],
        ${changes.map(({ topic }) => topic)}::text[],
        ${changes.map(({ key }) => key)}::text[])`
      if (Math.floor(end / 500) > Math.floor(start / 500))
        await sql`DELETE FROM changes WHERE seq <= ${end - keptRows}`
      await sql`SELECT pg_notify(${channel}, ${String(end)})`
    })
    return changes.map(() => undefined)
  })

  return {
    publish: async change => {
      assertOpen(lifetime)
      await batcher.add(change)
    },
    subscribe: listener => {
      assertOpen(lifetime)
      // the same function may listen twice
      const heard = (news: Change | 'resync') => listener(news)
      listeners.add(heard)
      listen()
      timer ??= setInterval(turn, interval).unref()
      return () => {
        listeners.delete(heard)
        if (listeners.size > 0) return
        clearInterval(timer)
        timer = undefined
      }
    },
    drained: batcher.drained,
    stop: async () => {
      clearInterval(timer)
      await looking
      // else the client connects again for it whenever its connection ends, and the process lives on
      const unlisten = listening?.then(async heard => heard?.unlisten())
      await Promise.race([
        unlisten?.catch(() => undefined),
        pause(1000, undefined, { ref: false }),
      ])
    },
  }
}
