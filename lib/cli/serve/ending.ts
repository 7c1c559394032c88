/** How a serving process ends: in bounded time, whatever a server or a connection leaves open. */
import { setTimeout as pause } from 'node:timers/promises'

/** Milliseconds that closing may take, and that the process may live on after it. */
const CLOSING = 15_000
const LINGER = 1_000

/** False where that was not in time; the process ends soon after it in any case. */
export const closeInTime = async (closing: Promise<unknown>): Promise<boolean> => {
  const closed = closing.then(() => true)
  const ended = await Promise.race([closed, pause(CLOSING, false, { ref: false })])
  // nor may a connection that nobody closes keep us
  setTimeout(() => process.exit(), LINGER).unref()
  return ended
}
