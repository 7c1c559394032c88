import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import type { StatementSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { openCheckpointer } from './checkpointer.ts'
import { applicationId, migrations } from './migrations.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal, sqliteCode, storeError } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import { syncBarrier } from './wal-sync.ts'

/** SQLite's own waiting stops the whole thread, so it gets only this long at a time. */
const busyTimeout = 4
const pageSize = 4096

export type Database = {
  prepare(sql: string): StatementSync
  /** Runs `work`, again while the database is locked. `doing` completes "Cannot …". */
  read<T>(doing: string, work: () => T): Promise<T>
  /** The same for one statement that writes about `bytes`; atomic, as a statement is. */
  write<T>(doing: string, bytes: number, work: () => T): Promise<T>
  /** The same for several statements, as one transaction. */
  transaction<T>(doing: string, bytes: number, work: () => T): Promise<T>
  /** Tells of bytes that a transaction wrote beyond those it was given. */
  wrote(bytes: number): void
  /** Resolves when all writes so far would survive a loss of power. */
  settled(): Promise<void>
  close(): Promise<void>
}

export type DatabaseOptions = {
  readonly now: () => Date
  readonly log: StoreLog
  /** Milliseconds; default 5,000. */
  readonly patience?: number
}

const numberOf = (row: Record<string, unknown> | undefined, column: string): number =>
  Number(row?.[column] ?? 0)

const migrate = (database: DatabaseSync, path: string, now: () => Date): void => {
  const owner = numberOf(database.prepare('PRAGMA application_id').get(), 'application_id')
  const tables = numberOf(
    database.prepare('SELECT count(*) AS tables FROM sqlite_master').get(),
    'tables',
  )
  if (owner !== applicationId && (owner !== 0 || tables !== 0)) {
    throw refusal(`${path} is a database of something else; move it away.`, { path })
  }
  const version =
    owner === applicationId
      ? numberOf(
          database.prepare('SELECT max(version) AS version FROM migrations').get(),
          'version',
        )
      : 0
  if (version > migrations.length) {
    throw refusal(
      `${path} has tables of version ${version}; this version knows up to ${migrations.length}. ` +
        'Use the newer version that made it.',
      { path, found: version, wanted: migrations.length },
    )
  }
  // Nothing is written to a database that is up to date.
  if (version === migrations.length) return
  database.exec(
    `PRAGMA application_id = ${applicationId};
     CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, applied TEXT NOT NULL) STRICT`,
  )
  const note = database.prepare('INSERT INTO migrations VALUES (?, ?)')
  for (const [index, step] of migrations.entries()) {
    if (index < version) continue
    if (typeof step === 'string') database.exec(step)
    else step(database)
    note.run(index + 1, now().toISOString())
  }
}

const inTransaction = <T>(database: DatabaseSync, work: () => T): T => {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // Some failures (a full disk) have rolled back already.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

const connect = (path: string): DatabaseSync => {
  const database = new DatabaseSync(path, { timeout: busyTimeout })
  try {
    const row = database.prepare('PRAGMA journal_mode = WAL').get()
    if (row?.['journal_mode'] !== 'wal') {
      throw refusal(
        `${path} is on a file system without shared memory (WAL); use a local disk.`,
      )
    }
    // NORMAL: commits survive kill -9 as they are; `settled` makes them survive a loss of power.
    // The checkpointer takes the log away; SQLite itself only if that fails (64 MiB).
    database.exec(
      `PRAGMA synchronous = NORMAL;
       PRAGMA wal_autocheckpoint = 16384;
       PRAGMA journal_size_limit = 67108864;
       PRAGMA cache_size = -16384;
       PRAGMA trusted_schema = OFF`,
    )
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

type Patience = {
  /** Milliseconds that a call waits for a lock held by another process. */
  readonly patience: number
  readonly alive?: () => void
}

const retrying = async <T>(
  doing: string,
  path: string,
  { patience, alive = () => undefined }: Patience,
  work: () => T,
): Promise<T> => {
  const deadline = performance.now() + patience
  for (let wait = 2; ; wait = Math.min(wait * 2, 50)) {
    alive()
    try {
      return work()
    } catch (error) {
      const locked = sqliteCode(error) === 5
      if (!locked || performance.now() > deadline) throw storeError(doing, path, error)
    }
    await pause(wait)
  }
}

/**
 * Opens or makes the database, brings its tables up to date, and refuses one that is not ours or
 * newer than we are (ESTORE). Several processes may share it.
 */
export const openDatabase = async (
  path: string,
  lifetime: Lifetime,
  { now, log, patience = 5000 }: DatabaseOptions,
): Promise<Database> => {
  const database = await retrying('open the database', path, { patience }, () => connect(path))
  let walFile: FileHandle
  try {
    await retrying('prepare the database', path, { patience }, () =>
      inTransaction(database, () => migrate(database, path, now)),
    )
    // The log exists as long as a connection that has used it. SQLite takes its locks on other
    // files, so that a second handle on this one disturbs none.
    walFile = await open(`${path}-wal`, 'r+')
  } catch (error) {
    database.close()
    throw storeError('open the database', path, error)
  }
  const synced = syncBarrier(walFile)
  const checkpointer = openCheckpointer(path, detail =>
    log({ event: 'background-failed', job: 'checkpoint', detail }),
  )
  const alive = () => assertOpen(lifetime)

  const wrote = (bytes: number) => checkpointer.wrote(3 + Math.ceil(bytes / pageSize))
  const write = async <T>(doing: string, bytes: number, work: () => T): Promise<T> => {
    const result = await retrying(doing, path, { patience, alive }, work)
    wrote(bytes)
    return result
  }

  return {
    prepare: sql => database.prepare(sql),
    read: (doing, work) => retrying(doing, path, { patience, alive }, work),
    write,
    transaction: (doing, bytes, work) =>
      write(doing, bytes, () => inTransaction(database, work)),
    wrote,
    settled: async () => {
      try {
        await synced()
      } catch (error) {
        throw storeError('write to the database', path, error)
      }
    },
    close: async () => {
      await checkpointer.close()
      await synced().catch(() => undefined)
      await walFile.close()
      database.close()
    },
  }
}
