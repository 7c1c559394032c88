import type { Leases } from '../store.ts'
import type { BlobRows, BlobUse } from './blob-rows.ts'
import type { SharedBlobs } from './shared-blobs.ts'

export type SharedEvictionTools = {
  readonly rows: BlobRows
  readonly blobs: SharedBlobs
  readonly leases: Leases
  /** Bytes allowed in the bucket. */
  readonly max: number
  readonly stopping: () => boolean
}

/**
 * When there is more in the bucket than allowed, removes what was least recently used by any instance
 * until nine tenths are left. One instance at a time does it.
 */
export const evictShared = async (
  tools: SharedEvictionTools,
): Promise<{ readonly removed: number; readonly freed: number }> => {
  const { rows, blobs, leases, max, stopping } = tools
  await rows.flushTouches()
  if ((await rows.total()) <= max) return { removed: 0, freed: 0 }
  const work = async () => {
    let removed = 0
    let freed = 0
    const target = Math.floor(max * 0.9)
    let last: BlobUse | undefined
    while (!stopping()) {
      let excess = (await rows.total()) - target
      const page = await rows.oldest(last)
      if (excess <= 0 || page.length === 0) break
      for (const blob of page) {
        last = blob
        if (excess <= 0 || stopping()) break
        if (!(await blobs.remove(blob.integrity, blob.used))) continue
        removed += 1
        freed += blob.size
        excess -= blob.size
      }
    }
    return { removed, freed }
  }
  const turn = await leases.run('evict blobs', work, { wait: 0 })
  return turn.ran ? turn.value : { removed: 0, freed: 0 }
}
