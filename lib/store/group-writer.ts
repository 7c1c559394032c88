import { setImmediate as breathe } from 'node:timers/promises'
import type { Database } from './database.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen, refusal } from './store-error.ts'

/** Characters of values that may wait; the callers hold them, too. */
const waitingMax = 128 * 1024 * 1024
const batchMax = 256
/** Milliseconds of one batch, after which the thread is given back: nobody's verdict waits longer. */
const batchTime = 0.7

/**
 * Writes in one batch from which on the next is worth waiting for. Few who write one after the other,
 * each several times, would lose more by it than is won.
 */
const crowd = 5
/** Milliseconds from one batch of a crowd to the next, unless `full` wait sooner. */
const pause = 6
const full = 16
/** Milliseconds that what nobody waits for is held back for company. */
const longestHold = 20

/** One transaction, each time that it is tried. */
export type Batch = {
  /** `work` runs once, behind everything that was asked for in this batch. */
  atEnd(work: () => void): void
}

type Job = {
  readonly size: number
  readonly lasting: boolean
  readonly work: (batch: Batch) => unknown
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Group commit. Writes asked for in one turn of the event loop, and those that arrive while the
 * disk is busy, become one transaction and wait for the disk together; each resolves with its
 * result once that would survive a loss of power. They are run in the order they came. Where
 * several write at a time, batches keep some milliseconds between them: each costs about 0.3 ms of
 * processor time, most of it the wait for the disk in another thread, and while the disk syncs
 * nobody can make a file. A batch that fails is undone whole and fails for all in it. When more
 * waits than memory is meant for, a write fails at once (ESTORE) rather than wait for ever.
 */
export type GroupWriter = {
  /** `work` is synchronous, runs inside the transaction and may run again if that is retried. */
  write<T>(size: number, work: (batch: Batch) => T): Promise<T>
  /**
   * The same for what may be missing after a loss of power: it goes with the next batch, or alone a
   * little later, and resolves when others can read it.
   */
  writeAlong<T>(size: number, work: (batch: Batch) => T): Promise<T>
  /** Resolves when nothing waits any more. */
  drained(): Promise<void>
}

export const openGroupWriter = (database: Database, lifetime: Lifetime): GroupWriter => {
  let waiting: Job[] = []
  let waitingSize = 0
  let writing: Promise<void> | undefined
  let held: NodeJS.Timeout | undefined
  let crowded = false
  let began = 0
  /** Ends the pause between two batches. */
  let goOn: (() => void) | undefined

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
    began = performance.now()
    try {
      await database.transaction('write to the database', 0, runSome)
    } catch (error) {
      // Where not even the transaction began, none of those who wait can be helped.
      for (const { reject } of take(tried === 0 ? waiting.length : tried)) reject(error)
      return
    }
    const done = take(tried)
    database.wrote(done.reduce((sum, { size }) => sum + size, 0))
    const lasting = done.filter(job => job.lasting)
    // those of a crowd that found no room in this batch have waited already
    crowded = lasting.length >= crowd && waiting.length === 0
    for (const [index, { lasting, resolve }] of done.entries())
      if (!lasting) resolve(results[index])
    if (lasting.length === 0) return
    try {
      await database.settled()
      for (const [index, { lasting, resolve }] of done.entries())
        if (lasting) resolve(results[index])
    } catch (error) {
      for (const { reject } of lasting) reject(error)
    }
  }

  /** Lets others join where many write. */
  const gather = async (): Promise<void> => {
    const left = began + pause - performance.now()
    if (!crowded || left <= 0 || waiting.length >= full || lifetime.closed) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, left)
      goOn = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    goOn = undefined
  }

  const writeAll = async (): Promise<void> => {
    clearTimeout(held)
    held = undefined
    await breathe()
    while (waiting.length > 0) {
      await gather()
      await writeBatch()
    }
    writing = undefined
  }

  const start = (): void => {
    writing ??= writeAll()
  }

  const add = async <T>(size: number, lasting: boolean, work: (batch: Batch) => T) => {
    assertOpen(lifetime)
    if (waitingSize + size > waitingMax) {
      throw refusal('The store cannot keep up: its disk is too slow or stuck.')
    }
    return await new Promise<T>((resolve, reject) => {
      waitingSize += size
      const done = (result: unknown) => resolve(result as T)
      waiting.push({ size, lasting, work, resolve: done, reject })
      if (waiting.length >= full) goOn?.()
      if (lasting) start()
      else if (writing === undefined) held ??= setTimeout(start, longestHold)
    })
  }

  return {
    write: (size, work) => add(size, true, work),
    writeAlong: (size, work) => add(size, false, work),
    drained: async () => {
      goOn?.()
      if (waiting.length > 0) start()
      while (writing !== undefined) await writing
    },
  }
}
