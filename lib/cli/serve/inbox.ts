/** What the first process of a cluster says to a worker; kept until there is somebody to hear it. */
import { isMessage, type ToWorker } from './messages.ts'

export type Start = Extract<ToWorker, { kind: 'start' }>

export type Inbox = {
  /** The message every worker begins with. */
  readonly start: Promise<Start>
  /** Hears what came since the start, and everything from now on. */
  readonly listen: (hear: (message: ToWorker) => void) => void
}

const kinds = ['start', 'adopt', 'trust', 'collect', 'scraped', 'drain', 'stop'] as const

/** Call it at once: whoever is told to stop while it starts must not miss it. */
export const openInbox = (): Inbox => {
  const early: ToWorker[] = []
  let hear = (message: ToWorker): void => void early.push(message)
  const start = new Promise<Start>(resolve =>
    process.on('message', (message: unknown) => {
      if (!isMessage<ToWorker>(message, kinds)) return
      if (message.kind === 'start') resolve(message)
      else hear(message)
    }),
  )
  return {
    start,
    listen: next => {
      hear = next
      for (const message of early.splice(0)) next(message)
    },
  }
}
