/** A server that is started while its store is away: what is told of the waiting, and what ends it. */
import type { AttestryError } from '../../errors.ts'
import type { Log } from '../../observe/log.ts'
import type { Patience } from '../../wait-for-store.ts'

/** Milliseconds after which a reason is told again. */
const again = 5 * 60_000
/** Reasons that are remembered. */
const most = 100

/** `stopped`: when to give up. */
export const openPatience = (log: Pick<Log, 'warn'>, stopped: Promise<unknown>): Patience => {
  const controller = new AbortController()
  void stopped.then(() => controller.abort())
  const told = new Map<string, number>()
  return {
    signal: controller.signal,
    onWaiting: ({ code, message }: AttestryError) => {
      const now = performance.now()
      if (now - (told.get(message) ?? Number.NEGATIVE_INFINITY) < again) return
      if (told.size >= most) told.clear()
      told.set(message, now)
      const what = `${message} Every request is answered with 503 until it is back.`
      log.warn({ event: 'waiting', code }, what)
    },
  }
}
