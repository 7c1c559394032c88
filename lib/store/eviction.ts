import type { BlobIndex, BlobRow } from './blob-index.ts'
import { integrityOf } from './blob-name.ts'
import type { LocalBlobs } from './local-blobs.ts'

export type EvictionTools = {
  readonly index: BlobIndex
  readonly blobs: LocalBlobs
  /** Bytes allowed. */
  readonly max: number
  readonly stopping: () => boolean
}

export type Eviction = { readonly removed: number; readonly freed: number }

/**
 * When there is more than allowed, removes the least recently used blobs until nine tenths are
 * left, so that it need not start again with the next blob. A blob that is being streamed here is
 * passed over; one that another process streams loses its name and is streamed to its end.
 */
export const evict = async ({
  index,
  blobs,
  max,
  stopping,
}: EvictionTools): Promise<Eviction> => {
  let removed = 0
  let freed = 0
  if ((await index.total()) <= max) return { removed, freed }
  await index.flushTouches()
  const target = Math.floor(max * 0.9)
  let last: BlobRow | undefined
  // Asked anew for each page: other processes remove, too.
  while (!stopping()) {
    let excess = (await index.total()) - target
    const page = await index.oldest(last)
    if (excess <= 0 || page.length === 0) break
    for (const row of page) {
      last = row
      if (excess <= 0 || stopping()) break
      const integrity = integrityOf(row.hex)
      if (blobs.isRead(row.hex) || index.touched(integrity)) continue
      if (!(await blobs.remove(integrity, row.used))) continue
      removed += 1
      freed += row.size
      excess -= row.size
    }
  }
  return { removed, freed }
}
