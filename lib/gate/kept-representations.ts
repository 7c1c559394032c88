/**
 * Finished packuments in the store: after a restart, or in another process on the same store, a large
 * one is not made again. What is kept serves only as long as it says what would be made now.
 */
import type { BlobUse, Store } from '../store/store.ts'
import type { Integrity } from '../types.ts'
import type { Background } from './background.ts'
import type { Representation } from './representation.ts'

/** What a representation's bytes are made from, besides the form and the addresses. */
export type MadeFrom = {
  /** The upstream's revision. */
  readonly raw: Integrity
  /** What the policies make of it. */
  readonly effect: string
}

/** Kept in the collection `representation`. */
type Kept = MadeFrom &
  Omit<Representation, 'gzip'> & {
    readonly blob: Integrity
    /** The version that made it; another one may make it differently. */
    readonly maker: string
  }

/** Who makes or reads one has it in memory as a finished answer. */
const elsewhere: BlobUse = { remember: false }

/** Bytes, compressed; what is smaller is made as fast as it is read. */
const LEAST = 16 * 1024

export type KeptRepresentations = ReturnType<typeof openKeptRepresentations>

export const openKeptRepresentations = (options: {
  readonly store: Pick<Store, 'records' | 'blobs'>
  readonly maker: string
  readonly later: Background['add']
}) => {
  const { store, maker, later } = options

  const write = async (key: string, from: MadeFrom, { gzip, ...rest }: Representation) => {
    const staged = await store.blobs.stage(elsewhere)
    try {
      await staged.write(gzip)
      await staged.finish()
      const { integrity: blob } = await staged.commit()
      const kept: Kept = { ...from, ...rest, blob, maker }
      await store.records.put('representation', key, kept)
    } catch (error) {
      await staged.abort()
      throw error
    }
  }

  return {
    load: async (
      key: string,
      { raw, effect }: MadeFrom,
    ): Promise<Representation | undefined> => {
      const kept = await store.records.get<Kept>('representation', key)
      if (!kept || kept.raw !== raw || kept.effect !== effect || kept.maker !== maker)
        return undefined
      const gzip = await store.blobs.get(kept.blob, elsewhere)
      if (!gzip) return undefined
      const { blob: _blob, maker: _maker, raw: _raw, effect: _effect, ...rest } = kept
      return { ...rest, gzip }
    },

    /** Behind the answer that it was made for. */
    keep: (key: string, from: MadeFrom, representation: Representation): void => {
      if (representation.gzip.length < LEAST) return
      later(`keep ${key}`, () => write(key, from, representation))
    },
  }
}
