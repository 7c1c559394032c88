import { Readable } from 'node:stream'
import { messageOf } from '../../errors.ts'
import type { Integrity } from '../../types.ts'
import type { StoreLog } from '../store-event.ts'
import type { BlobInfo, Blobs } from '../store.ts'

/** Milliseconds between two tries. */
const interval = 2_000
/** Remembered; of more the others do without. */
const owedMax = 20_000

export type OwedBlobsOptions = {
  readonly local: Blobs
  /** False when the bucket does not take it now. */
  readonly publish: (info: BlobInfo, read: () => Readable) => Promise<boolean>
  readonly log: StoreLog
}

export type OwedBlobs = {
  /** It is on this machine, and the bucket did not take it. */
  add(info: BlobInfo, why: unknown): void
  readonly waiting: () => number
  stop(): Promise<void>
}

/**
 * Blobs that were admitted while the bucket took none: full, read-only or away. They are served from
 * this machine, other machines fetch them from the upstream for themselves, and the bucket gets them
 * when it takes something again, as long as this process runs and they are not evicted.
 */
export const openOwedBlobs = ({ local, publish, log }: OwedBlobsOptions): OwedBlobs => {
  const owed = new Map<Integrity, BlobInfo>()
  let since = 0
  let stopped = false
  let paying: Promise<void> | undefined

  const read = (integrity: Integrity): Readable =>
    Readable.from(
      (async function* () {
        const found = await local.open(integrity)
        if (found) yield* found.stream as AsyncIterable<Buffer>
      })(),
    )

  const pay = async (): Promise<void> => {
    for (const [integrity, info] of owed) {
      if (stopped) return
      const here = await local.stat(integrity)
      if (here && !(await publish(info, () => read(integrity)))) return
      owed.delete(integrity)
    }
    log({ event: 'taking', part: 's3', milliseconds: performance.now() - since })
  }

  const timer = setInterval(() => {
    if (owed.size === 0 || paying) return
    paying = pay()
      .catch((error: unknown) =>
        log({ event: 'background-failed', job: 'owed blobs', detail: messageOf(error) }),
      )
      .finally(() => (paying = undefined))
  }, interval)
  timer.unref()

  return {
    add: (info, why) => {
      if (owed.size === 0) {
        since = performance.now()
        log({ event: 'refusing', part: 's3', detail: messageOf(why) })
      }
      if (owed.size < owedMax) owed.set(info.integrity, info)
    },
    waiting: () => owed.size,
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await paying
    },
  }
}
