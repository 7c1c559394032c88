/** Tells of waivers at their end: at the start, whenever policies change, and once a day. */
import type { Policy } from '../policy/policy.ts'
import { endingWaivers, type EndingWaiver } from '../policy/waivers.ts'

const DAY = 86_400_000

export type WaiverWatchOptions = {
  /** Those in force now. */
  readonly policies: () => readonly Policy[]
  /** Also called when there are none. */
  readonly onWaivers: (waivers: readonly EndingWaiver[]) => void
  readonly now?: () => Date
  /** Milliseconds between two reports. */
  readonly interval?: number
}

export type WaiverWatch = {
  /** Tells now; the next report is a day later. */
  readonly tell: () => void
  readonly close: () => void
}

export const openWaiverWatch = (options: WaiverWatchOptions): WaiverWatch => {
  const { policies, onWaivers, now = () => new Date(), interval = DAY } = options
  let timer: NodeJS.Timeout | undefined
  const tell = () => {
    clearInterval(timer)
    onWaivers(endingWaivers(policies(), now()))
    timer = setInterval(() => onWaivers(endingWaivers(policies(), now())), interval)
    timer.unref()
  }
  tell()
  return { tell, close: () => clearInterval(timer) }
}
