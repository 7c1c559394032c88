/** Asking again: a bounded number of times, with growing pauses, and never past the deadline. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AttestryError } from '../errors.ts'
import type { Fault } from './faults.ts'

export type Attempt<T> = { readonly value: T } | { readonly fault: Fault }

/** A `Retry-After` above this is an answer: come back later, not now. */
export const longestPause = 10_000

/** One end for all attempts together; what is under way is aborted when it passes. */
export type Deadline = {
  readonly signal: AbortSignal
  readonly at: number
  readonly passed: () => boolean
  readonly clear: () => void
}

export const openDeadline = (milliseconds: number): Deadline => {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), milliseconds)
  return {
    signal: controller.signal,
    at: performance.now() + milliseconds,
    passed: () => controller.signal.aborted,
    clear: () => clearTimeout(timer),
  }
}

/** How long to wait before attempt number `n` + 2, or undefined when it is not worth it. */
const pause = (n: number, fault: Fault, base: number, left: number): number | undefined => {
  const growing = base * 2 ** n * (0.5 + Math.random() / 2)
  const wanted = Math.max(growing, fault.after ?? 0)
  return wanted > Math.max(longestPause, growing) || wanted >= left ? undefined : wanted
}

/** Makes up to 1 + `retries` attempts; throws the last one's error. */
export const withRetries = async <T>(
  options: {
    readonly retries: number
    /** First pause, milliseconds. */
    readonly base: number
    readonly deadline: Deadline
  },
  attempt: () => Promise<Attempt<T>>,
): Promise<T> => {
  const { retries, base, deadline } = options
  for (let n = 0; ; n++) {
    const result = await attempt()
    if ('value' in result) return result.value
    const { fault } = result
    const wait = pause(n, fault, base, deadline.at - performance.now())
    if (!fault.again || n >= retries || wait === undefined)
      throw fault.error satisfies AttestryError
    await sleep(wait)
  }
}
