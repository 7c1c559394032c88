import type { Sql, TransactionSql } from 'postgres'

/** One connection, for one transaction at a time. */
export type LaneOptions = {
  readonly count: number
  /** A client of one connection, which calls `closed` whenever that breaks. */
  readonly connect: (closed: () => void) => Sql
}

export type Lanes = {
  /** Runs `work` between BEGIN and COMMIT, with a clock on the whole. */
  transaction<T>(
    work: (sql: TransactionSql) => Promise<T>,
    clock: <R>(work: Promise<R>) => Promise<R>,
  ): Promise<T>
  close(): Promise<void>
}

class Broken extends Error {
  readonly code = 'CONNECTION_CLOSED'
}

type Lane = { sql: Sql; breaks: number }

/**
 * Transactions on connections of their own. The client's own `begin` sends ROLLBACK down a
 * connection that has just broken, which ends the process (postgres 3.4, "Cannot read properties of
 * null"); here nothing is sent down a connection that broke since BEGIN.
 */
export const openLanes = ({ count, connect }: LaneOptions): Lanes => {
  const make = (): Lane => {
    const lane: Lane = { breaks: 0, sql: undefined as unknown as Sql }
    lane.sql = connect(() => (lane.breaks += 1))
    return lane
  }
  const all = new Set<Lane>()
  const idle: Lane[] = []
  for (let index = 0; index < count; index++) {
    const lane = make()
    all.add(lane)
    idle.push(lane)
  }
  const waiting: ((lane: Lane) => void)[] = []
  const free = (lane: Lane): void => {
    const next = waiting.shift()
    if (next) next(lane)
    else idle.push(lane)
  }
  const take = (): Promise<Lane> => {
    const lane = idle.pop()
    return lane ? Promise.resolve(lane) : new Promise(resolve => waiting.push(resolve))
  }

  const run = async <T>(lane: Lane, work: (sql: TransactionSql) => Promise<T>): Promise<T> => {
    const { sql } = lane
    await sql`BEGIN`
    const { breaks } = lane
    const check = (): void => {
      if (lane.breaks !== breaks) throw new Broken('The connection broke in a transaction.')
    }
    const checked =
      <A extends unknown[], R>(call: (...args: A) => R) =>
      (...args: A): R => {
        check()
        return call(...args)
      }
    const inside = Object.assign(
      checked((...args: Parameters<Sql>) => sql(...args)),
      { unsafe: checked((text: string) => sql.unsafe(text)) },
    ) as unknown as TransactionSql
    try {
      const result = await work(inside)
      check()
      await sql`COMMIT`
      return result
    } catch (error) {
      if (lane.breaks === breaks) await sql`ROLLBACK`
      throw error
    }
  }

  return {
    transaction: async (work, clock) => {
      let lane = await take()
      let ended = false
      const running = run(lane, work).finally(() => (ended = true))
      running.catch(() => undefined)
      try {
        return await clock(running)
      } catch (error) {
        if (!ended) {
          // no answer came: what hangs there is left to its own
          const { sql } = lane
          all.delete(lane)
          sql.end({ timeout: 0 }).catch(() => undefined)
          lane = make()
          all.add(lane)
        }
        throw error
      } finally {
        free(lane)
      }
    },
    close: async () => {
      await Promise.all(
        [...all].map(({ sql }) => sql.end({ timeout: 1 }).catch(() => undefined)),
      )
    },
  }
}
