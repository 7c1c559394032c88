import { setImmediate as breathe } from 'node:timers/promises'
import type { Database } from './database.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal } from './store-error.ts'

/** Characters of values that may wait; the callers hold them, too. */
const waitingMax = 128 * 1024 * 1024
const batchMax = 256
/** Milliseconds of one batch, after which the thread is given back: nobody's verdict waits longer. */
const batchTime = 0.7

/** One transaction, each time that it is tried. */
export type Batch = {
  /** `work` runs once, behind everything that was asked for in this batch. */
  atEnd(work: () => void): void
}

type Job = {
  readonly size: number
  readonly work: (batch: Batch) => unknown
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Group commit. Writes asked for in one turn of the event loop, and those that arrive while the
 * disk is busy, become one transaction and wait for the disk together; each resolves with its
 * result once that would survive a loss of power. They are run in the order they came. A batch
 * that fails is undone whole and fails for all in it. When more waits than memory is meant for,
 * a write fails at once (ESTORE) rather than wait for ever.
 */
export type GroupWriter = {
  /** `work` is synchronous, runs inside the transaction and may run again if that is retried. */
  write<T>(size: number, work: (batch: Batch) => T): Promise<T>
  /** Resolves when nothing waits any more. */
  drained(): Promise<void>
}

export const openGroupWriter = (database: Database, lifetime: Lifetime): GroupWriter => {
  let waiting: Job[] = []
  let waitingSize = 0
  let writing: Promise<void> | undefined

  const take = (count: number): readonly Job[] => {
    const taken = waiting.slice(0, count)
    waiting = waiting.slice(count)
    for (const { size } of taken) waitingSize -= size
    return taken
  }

  const writeBatch = async (): Promise<void> => {
    let results: unknown[] = []
    let tried = 0
    const runSome = () => {
      results = []
      tried = 0
      const start = performance.now()
      const ends: (() => void)[] = []
      const batch: Batch = { atEnd: work => ends.push(work) }
      for (const { work } of waiting.slice(0, batchMax)) {
        tried += 1
        results.push(work(batch))
        if (performance.now() - start > batchTime) break
      }
      for (const end of ends) end()
    }
    try {
      await database.transaction('write to the database', 0, runSome)
    } catch (error) {
      // Where not even the transaction began, none of those who wait can be helped.
      for (const { reject } of take(tried === 0 ? waiting.length : tried)) reject(error)
      return
    }
    const done = take(tried)
    database.wrote(done.reduce((sum, { size }) => sum + size, 0))
    try {
      await database.settled()
      for (const [index, { resolve }] of done.entries()) resolve(results[index])
    } catch (error) {
      for (const { reject } of done) reject(error)
    }
  }

  const writeAll = async (): Promise<void> => {
    await breathe()
    while (waiting.length > 0) await writeBatch()
    writing = undefined
  }

  return {
    write: async <T>(size: number, work: (batch: Batch) => T) => {
      assertOpen(lifetime)
      if (waitingSize + size > waitingMax) {
        throw refusal('The store cannot keep up: its disk is too slow or stuck.')
      }
      return await new Promise<T>((resolve, reject) => {
        waitingSize += size
        waiting.push({ size, work, resolve: result => resolve(result as T), reject })
        writing ??= writeAll()
      })
    },
    drained: async () => {
      while (writing !== undefined) await writing
    },
  }
}
