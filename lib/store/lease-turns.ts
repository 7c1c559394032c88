import { setTimeout as pause } from 'node:timers/promises'
import type { Leases } from './store.ts'

/** How a store takes and frees a lease for this process, which never asks for one it holds. */
export type LeaseHolder = {
  /** True when the lease is ours now. */
  take(key: string): Promise<boolean>
  free(key: string): Promise<void>
}

/** Milliseconds between two tries, while somebody else holds it. */
const shortest = 5
const longest = 60

/**
 * Leases over what takes and frees them: callers of one process take turns among themselves, so
 * that one of them at a time asks the store, and who waits is woken when a neighbour is done.
 */
export const openLeaseTurns = (holder: LeaseHolder): Leases => {
  /** Keys that this process holds or tries to take, with those who wait for it to be done. */
  const ours = new Map<string, Set<() => void>>()

  const wake = (key: string): void => {
    const waiting = ours.get(key)
    ours.delete(key)
    for (const go of waiting ?? []) go()
  }

  const neighbour = (key: string, milliseconds: number): Promise<void> => {
    const waiting = ours.get(key)
    if (waiting === undefined) return Promise.resolve()
    return new Promise(resolve => {
      const go = () => {
        clearTimeout(timer)
        waiting.delete(go)
        resolve()
      }
      const timer = setTimeout(go, milliseconds)
      waiting.add(go)
    })
  }

  const acquire = async (key: string, wait: number): Promise<boolean> => {
    const deadline = performance.now() + wait
    for (let step = shortest; ; step = Math.min(step * 1.5, longest)) {
      const left = () => deadline - performance.now()
      while (ours.has(key)) {
        const patience = left()
        if (patience <= 0) return false
        await neighbour(key, patience)
      }
      ours.set(key, new Set())
      const taken = await holder.take(key).catch((error: unknown) => {
        wake(key)
        throw error
      })
      if (taken) return true
      wake(key)
      const patience = left()
      if (patience <= 0) return false
      // not all at the same moment
      await pause(Math.min(patience, step * (0.5 + Math.random())))
    }
  }

  return {
    run: async (key, work, { wait }) => {
      if (!(await acquire(key, wait))) return { ran: false }
      try {
        return { ran: true, value: await work() }
      } finally {
        await holder.free(key).finally(() => wake(key))
      }
    },
  }
}
