/** What the first process of a cluster and its workers say to each other. */

import type { PolicyText } from '../reload.ts'

/** The layers of everybody, or those that a view adds. */
export type PolicyTexts = {
  readonly view?: string
  readonly texts: readonly PolicyText[]
}

/** prom-client's JSON of one registry. */
export type MetricsJson = readonly object[]

export type ToWorker =
  | {
      readonly kind: 'start'
      /** Counted from 1; one that takes another's place takes its number. */
      readonly worker: number
      /** One for all: to an upstream they are one server. */
      readonly instance: string
      /** What the settings file held; a worker that is started later must not go by another. */
      readonly settings?: string
      readonly policies: readonly PolicyTexts[]
      /** Of these processes one greets the upstream. */
      readonly first: boolean
    }
  /** Puts these in force, from the next request on. */
  | { readonly kind: 'adopt'; readonly policies: PolicyTexts }
  /** Asks for newer trust at once. */
  | { readonly kind: 'trust' }
  | { readonly kind: 'collect'; readonly id: number }
  | {
      readonly kind: 'scraped'
      readonly id: number
      readonly type: string
      readonly text: string
    }
  /** Says that it is not ready from now on, and serves as before. */
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' }

export type Serving = {
  readonly url: string
  /** Name and mode of each policy of everybody. */
  readonly policies: readonly string[]
  readonly policyDigest: string
}

export type FromWorker =
  | ({ readonly kind: 'serving' } & Serving)
  | { readonly kind: 'collected'; readonly id: number; readonly metrics: MetricsJson }
  | { readonly kind: 'scrape'; readonly id: number }

/** Others use the channel as well: a debugger, a test's probe. */
export const isMessage = <T extends ToWorker | FromWorker>(
  message: unknown,
  kinds: readonly T['kind'][],
): message is T =>
  typeof message === 'object' &&
  message !== null &&
  'kind' in message &&
  kinds.some(kind => kind === message.kind)
