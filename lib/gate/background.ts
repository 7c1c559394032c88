/** Work that may be left undone: a few at a time, a bounded queue, never in anybody's way. */
export type Background = {
  /** False when the queue is full and the work was dropped. */
  readonly add: (key: string, work: () => Promise<void>) => boolean
  /** Resolves when nothing is under way; drops what waits. */
  readonly close: () => Promise<void>
  /** Resolves when nothing waits and nothing is under way. */
  readonly idle: () => Promise<void>
}

export const openBackground = (options: {
  readonly concurrency?: number
  readonly max?: number
  readonly onError: (key: string, error: unknown) => void
}): Background => {
  const { concurrency = 2, max = 1000, onError } = options
  const waiting = new Map<string, () => Promise<void>>()
  const running = new Map<string, Promise<void>>()
  let closed = false

  const next = (): void => {
    if (running.size >= concurrency) return
    const [entry] = waiting
    if (!entry) return
    const [key, work] = entry
    waiting.delete(key)
    const run = work()
      .catch(error => onError(key, error))
      .finally(() => {
        running.delete(key)
        next()
      })
    running.set(key, run)
    next()
  }

  const idle = async () => {
    while (running.size > 0) await Promise.all(running.values())
  }

  return {
    add: (key, work) => {
      if (closed || waiting.size >= max) return false
      if (!running.has(key)) waiting.set(key, work)
      next()
      return true
    },
    close: async () => {
      closed = true
      waiting.clear()
      await idle()
    },
    idle,
  }
}
