/** Lets other requests in while a long piece of work goes on. */

/** Work may hold the thread for this long (milliseconds) before it steps aside once. */
const SLICE = 4

/**
 * Those who have stepped aside. One for the thread, as the event loop is: of ten long pieces of work
 * only one goes on in each of its turns, or together they would hold it up ten times as long.
 */
const waiting: (() => void)[] = []
let scheduled = false

const turn = (): void => {
  const next = waiting.shift()
  scheduled = waiting.length > 0
  if (scheduled) setImmediate(turn)
  next?.()
}

const stepAside = (): Promise<void> =>
  new Promise(resolve => {
    waiting.push(resolve)
    if (scheduled) return
    scheduled = true
    setImmediate(turn)
  })

/** Returns a function to await between steps; it steps aside only when the slice is used up. */
export const openPace = (slice = SLICE): (() => Promise<void> | undefined) => {
  let since = performance.now()
  return () => {
    if (performance.now() - since < slice) return undefined
    return stepAside().then(() => {
      since = performance.now()
    })
  }
}
