import type { Integrity } from '../types.ts'

/** What a store tells the log: nothing here stopped a caller, and somebody may want to know. */
export type StoreEvent =
  /** A row that no longer parses; it is served as missing. */
  | { readonly event: 'record-damaged'; readonly collection: string; readonly key: string }
  | { readonly event: 'audit-damaged'; readonly seq: number }
  /** A file that is not what its name says; it was removed and is served as missing. */
  | { readonly event: 'blob-damaged'; readonly integrity: Integrity; readonly detail: string }
  | { readonly event: 'blobs-evicted'; readonly removed: number; readonly freed: number }
  /** Files without a row and rows without a file, as a crash leaves them. */
  | { readonly event: 'blobs-repaired'; readonly adopted: number; readonly forgotten: number }
  | { readonly event: 'leftovers-removed'; readonly removed: number }
  /** A server of the shared store is away, and is back; what is cached is served meanwhile. */
  | {
      readonly event: 'unreachable'
      readonly part: 'postgres' | 's3'
      readonly detail: string
    }
  | {
      readonly event: 'reachable'
      readonly part: 'postgres' | 's3'
      readonly milliseconds: number
    }
  /** It answers and takes nothing: it is full, or may only be read; and it takes everything again. */
  | { readonly event: 'refusing'; readonly part: 'postgres' | 's3'; readonly detail: string }
  | {
      readonly event: 'taking'
      readonly part: 'postgres' | 's3'
      readonly milliseconds: number
    }
  /** Work nobody waits for failed; it is tried again later. */
  | { readonly event: 'background-failed'; readonly job: string; readonly detail: string }

export type StoreLog = (event: StoreEvent) => void
