import { createHash } from 'node:crypto'
import type { Sql } from 'postgres'
import { openLeaseTurns } from '../lease-turns.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { Leases } from '../store.ts'
import { openBatcher } from './batcher.ts'
import type { Postgres } from './postgres.ts'

/** Advisory locks are named by a number of 64 bits: two keys share one as good as never. */
const numberOf = (schema: string, key: string): string =>
  createHash('sha256').update(`${schema} ${key}`).digest().readBigInt64BE(0).toString()

export type SharedLeases = Leases & { drained(): Promise<void> }

/**
 * Leases as advisory locks of one connection of this instance: PostgreSQL frees them when it ends,
 * however it ends.
 */
export const openPostgresLeases = (postgres: Postgres, lifetime: Lifetime): SharedLeases => {
  const own = postgres.own()
  /** Held by nobody, and perhaps by our connection: PostgreSQL did not answer when they were taken or freed. */
  const owed = new Set<string>()
  const free = (sql: Sql, keys: readonly string[]) =>
    sql`SELECT pg_advisory_unlock(held.number) FROM unnest(${keys}::bigint[]) AS held (number)`

  const takes = openBatcher<string, boolean>(500, async keys => {
    const rows = await own.run('take a lease', async sql => {
      const before = [...owed]
      if (before.length > 0) await free(sql, before)
      for (const key of before) owed.delete(key)
      // until it answers: a lock may be taken and the answer lost
      for (const key of keys) owed.add(key)
      return sql`SELECT wanted.number::text AS number, pg_try_advisory_lock(wanted.number) AS taken
          FROM unnest(${keys}::bigint[]) AS wanted (number)`
    })
    for (const key of keys) owed.delete(key)
    const taken = new Map(rows.map(row => [String(row['number']), row['taken'] === true]))
    return keys.map(key => taken.get(key) ?? false)
  })
  const frees = openBatcher<string, void>(500, async keys => {
    await own.run('free a lease', sql => free(sql, keys))
    return keys.map(() => undefined)
  })
  const turns = openLeaseTurns({
    take: key => {
      assertOpen(lifetime)
      return takes.add(numberOf(postgres.schema, key))
    },
    free: key => {
      const number = numberOf(postgres.schema, key)
      return frees.add(number).catch(() => void owed.add(number))
    },
  })
  return {
    ...turns,
    drained: async () => {
      await takes.drained()
      await frees.drained()
    },
  }
}
