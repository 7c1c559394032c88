/** What the sealer of the audit log tells, as lines of the log. */
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
