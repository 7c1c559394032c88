import { setTimeout as pause } from 'node:timers/promises'
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'

/** What a call to a server of the shared store came to, for metrics. */
export type StoreCall = {
  readonly part: 'postgres' | 's3'
  readonly outcome: 'done' | 'failed' | 'unreachable'
  readonly milliseconds: number
}

export type CircuitOptions = {
  readonly part: StoreCall['part']
  /** As people call it. */
  readonly name: string
  /** The server cannot be reached, or cannot do its work now; anything else is the call's own fault. */
  readonly isDown: (error: unknown) => boolean
  /** It said nothing for as long as a call may take. */
  readonly isSilent: (error: unknown) => boolean
  /** Milliseconds from the first failure for which calls are tried again before they fail. */
  readonly patience: number
  readonly onCall?: ((call: StoreCall) => void) | undefined
  readonly onDown?: (detail: string) => void
  readonly onUp?: (milliseconds: number) => void
}

export type Circuit = {
  /**
   * Runs `call`; with `again` it may be run several times. Throws ESTOREDOWN while the server is
   * away, at once when it has been away for longer than the patience.
   */
  run<T>(doing: string, call: () => Promise<T>, again?: boolean): Promise<T>
}

/** Failures in a row after which one call at a time finds out whether the server is back. */
const failuresMax = 3
const restMax = 2_000

export const downError = (doing: string, name: string, why: unknown): AttestryError =>
  new AttestryError(
    'ESTOREDOWN',
    `Cannot ${doing}: ${name} is not available (${messageOf(why)}).`,
    { cause: why },
  )

/**
 * Keeps a server that is away from being asked by everybody at once, and everybody from waiting for
 * it: short outages are waited out, long ones are told at once, and the end of one is found by one
 * call at a time.
 */
export const openCircuit = (options: CircuitOptions): Circuit => {
  const { name, part, isDown, isSilent, patience, onCall } = options
  let failures = 0
  let answeredAt = 0
  let downSince: number | undefined
  let restUntil = 0
  let probing = false
  let last: unknown

  const failed = (error: unknown, started: number): void => {
    last = error
    // who waited in vain while nobody else was answered has waited for all
    const silent = isSilent(error) && answeredAt < started
    failures = silent ? Math.max(failures + 1, failuresMax) : failures + 1
    if (downSince === undefined) {
      downSince = silent ? started : performance.now()
      options.onDown?.(messageOf(error))
    }
    const rest = Math.min(50 * 2 ** failures, restMax)
    if (failures >= failuresMax)
      restUntil = performance.now() + rest * (0.5 + Math.random() / 2)
  }
  const worked = (): void => {
    answeredAt = performance.now()
    if (downSince !== undefined) options.onUp?.(performance.now() - downSince)
    failures = 0
    downSince = undefined
    restUntil = 0
  }

  const tryOnce = async <T>(call: () => Promise<T>): Promise<{ value: T } | undefined> => {
    const probe = failures >= failuresMax
    if (probe && (probing || performance.now() < restUntil)) return undefined
    if (probe) probing = true
    const started = performance.now()
    const tell = (outcome: StoreCall['outcome']) =>
      onCall?.({ part, outcome, milliseconds: performance.now() - started })
    try {
      const value = await call()
      worked()
      tell('done')
      return { value }
    } catch (error) {
      if (!isDown(error)) {
        // it answered, if only to refuse
        if (!isAttestryError(error)) worked()
        tell('failed')
        throw error
      }
      failed(error, started)
      tell('unreachable')
      return undefined
    } finally {
      if (probe) probing = false
    }
  }

  return {
    run: async (doing, call, again = true) => {
      for (let wait = 25; ; wait = Math.min(wait * 2, 400)) {
        const done = await tryOnce(call)
        if (done) return done.value
        const away = performance.now() - (downSince ?? performance.now())
        if (!again || away + wait > patience) throw downError(doing, name, last)
        await pause(wait * (0.5 + Math.random() / 2))
      }
    },
  }
}
