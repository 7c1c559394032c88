/**
 * Small writes that nobody waits for and that are left out when there are too many. They are begun
 * at once, so that the store makes one transaction of them and of what is written in the same turn.
 */
export type Behind = {
  /** False where it was left out. */
  readonly add: (key: string, work: () => Promise<void>) => boolean
  /** Resolves when nothing is under way. */
  readonly idle: () => Promise<void>
}

/** `max`: under way at a time. */
export const openBehind = (options: {
  readonly max?: number
  readonly onError: (key: string, error: unknown) => void
}): Behind => {
  const { max = 500, onError } = options
  const running = new Set<Promise<void>>()
  return {
    add: (key, work) => {
      if (running.size >= max) return false
      const run = work()
        .catch(error => onError(key, error))
        .finally(() => running.delete(run))
      running.add(run)
      return true
    },
    idle: async () => {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
