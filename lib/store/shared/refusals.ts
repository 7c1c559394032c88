import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../../errors.ts'
import { downError } from './circuit.ts'

export type RefusalsOptions = {
  /** As people call it. */
  readonly name: string
  /** The server answers, and does not take it for now: it is full, or may only be read. */
  readonly isRefusal: (error: unknown) => boolean
  /** Milliseconds from the first refusal for which a call is tried again. */
  readonly patience: number
  readonly onRefused?: (detail: string) => void
  /** Everything that was refused has been taken since. */
  readonly onTaken?: (milliseconds: number) => void
}

/**
 * Calls that a server refuses while it goes on answering others: writes to a standby, to a primary
 * that was made read-only, to a full disk. They are waited out as an outage is and then refused at
 * once, with ESTOREDOWN, each kind of call by itself: that something cannot be written is no reason
 * not to read.
 */
export const openRefusals = (options: RefusalsOptions) => {
  const { name, isRefusal, patience } = options
  /** By what was to be done, since when. */
  const refused = new Map<string, number>()
  let since = 0

  return async <T>(doing: string, call: () => Promise<T>): Promise<T> => {
    for (let wait = 50; ; wait = Math.min(wait * 2, 400)) {
      try {
        const value = await call()
        if (refused.delete(doing) && refused.size === 0)
          options.onTaken?.(performance.now() - since)
        return value
      } catch (error) {
        if (!isRefusal(error)) throw error
        const now = performance.now()
        if (refused.size === 0) {
          since = now
          options.onRefused?.(messageOf(error))
        }
        const first = refused.get(doing) ?? now
        refused.set(doing, first)
        if (now - first + wait > patience) throw downError(doing, name, error)
        await pause(wait * (0.5 + Math.random() / 2))
      }
    }
  }
}
