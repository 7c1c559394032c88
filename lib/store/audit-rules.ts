/** What an audit entry may be, whatever keeps it. */
import { bundledEntryMax } from '../transparency/tile-path.ts'
import type { AuditEntry } from '../types.ts'
import { refusal } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { AuditText, StoredAuditEntry } from './store.ts'

/** Bytes of JSON in one entry: what an entry bundle of the tree can hold. */
export const entryMax = bundledEntryMax

/** The text that is stored and hashed. Throws ESTORE when it is too big. */
export const auditText = (entry: AuditEntry): string => {
  const text = JSON.stringify(entry)
  const size = Buffer.byteLength(text)
  if (size <= entryMax) return text
  throw refusal(`An audit entry of ${size} bytes is too big.`, {
    package: entry.package,
    wanted: entryMax,
  })
}

/** When the last of what an entry stands for happened, in milliseconds. */
export const lastTime = ({ at, last = at }: Pick<AuditEntry, 'at' | 'last'>): number =>
  Date.parse(last)

export const parseEntry = (
  { seq, text }: AuditText,
  log: StoreLog,
): StoredAuditEntry | undefined => {
  try {
    return { ...(JSON.parse(text) as AuditEntry), seq }
  } catch {
    log({ event: 'audit-damaged', seq })
    return undefined
  }
}
