/**
 * Audit entries that could not be sent while PostgreSQL was away, on this machine's disk until they
 * can. Only verdicts that were on record before are told this way: a new one waits for PostgreSQL.
 */
import { messageOf } from '../../errors.ts'
import type { StoreLog } from '../store-event.ts'
import type { Records } from '../store.ts'
import type { Appended, SharedAudit } from './postgres-audit.ts'

const collection = 'outbox'
/** Milliseconds between two tries. */
const interval = 1_000
/** Entries that may wait; with more the disk would fill before somebody notices. */
const waitingMax = 1_000_000

export type Outbox = {
  /** `id`: of the batch, which may have been written although no answer came. */
  add(id: string, entries: readonly Appended[]): Promise<void>
  /** Sends what waits, oldest first; false when that was not all. */
  flush(): Promise<boolean>
  readonly waiting: () => number
  stop(): Promise<void>
}

export const openOutbox = async (
  records: Records,
  audit: Pick<SharedAudit, 'appendBatch'>,
  log: StoreLog,
): Promise<Outbox> => {
  let waiting = 0
  for await (const [, entries] of records.list<readonly Appended[]>(collection))
    waiting += entries.length
  let stopped = false
  let flushing: Promise<boolean> | undefined

  const flushAll = async (): Promise<boolean> => {
    let found = 0
    // a batch has its id from when it was put here: sent twice it is written once
    for await (const [key, entries] of records.list<readonly Appended[]>(collection)) {
      if (stopped) return false
      found += 1
      try {
        await audit.appendBatch(key.slice(key.indexOf(' ') + 1), entries)
      } catch {
        // that PostgreSQL is away is told elsewhere
        return false
      }
      await records.delete(collection, key)
      // of what another process on this disk put there nothing was counted
      waiting = Math.max(0, waiting - entries.length)
    }
    // another process on this disk may have sent them
    if (found === 0) waiting = 0
    return true
  }
  const flush = (): Promise<boolean> =>
    (flushing ??= flushAll().finally(() => (flushing = undefined)))

  const timer = setInterval(() => {
    if (waiting > 0)
      flush().catch((error: unknown) =>
        log({ event: 'background-failed', job: 'outbox', detail: messageOf(error) }),
      )
  }, interval)
  timer.unref()

  return {
    add: async (id, entries) => {
      if (waiting + entries.length > waitingMax)
        throw new Error(`more than ${waitingMax} audit entries wait for PostgreSQL`)
      waiting += entries.length
      const at = String(Date.now()).padStart(15, '0')
      await records.put(collection, `${at} ${id}`, entries)
    },
    flush,
    waiting: () => waiting,
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await flushing
    },
  }
}
