/**
 * Packages of which something became known, judged again a moment later, when no more comes: the
 * next request finds its answer ready, and so does the one to another process on the store.
 */
import { setImmediate as breathe } from 'node:timers/promises'

/** Milliseconds without news after which a package counts as settled. */
const QUIET = 1_000
/** Milliseconds between looks. */
const EVERY = 250
/** Packages that wait; the oldest is left to who asks for it next. */
const MOST = 2_000
/** Packages after which what was written for them is waited for. */
const BATCH = 64

export type Settling = {
  /** Something became known of this package. */
  readonly touch: (name: string) => void
  /** What is to be done for a package that has settled. */
  readonly onSettled: (settle: (name: string) => Promise<void>) => void
  /** Resolves when it is done for all that wait, as if they had been quiet for long enough. */
  readonly flush: () => Promise<void>
  /** Forgets what waits, and waits for what is under way. */
  readonly close: () => Promise<void>
}

export const openSettling = (options: {
  /** Resolves when what was done so far is written. */
  readonly written: () => Promise<void>
  readonly onError: (what: string, error: unknown) => void
}): Settling => {
  const { written, onError } = options
  /** Since when, the oldest first. */
  const waiting = new Map<string, number>()
  const listeners: ((name: string) => Promise<void>)[] = []
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let closed = false

  const settle = async (before: number): Promise<void> => {
    let done = 0
    // one that becomes known of meanwhile goes to the end
    for (const [name, since] of waiting) {
      if (since > before || closed) break
      waiting.delete(name)
      for (const listener of listeners)
        await listener(name).catch(error => onError(`settle ${name}`, error))
      done += 1
      await (done % BATCH === 0 ? written() : breathe())
    }
  }

  /** One after another: others have requests to answer. */
  const run = async (before: number): Promise<void> => {
    while (running) await running
    running = settle(before).finally(() => (running = undefined))
    await running
  }

  const arm = (): void => {
    if (closed || waiting.size === 0) return
    timer ??= setTimeout(() => {
      void run(performance.now() - QUIET).then(() => {
        timer = undefined
        arm()
      })
    }, EVERY).unref()
  }

  return {
    touch: name => {
      if (closed || listeners.length === 0) return
      const [oldest] = waiting.keys()
      if (waiting.size >= MOST && oldest !== undefined) waiting.delete(oldest)
      waiting.delete(name)
      waiting.set(name, performance.now())
      arm()
    },
    onSettled: listener => void listeners.push(listener),
    flush: () => run(performance.now()),
    close: async () => {
      closed = true
      clearTimeout(timer)
      await running
    },
  }
}
