import { join, resolve } from 'node:path'
import { messageOf } from '../errors.ts'
import { openAuditLog } from './audit-log.ts'
import { openBlobFiles } from './blob-files.ts'
import { openBlobIndex } from './blob-index.ts'
import { openBlobMemory } from './blob-memory.ts'
import { openBlobReader } from './blob-reader.ts'
import { openDatabase } from './database.ts'
import type { Database } from './database.ts'
import { evict } from './eviction.ts'
import type { FileSystem } from './file-system.ts'
import { nodeFileSystem, unlinkIfThere, writeFully } from './file-system.ts'
import { checkStamp } from './format-stamp.ts'
import { openGroupWriter } from './group-writer.ts'
import { startHousekeeping } from './housekeeping.ts'
import { openLocalBlobs } from './local-blobs.ts'
import { openLocalChanges } from './local-changes.ts'
import { openLocalLeases } from './local-leases.ts'
import { openRecords } from './records.ts'
import { repairIndex } from './repair.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal, storeError } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { Store } from './store.ts'
import type { TemporaryFiles } from './temporary-files.ts'
import { temporaryFiles } from './temporary-files.ts'

const MiB = 1024 * 1024

/** Processes that may fill the store at the same speed before one of them looks at how full it is. */
const writers = 64

export type LocalStoreOptions = {
  /** A directory; made when missing. Several processes of one machine may share it. */
  readonly path: string
  /** Bytes of blobs on the disk above which the least recently used go. Default 20 GiB. */
  readonly maxBytes?: number
  /** Bytes of small blobs in memory. Default 64 MiB; 0 keeps none. */
  readonly memoryBytes?: number
  /** Bytes up to which a blob is small. Default 1 MiB. */
  readonly memoryBlobMax?: number
  readonly now?: () => Date
  readonly log?: StoreLog
  /** How blobs reach the disk; for tests of its failures. */
  readonly fs?: FileSystem
}

const checkSize = (name: string, value: number, least: number): void => {
  if (Number.isSafeInteger(value) && value >= least) return
  throw refusal(`${name} is ${value}; a whole number of bytes from ${least} up is wanted.`)
}

const checkWritable = async (
  fs: FileSystem,
  temporary: TemporaryFiles,
  database: Database,
  now: () => Date,
): Promise<void> => {
  const path = temporary.next()
  try {
    const handle = await fs.open(path, 'wx')
    try {
      await writeFully(handle, Buffer.of(0))
    } finally {
      await handle.close()
      await unlinkIfThere(fs, path)
    }
  } catch (error) {
    throw storeError('write a file', path, error)
  }
  const note = database.prepare(
    'INSERT INTO checks VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET at = excluded.at',
  )
  await database.write('write to the database', 0, () => note.run(now().toISOString()))
}

/**
 * The embedded store, in one directory:
 *
 *     attestry-store.json        which layout this is
 *     store.sqlite, -wal, -shm   records, audit log, sizes and last uses of blobs
 *     blobs/sha512/ab/cdef…      blobs, named by their sha512
 *     tmp/                       blobs on their way in or out
 *
 * Killed at any moment, it serves what was acknowledged, whole, and nothing else. A loss of power
 * keeps acknowledged records and audit entries; the newest blobs may be missing. A small one may be
 * torn on the disk: its hash tells, and then it is missing, too.
 * Throws ESTORE when the directory cannot be used or was made by a version this one does not know.
 */
export const openLocalStore = async ({
  path,
  maxBytes = 20 * 1024 * MiB,
  memoryBytes = 64 * MiB,
  memoryBlobMax = MiB,
  now = () => new Date(),
  log = () => undefined,
  fs = nodeFileSystem,
}: LocalStoreOptions): Promise<Store> => {
  checkSize('maxBytes', maxBytes, 1)
  checkSize('memoryBytes', memoryBytes, 0)
  checkSize('memoryBlobMax', memoryBlobMax, 0)
  const root = resolve(path)
  const blobRoot = join(root, 'blobs', 'sha512')
  const temporary = temporaryFiles(fs, join(root, 'tmp'))

  try {
    // It holds private packages and people's addresses: nobody else's to read.
    await fs.mkdir(root, { recursive: true, mode: 0o700 })
    await fs.mkdir(join(root, 'tmp'), { recursive: true })
    await checkStamp(fs, root, {
      temporary: temporary.next(),
      parts: ['blobs', 'store.sqlite'],
    })
    await fs.mkdir(blobRoot, { recursive: true })
    const removed = await temporary.clear()
    if (removed > 0) log({ event: 'leftovers-removed', removed })
  } catch (error) {
    throw storeError('open the store', root, error)
  }

  /** Closed to callers at once, and to our own last writes when they are done. */
  const lifetime: Lifetime = { closed: false }
  const inner: Lifetime = { closed: false }
  const stopping = () => lifetime.closed
  const database = await openDatabase(join(root, 'store.sqlite'), inner, { now, log })

  const writer = openGroupWriter(database, lifetime)
  const [index, changes, leases] = await Promise.all([
    openBlobIndex(database, now),
    openLocalChanges(database, writer, lifetime, log),
    openLocalLeases(database, lifetime, log),
  ]).catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  const files = openBlobFiles(fs, blobRoot, index, temporary)
  /** Bytes until the total is asked for again; others may write as fast as we do, many of them. */
  let room = 0
  const blobs = openLocalBlobs({
    fs,
    files,
    index,
    reader: openBlobReader(files, index, log),
    memory: openBlobMemory(memoryBytes, memoryBlobMax),
    temporary,
    lifetime,
    memoryBlobMax,
    budget: { left: Math.floor(memoryBytes / 4) },
    grown: size => {
      room -= size * writers
      if (room > 0) return
      void index.total().then(
        total => {
          room = maxBytes - total
          if (room < 0) housekeeping.evictSoon()
        },
        // The next commit asks again.
        () => undefined,
      )
    },
  })
  const housekeeping = startHousekeeping({
    index,
    evict: () => evict({ index, blobs, max: maxBytes, stopping }),
    repair: () => repairIndex({ fs, root: blobRoot, files, index, now, stopping }),
    clearLeftovers: () => temporary.clear(),
    log,
  })

  const closeAll = async (): Promise<void> => {
    lifetime.closed = true
    await blobs.abortStaged()
    await changes.stop()
    await housekeeping.stop()
    await writer.drained()
    await leases.stop()
    await index.flushTouches().catch((error: unknown) => {
      log({ event: 'background-failed', job: 'touches', detail: messageOf(error) })
    })
    inner.closed = true
    await database.close()
  }
  let closing: Promise<void> | undefined

  return {
    blobs,
    records: openRecords(database, writer, lifetime, log),
    audit: openAuditLog(database, writer, lifetime, log, now),
    changes,
    leases,
    collect: async () => {
      assertOpen(lifetime)
      try {
        return await housekeeping.collect()
      } catch (error) {
        throw storeError('collect', root, error)
      }
    },
    check: async () => {
      assertOpen(lifetime)
      await checkWritable(fs, temporary, database, now)
    },
    close: () => (closing ??= closeAll()),
  }
}
