import type { Sql, TransactionSql } from 'postgres'

/** One connection, for one transaction at a time. */
export type LaneOptions = {
  readonly count: number
  /** A client of one connection, which calls `closed` whenever that breaks. */
  readonly connect: (closed: () => void) => Sql
  /** Ends one, within so many seconds. */
  readonly end: (sql: Sql, seconds: number) => Promise<void>
  /** One that is of no use any more. */
  readonly leave: (sql: Sql) => void
}

export type Lanes = {
  /**
   * Runs `work` between BEGIN and COMMIT, with a clock on the whole, the wait for a lane and all.
   * After an error for which `leave` holds the next one gets another connection.
   */
  transaction<T>(
    work: (sql: TransactionSql) => Promise<T>,
    clock: <R>(work: Promise<R>) => Promise<R>,
    leave?: (error: unknown) => boolean,
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
export const openLanes = ({ count, connect, end, leave: abandon }: LaneOptions): Lanes => {
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
  const waiting = new Set<(lane: Lane) => void>()
  const free = (lane: Lane): void => {
    const [next] = waiting
    if (next === undefined) return void idle.push(lane)
    waiting.delete(next)
    next(lane)
  }
  /** Who gives up waiting is passed over. */
  const take = async (clock: (wait: Promise<Lane>) => Promise<Lane>): Promise<Lane> => {
    const lane = idle.pop()
    if (lane) return lane
    let mine: ((lane: Lane) => void) | undefined
    const turn = new Promise<Lane>(resolve => waiting.add((mine = resolve)))
    try {
      return await clock(turn)
    } catch (error) {
      if (mine) waiting.delete(mine)
      throw error
    }
  }
  const renew = (lane: Lane): Lane => {
    all.delete(lane)
    abandon(lane.sql)
    const next = make()
    all.add(next)
    return next
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
    transaction: async (work, clock, leave = () => false) => {
      let lane = await take(clock)
      let ended = false
      const running = run(lane, work).finally(() => (ended = true))
      running.catch(() => undefined)
      try {
        return await clock(running)
      } catch (error) {
        // no answer came, and what hangs there is left to its own; or it is the wrong server
        if (!ended || leave(error)) lane = renew(lane)
        throw error
      } finally {
        free(lane)
      }
    },
    close: async () => {
      await Promise.all(Array.from(all, ({ sql }) => end(sql, 1)))
    },
  }
}
