/** Lets other requests in while a long piece of work goes on. */
import { setImmediate } from 'node:timers/promises'

/** Work may hold the thread for this long (milliseconds) before it steps aside once. */
const SLICE = 4

/** Returns a function to await between steps; it steps aside only when the slice is used up. */
export const openPace = (slice = SLICE): (() => Promise<void> | undefined) => {
  let since = performance.now()
  return () => {
    if (performance.now() - since < slice) return undefined
    return setImmediate().then(() => {
      since = performance.now()
    })
  }
}
