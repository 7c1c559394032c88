import { createHash } from 'node:crypto'

/** A value that says of itself whether it is whole. */
export const recordValue = (round: number) => {
  const text = String(round).repeat(500)
  return { round, text, sum: createHash('sha256').update(text).digest('hex') }
}

export type RecordValue = ReturnType<typeof recordValue>
