/** The connections to PostgreSQL: a pool, what is done when it is away, and a clock on every query. */
import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import type { Sql, TransactionSql } from 'postgres'
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import { openCircuit, type StoreCall } from './circuit.ts'
import { openLanes } from './lanes.ts'
import { networkCodes } from './network-codes.ts'
import { openLeftovers } from './postgres-leftovers.ts'
import { openSockets } from './postgres-sockets.ts'
import { openRefusals } from './refusals.ts'

export type PostgresOptions = {
  /** `postgres://user:password@host:port/database`; several hosts by commas: the one that takes writes is used. */
  readonly url: string
  /** Where our tables are; made when missing. */
  readonly schema: string
  readonly connections: number
  /** Milliseconds that one query may take. */
  readonly timeout: number
  /** Milliseconds of an outage that calls wait out. */
  readonly patience: number
  /** PEM of the authority that signed the server's certificate. */
  readonly ca?: string | undefined
}

export type Postgres = {
  readonly schema: string
  /** `work` may be run again: it must come to the same when it is done twice. */
  run<T>(doing: string, work: (sql: Sql) => Promise<T>): Promise<T>
  /** The same, as one transaction. */
  transaction<T>(doing: string, work: (sql: TransactionSql) => Promise<T>): Promise<T>
  /** A connection of its own, that nothing else uses, for as long as it lives. */
  single(): Sql
  /** The same where what it does is sent as `run` does; another connection follows one that is silent. */
  own(): Pick<Postgres, 'run'>
  /** Milliseconds that one query may take. */
  readonly timeout: number
  close(): Promise<void>
}

export type PostgresTools = {
  readonly lifetime: Lifetime
  readonly log: StoreLog
  readonly onCall?: ((call: StoreCall) => void) | undefined
  /** Each statement as it is sent; for tests of their plans. */
  readonly onQuery?: ((text: string) => void) | undefined
}

/** Connections that could not be made or that broke; Node's codes and those of the client. */
const broken = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  ...networkCodes,
])

/** PostgreSQL's own codes, appendix A of its manual, for "not now". */
const notNow = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '53300', // too_many_connections
  '57014', // query_canceled, by its timeout
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
])

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

export const isPostgresDown = (error: unknown): boolean => {
  const code = codeOf(error)
  return broken.has(code) || notNow.has(code) || code.startsWith('08')
}

/** read_only_sql_transaction: a standby, while another takes over, or a primary made so. */
const isReadOnly = (error: unknown): boolean => codeOf(error) === '25006'

/** What is there can be read, and nothing can be written: 53 is "no room". */
const isRefusal = (error: unknown): boolean =>
  isReadOnly(error) || (codeOf(error).startsWith('53') && !isPostgresDown(error))

const element = (value: string | number | null): string =>
  value === null ? 'NULL' : `"${String(value).replaceAll(/["\\]/g, String.raw`\$&`)}"`

/**
 * Arrays of int, bigint, text and uuid as parameters. The client would ask each new connection how
 * arrays are written, and a rejection of that query is nobody's to catch (postgres 3.4): it ends the
 * process when a connection is given up while it is made.
 */
const arrays = {
  fetch_types: false,
  types: {
    array: {
      to: 1009,
      from: [1007, 1009, 1016, 2951],
      serialize: (values: readonly (string | number | null)[]) =>
        `{${values.map(element).join(',')}}`,
      parse: (text: string) => text,
    },
  },
}

/** Milliseconds between two times that other connections are made because a server is read-only. */
const renewals = 2_000

class QueryTimeout extends Error {
  readonly code = 'ETIMEDOUT'
}

