import type { FileHandle } from 'node:fs/promises'

/**
 * A barrier: resolves when all that was written before the call is on the disk. Calls made while
 * a sync is running share the next one. This is what PRAGMA synchronous = FULL does at each
 * commit, but off the main thread and once for many commits (0.25 ms here).
 */
export const syncBarrier = (handle: Pick<FileHandle, 'datasync'>): (() => Promise<void>) => {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined

  const settled = (): Promise<void> => {
    if (running === undefined) {
      running = handle.datasync().finally(() => {
        running = undefined
      })
      return running
    }
    next ??= running
      // Its failure was told to those who waited for it.
      .catch(() => undefined)
      .then(() => {
        next = undefined
        return settled()
      })
    return next
  }
  return settled
}
