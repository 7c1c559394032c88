/** What the sealer of the audit log and the watch over transparency logs tell, as lines of the log. */
import type { LogEvent } from './events.ts'

export type SealerSeen =
  | {
      readonly event: 'checkpoint'
      readonly size: number
      readonly checkpoint: string
      readonly key: string
    }
  | { readonly event: 'contradiction' | 'failed'; readonly detail: string }

export type SealerStateSeen = {
  readonly size: number
  readonly signed: number
  readonly fault?: string
}

export type LogWatchSeen = {
  readonly event: string
  readonly log: string
  readonly detail: string
  readonly checkpoints?: readonly string[]
}

/** A log that contradicts itself is worse than anything a package could do. */
export const logWatchEvent = ({ event, log, detail, checkpoints }: LogWatchSeen): LogEvent => {
  const levels = { consistent: 'debug', unreachable: 'warn' } as const
  const level = event in levels ? levels[event as keyof typeof levels] : 'error'
  return {
    level,
    event: `transparency-log-${event}`,
    message: `transparency log ${log}: ${level === 'error' ? event.toUpperCase() : event}: ${detail}`,
    fields: { log, detail, ...(checkpoints && { checkpoints }) },
  }
}

/** `loud`: at info. Now and then one is, so that wherever the log goes there is one to hold us to. */
export const sealerEvent = (seen: SealerSeen, loud: boolean): LogEvent => {
  if (seen.event === 'checkpoint') {
    const { size, checkpoint, key } = seen
    return {
      level: loud ? 'info' : 'debug',
      event: 'audit-log-checkpoint',
      message: `the audit log is signed up to entry ${size}`,
      fields: { size, checkpoint, key },
    }
  }
  const { event, detail } = seen
  const message =
    event === 'failed'
      ? `the audit log could not be signed: ${detail}`
      : `THE AUDIT LOG IS NOT WHAT WAS SIGNED: ${detail}`
  return { level: 'error', event: `audit-log-${event}`, message, fields: { detail } }
}