export const openPostgres = (options: PostgresOptions, tools: PostgresTools): Postgres => {
  const { url, schema, timeout } = options
  const { lifetime, log } = tools
  const called = `attestry ${randomUUID().slice(0, 8)}`
  const sockets = openSockets({ burst: options.connections + 8 })
  const ended = new WeakSet<Sql>()
  const end = async (sql: Sql, seconds: number): Promise<void> => {
    ended.add(sql)
    await sql.end({ timeout: seconds }).catch(() => undefined)
  }
  const connect = (max: number, onclose: () => void = () => undefined): Sql => {
    // an option that the client's types do not list
    const unlisted = { socket: sockets.maker(() => ended.has(sql)) }
    const sql: Sql = postgres(url, {
      ...arrays,
      ...unlisted,
      onclose,
      max,
      connect_timeout: Math.max(1, Math.ceil(timeout / 1000)),
      // when to try again is the circuit's to say
      backoff: () => 0.05,
      // leases live as long as their connection
      ...(max === 1 && { max_lifetime: null, idle_timeout: 0 }),
      ...(options.ca !== undefined && { ssl: { ca: options.ca, rejectUnauthorized: true } }),
      ...(url.includes(',') && { target_session_attrs: 'read-write' as const }),
      connection: {
        application_name: called,
        search_path: schema,
        statement_timeout: timeout,
        lock_timeout: timeout,
        idle_in_transaction_session_timeout: timeout * 2,
        tcp_keepalives_idle: 10,
        tcp_keepalives_interval: 5,
        tcp_keepalives_count: 3,
      },
      onnotice: () => undefined,
      ...(tools.onQuery && { debug: (_connection, query) => tools.onQuery?.(query) }),
    })
    return sql
  }
  const lanes = openLanes({
    count: 3,
    connect: closed => connect(1, closed),
    end,
    leave: sql => leave(sql),
  })
  const singles = new Set<Sql>()
  const leave = (sql: Sql): void => {
    void end(sql, 0)
    leftovers.note()
  }

  /** The server's own timeout comes first where it is able to keep it. */
  const patient = timeout * 1.5
  const clocked = async <T>(work: Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined
    const clock = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new QueryTimeout(`no answer in ${timeout} ms`)), patient)
    })
    try {
      return await Promise.race([work, clock])
    } finally {
      clearTimeout(timer)
    }
  }
  /** Connections that are left after an answer that never came, and behind a server that is read-only. */
  const openWires = (count: number) => {
    let wires = connect(count)
    let renewedAt = 0
    const renew = (used: Sql): void => {
      if (used !== wires || lifetime.closed) return
      renewedAt = performance.now()
      wires = connect(count)
      leave(used)
    }
    return {
      run: async <T>(work: (sql: Sql) => Promise<T>): Promise<T> => {
        const sql = wires
        try {
          return await clocked(work(sql))
        } catch (error) {
          const elsewhere = isReadOnly(error) && performance.now() - renewedAt > renewals
          if (error instanceof QueryTimeout || elsewhere) renew(sql)
          throw error
        }
      },
      /** Without consequences. */
      ask: async <T>(work: (sql: Sql) => Promise<T>): Promise<T> => clocked(work(wires)),
      close: () => end(wires, 1),
    }
  }
  const pool = openWires(options.connections)
  const leftovers = openLeftovers({ name: called, age: patient, ask: pool.ask })
  const owned = new Set([pool])

  const circuit = openCircuit({
    part: 'postgres',
    name: 'PostgreSQL',
    isDown: isPostgresDown,
    isSilent: error => error instanceof QueryTimeout,
    patience: options.patience,
    onCall: tools.onCall,
    onDown: detail => log({ event: 'unreachable', part: 'postgres', detail }),
    onUp: milliseconds => log({ event: 'reachable', part: 'postgres', milliseconds }),
  })

  const refusals = openRefusals({
    name: 'PostgreSQL',
    isRefusal,
    patience: options.patience,
    onRefused: detail => log({ event: 'refusing', part: 'postgres', detail }),
    onTaken: milliseconds => log({ event: 'taking', part: 'postgres', milliseconds }),
  })

  const inCircuit = async <T>(doing: string, call: () => Promise<T>): Promise<T> => {
    assertOpen(lifetime)
    const guarded = () => {
      assertOpen(lifetime)
      return call()
    }
    try {
      return await refusals(doing, () => circuit.run(doing, guarded))
    } catch (error) {
      if (isAttestryError(error)) throw error
      const why = `Cannot ${doing} in PostgreSQL: ${messageOf(error)}`
      throw new AttestryError('ESTORE', `${why}.`, {
        cause: error,
        details: { code: codeOf(error) },
      })
    }
  }

  return {
    schema,
    timeout,
    run: (doing, work) => inCircuit(doing, () => pool.run(work)),
    transaction: (doing, work) =>
      inCircuit(doing, () => lanes.transaction(work, clocked, isReadOnly)),
    single: () => {
      const sql = connect(1)
      singles.add(sql)
      return sql
    },
    own: () => {
      const wires = openWires(1)
      owned.add(wires)
      return { run: (doing, work) => inCircuit(doing, () => wires.run(work)) }
    },
    close: async () => {
      leftovers.stop()
      await Promise.all([
        ...Array.from(owned, wires => wires.close()),
        ...Array.from(singles, sql => end(sql, 1)),
        lanes.close(),
      ])
    },
  }
}
