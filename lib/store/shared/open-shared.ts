import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { isAttestryError, messageOf } from '../../errors.ts'
import { auditText } from '../audit-rules.ts'
import { openLocalStore } from '../local.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import type { AuditLog, Store } from '../store.ts'
import { openBatcher } from './batcher.ts'
import { openBlobRows } from './blob-rows.ts'
import { downError, type StoreCall } from './circuit.ts'
import { openOutbox } from './outbox.ts'
import { openPostgres, type PostgresOptions } from './postgres.ts'
import { openPostgresAudit, type Appended } from './postgres-audit.ts'
import { openPostgresChanges } from './postgres-changes.ts'
import { openPostgresLeases } from './postgres-leases.ts'
import { migrate } from './postgres-migrations.ts'
import { openPostgresRecords } from './postgres-records.ts'
import { isS3Refusal, openS3, type S3Options } from './s3.ts'
import { openSharedBlobs } from './shared-blobs.ts'
import { evictShared } from './shared-eviction.ts'

const MiB = 1024 * 1024

export type SharedStoreOptions = {
  readonly postgres: PostgresOptions
  readonly s3: S3Options & {
    /** Bytes in the bucket above which the least recently used blobs go; default no limit. */
    readonly maxBytes?: number | undefined
  }
  /** A directory of this instance alone: copies of blobs, and audit entries that wait. */
  readonly path: string
  /** Bytes of copies on the disk. Default 20 GiB. */
  readonly maxBytes?: number
  /** Bytes of memory, for small blobs and for records that stand in during an outage. Default 64 MiB. */
  readonly memoryBytes?: number
  readonly now?: () => Date
  readonly log?: StoreLog
  readonly onCall?: (call: StoreCall) => void
  /** Each statement as it is sent; for tests of their plans. */
  readonly onQuery?: (text: string) => void
}

export type SharedStore = Store & Required<Pick<Store, 'backlog'>>

/** Milliseconds between looks at how full the bucket is, and writings of what was used. */
const tidyInterval = 60_000

/**
 * The shared store: records, audit log, changes and leases in PostgreSQL, blobs in a bucket, in
 * front of both the memory and the disk of this machine. Throws ESTOREDOWN when one of them cannot
 * be reached, ESTORE when the tables are not ours to use.
 */
export const openSharedStore = async (options: SharedStoreOptions): Promise<SharedStore> => {
  const { now = () => new Date(), log = () => undefined, onCall, onQuery } = options
  const memoryBytes = options.memoryBytes ?? 64 * MiB
  const lifetime: Lifetime = { closed: false }
  /** What is under way when the store is closed still ends. */
  const inner: Lifetime = { closed: false }
  const local = await openLocalStore({
    path: options.path,
    memoryBytes: Math.floor(memoryBytes / 2),
    now,
    log,
    ...(options.maxBytes !== undefined && { maxBytes: options.maxBytes }),
  })
  const postgres = openPostgres(options.postgres, { lifetime: inner, log, onCall, onQuery })
  const s3 = openS3(options.s3, { lifetime: inner, log, onCall })
  const closeParts = async () => {
    inner.closed = true
    await postgres.close()
    s3.close()
    await local.close()
  }
  try {
    await migrate(postgres)
    const records = openPostgresRecords(postgres, lifetime, log, Math.floor(memoryBytes / 2))
    const shared = openPostgresAudit(postgres, lifetime, log, now)
    const outbox = await openOutbox(local.records, shared, log)
    const changes = await openPostgresChanges(postgres, lifetime, log)
    const leases = openPostgresLeases(postgres, lifetime)
    const rows = openBlobRows(postgres, now)
    const blobs = openSharedBlobs({ s3, rows, local: local.blobs, lifetime, log })
    const forgetRevoked = changes.subscribe(news => {
      if (news === 'resync') records.forget()
      else if (news.topic === 'token') records.forget('token')
    })

    /** Verdicts that were on record before: on to PostgreSQL, or onto the disk while it is away. */
    const repeated = openBatcher<Appended, void>(500, async entries => {
      const id = randomUUID()
      const behind = outbox.waiting() > 0
      if (behind) await outbox.add(id, entries)
      else {
        await shared.appendBatch(id, entries).catch(async (error: unknown) => {
          if (!isAttestryError(error) || error.code !== 'ESTOREDOWN') throw error
          await outbox.add(id, entries)
        })
      }
      return entries.map(() => undefined)
    })
    const audit: AuditLog = {
      ...shared,
      append: async entry => {
        assertOpen(lifetime)
        if (entry.fresh) return shared.append(entry)
        await repeated.add({ name: entry.package.name, text: auditText(entry) })
      },
    }

    const max = options.s3.maxBytes ?? Number.MAX_SAFE_INTEGER
    const stopping = () => lifetime.closed
    const evict = () => evictShared({ rows, blobs, leases, max, stopping })
    let tidying: Promise<unknown> | undefined
    const tidy = setInterval(() => {
      tidying = Promise.all([evict(), shared.tidy()]).catch((error: unknown) =>
        log({ event: 'background-failed', job: 'eviction', detail: messageOf(error) }),
      )
    }, tidyInterval)
    tidy.unref()

    const closeAll = async () => {
      lifetime.closed = true
      clearInterval(tidy)
      await tidying
      forgetRevoked()
      await changes.stop()
      await Promise.all([
        repeated.drained(),
        shared.drained(),
        changes.drained(),
        leases.drained(),
      ])
      await outbox.stop()
      await blobs.stop()
      await rows.flushTouches().catch(() => undefined)
      await closeParts()
    }
    let closing: Promise<void> | undefined

    const checkAll = async () => {
      const note = postgres.run(
        'write to PostgreSQL',
        sql => sql`INSERT INTO checks VALUES (1, now())
            ON CONFLICT (one) DO UPDATE SET at = excluded.at`,
      )
      const object = s3.overwrite('check', Buffer.from('attestry')).catch(async error => {
        // full, or read-only: what is in it can be served, and the rest from here
        if (!isS3Refusal(error)) throw error
        await s3.head('check')
      })
      await Promise.all([note, object, local.check()])
    }
    let checking: Promise<void> | undefined
    /** Milliseconds in which whoever asks whether we are ready is answered. */
    const soon = Math.max(1_000, options.postgres.patience)

    return {
      blobs,
      records,
      audit,
      changes,
      leases,
      backlog: () => ({ audit: outbox.waiting(), blobs: blobs.owed() }),
      collect: async () => {
        assertOpen(lifetime)
        await local.collect()
        return evict()
      },
      check: async () => {
        assertOpen(lifetime)
        checking ??= checkAll().finally(() => (checking = undefined))
        const done = checking.then(() => true)
        const clock = pause(soon, false, { ref: false })
        if (!(await Promise.race([done, clock])))
          throw downError('read and write', 'the shared store', `no answer in ${soon} ms`)
      },
      close: () => (closing ??= closeAll()),
    }
  } catch (error) {
    lifetime.closed = true
    await closeParts()
    throw error
  }
}
