/** Opening what needs a store that may be away at the start: again and again, with somebody at the door. */
import { setTimeout as pause } from 'node:timers/promises'
import { isAttestryError, type AttestryError } from './errors.ts'
import type { Front } from './http/front.ts'

export type Patience = {
  /** Told at each try that failed, with the reason. */
  readonly onWaiting: (error: AttestryError) => void
  /** Ends the waiting: what is thrown then is the last reason. */
  readonly signal: AbortSignal
}

/** Milliseconds between two tries. */
const rests = { first: 250, most: 5_000 }

/**
 * Gives what `open` gives. Without patience, and for every other reason than that the store is away
 * (ESTOREDOWN), throws what it throws: a wrong password or a database that is not there is for
 * somebody to correct, and not to be waited for.
 */
export const openPatiently = async <T>(
  open: () => Promise<T>,
  front: Pick<Front, 'wait'>,
  patience: Patience | undefined,
): Promise<T> => {
  for (let rest = rests.first; ; rest = Math.min(rest * 2, rests.most)) {
    try {
      return await open()
    } catch (error) {
      const away = isAttestryError(error) && error.code === 'ESTOREDOWN'
      if (!patience || !away || patience.signal.aborted) throw error
      await front.wait(error)
      patience.onWaiting(error)
      const { signal } = patience
      // not all instances at the same moment
      await pause(rest * (0.5 + Math.random() / 2), undefined, { signal }).catch(
        () => undefined,
      )
      if (signal.aborted) throw error
    }
  }
}
