import type { Sql } from 'postgres'

export type LeftoversOptions = {
  /** What our connections are called, and nobody else's. */
  readonly name: string
  /** Milliseconds for which somebody here may still be waiting for an answer. */
  readonly age: number
  readonly ask: (work: (sql: Sql) => Promise<unknown>) => Promise<unknown>
}

export type Leftovers = {
  /** Connections were left. */
  readonly note: () => void
  readonly stop: () => void
}

/** Milliseconds after which it is looked for what was left. */
const delay = 1_000

/**
 * Ends what we left behind on the server: a commit that waits for a synchronous standby sees neither
 * the statement's timeout nor that its client is gone, and would keep its connection, and its locks,
 * until the standby comes. What it wrote stays written there, and nobody was told so; whatever is
 * told later is behind it in the write-ahead log, and so it is at the standby before that is told.
 */
export const openLeftovers = ({ name, age, ask }: LeftoversOptions): Leftovers => {
  let timer: NodeJS.Timeout | undefined
  const sweep = (sql: Sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = ${name} AND wait_event = 'SyncRep'
      AND state_change < now() - make_interval(secs => ${age / 1000})`
  return {
    note: () => {
      timer ??= setTimeout(() => {
        timer = undefined
        // a server that does not answer this has more to do than that
        ask(sweep).catch(() => undefined)
      }, delay).unref()
    },
    stop: () => clearTimeout(timer),
  }
}
