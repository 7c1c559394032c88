/** What is held of verdicts and finished answers: one bound over all views, so that more views cost no more memory. */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import type { Admission } from './admissions.ts'
import type { Outcome } from './standing.ts'
import type { Representation } from './representation.ts'

/** Made from one revision of a packument, at one epoch of what verdicts rest on. */
export type Made<T> = {
  readonly value: T
  readonly epoch: number
  readonly raw: string
  /** Its grounds, where it may be kept. */
  readonly grounds?: string | undefined
}

/** A verdict that holds until something it rests on changes, or time does. */
export type Remembered = {
  readonly admission: Admission
  readonly epoch: number
  readonly changesAt: number
}

export type Memory = ReturnType<typeof openMemory>

/** `bytes`: finished representations. Keys begin with the view they belong to. */
export const openMemory = (bytes: number) => ({
  standings: new LRUCache<string, Made<Outcome>>(atMost(5_000)),
  finished: new LRUCache<
    string,
    Made<Representation> & { readonly until: number; readonly effect: string }
  >({
    maxSize: Math.ceil(bytes / 2),
    sizeCalculation: ({ value }) => value.gzip.length + 500,
  }),
  /** Documents without compression, for those who take none; by validator. */
  plain: new LRUCache<string, Buffer>({
    maxSize: Math.ceil(bytes / 2),
    sizeCalculation: document => document.length + 500,
  }),
  hot: new LRUCache<string, Remembered>(atMost(50_000)),
})
