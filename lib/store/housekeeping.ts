import { messageOf } from '../errors.ts'
import type { BlobIndex } from './blob-index.ts'
import type { Eviction } from './eviction.ts'
import type { Repair } from './repair.ts'
import type { StoreLog } from './store-event.ts'

const touchInterval = 5000
const leftoverInterval = 60 * 60 * 1000
const repairAgain = 65_000

export type HousekeepingTools = {
  readonly index: BlobIndex
  readonly evict: () => Promise<Eviction>
  readonly repair: () => Promise<Repair>
  readonly clearLeftovers: () => Promise<number>
  readonly log: StoreLog
}

export type Housekeeping = {
  /** Repairs, clears leftovers and evicts; waits for what is under way first. */
  collect(): Promise<Eviction>
  /** Starts an eviction in the background, unless one is waiting to start. */
  evictSoon(): void
  /** No job is under way after this, and none starts. */
  stop(): Promise<void>
}

/**
 * Work that nobody waits for, one job at a time: a failure is logged and the job runs again at its
 * next turn. Its timers keep no process alive.
 */
export const startHousekeeping = (tools: HousekeepingTools): Housekeeping => {
  const { index, log } = tools
  let stopped = false
  let tail: Promise<unknown> = Promise.resolve()
  let evictionWaits = false
  let repairTimer: NodeJS.Timeout | undefined

  const inTurn = <T>(job: () => Promise<T>): Promise<T> => {
    const turn = tail.then(job)
    tail = turn.catch(() => undefined)
    return turn
  }

  const inBackground = (job: string, work: () => Promise<unknown>): void => {
    if (stopped) return
    void inTurn(async () => {
      if (stopped) return
      try {
        await work()
      } catch (error) {
        log({ event: 'background-failed', job, detail: messageOf(error) })
      }
    })
  }

  const evict = async (): Promise<Eviction> => {
    evictionWaits = false
    const eviction = await tools.evict()
    if (eviction.removed > 0) log({ event: 'blobs-evicted', ...eviction })
    return eviction
  }

  const clearLeftovers = async (): Promise<void> => {
    const removed = await tools.clearLeftovers()
    if (removed > 0) log({ event: 'leftovers-removed', removed })
  }

  const repair = async (): Promise<void> => {
    const { adopted, forgotten, postponed } = await tools.repair()
    if (adopted + forgotten > 0) log({ event: 'blobs-repaired', adopted, forgotten })
    if (postponed === 0 || stopped || repairTimer !== undefined) return
    repairTimer = setTimeout(() => {
      repairTimer = undefined
      inBackground('repair', repair)
    }, repairAgain)
    repairTimer.unref()
  }

  const evictSoon = (): void => {
    if (evictionWaits) return
    evictionWaits = true
    inBackground('eviction', evict)
  }

  const timers = [
    setInterval(() => inBackground('touches', () => index.flushTouches()), touchInterval),
    setInterval(() => inBackground('leftovers', clearLeftovers), leftoverInterval),
  ]
  for (const timer of timers) timer.unref()

  inBackground('repair', repair)
  inBackground('eviction', evict)

  return {
    collect: () =>
      inTurn(async () => {
        await clearLeftovers()
        await repair()
        return await evict()
      }),
    evictSoon,
    stop: async () => {
      stopped = true
      for (const timer of timers) clearInterval(timer)
      clearTimeout(repairTimer)
      await tail
    },
  }
}
