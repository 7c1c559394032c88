/**
 * Finished packuments in the store: after a restart, or in another process on the same store, one is
 * not made again. What is kept serves only as long as it says what would be made now.
 */
import type { BlobUse, RecordUse, Store } from '../store/store.ts'
import type { Integrity } from '../types.ts'
import type { Background } from './background.ts'
import type { Behind } from './behind.ts'
import { record } from './claims.ts'
import type { Representation } from './representation.ts'

/** What a representation's bytes are made from, besides the form and the addresses. */
export type MadeFrom = {
  /** The upstream's revision. */
  readonly raw: Integrity
  /** What the policies make of it. */
  readonly effect: string
}

/** Kept in the collection `representation`; large bytes as a blob, others in base64. */
type Kept = MadeFrom &
  Omit<Representation, 'gzip'> & {
    /** The program that made it; another one may make it differently. */
    readonly maker: string
  } & ({ readonly blob: Integrity } | { readonly gzip: string })

/** Who makes or reads one has it in memory as a finished answer. */
const elsewhere: BlobUse = { remember: false }

/** After a loss of power it is made anew. */
const again: RecordUse = { lasting: false }

/** Compressed bytes up to which they stand in the record itself: a file costs more than they do. */
const SMALL = 16 * 1024

export type KeptRepresentations = ReturnType<typeof openKeptRepresentations>

/** None where the record is not whole. */
const restOf = (kept: Readonly<Record<string, unknown>>) => {
  const { form, etag, size, distTags, shown, modified } = kept
  const whole =
    (form === 'full' || form === 'abbreviated') &&
    typeof etag === 'string' &&
    typeof size === 'number' &&
    typeof shown === 'number' &&
    (modified === undefined || typeof modified === 'string') &&
    Object.values(record(distTags)).every(version => typeof version === 'string')
  return whole
    ? ({
        form,
        etag,
        size,
        distTags: record(distTags) as Representation['distTags'],
        shown,
        ...(modified !== undefined && { modified }),
      } satisfies Omit<Representation, 'gzip'>)
    : undefined
}

export const openKeptRepresentations = (options: {
  readonly store: Pick<Store, 'records' | 'blobs'>
  readonly maker: string
  readonly later: Background['add']
  readonly behind: Behind
}) => {
  const { store, maker, later, behind } = options
  const kept = new WeakSet<Representation>()

  const storeLarge = async (key: string, from: MadeFrom, { gzip, ...rest }: Representation) => {
    const staged = await store.blobs.stage(elsewhere)
    try {
      await staged.write(gzip)
      await staged.finish()
      const { integrity: blob } = await staged.commit()
      const value: Kept = { ...from, ...rest, blob, maker }
      await store.records.put('representation', key, value, again)
    } catch (error) {
      await staged.abort()
      throw error
    }
  }

  const storeSmall = async (key: string, from: MadeFrom, { gzip, ...rest }: Representation) => {
    const before = await store.records.get<Kept>('representation', key)
    const { raw, effect, etag, maker: made } = record(before)
    const same = raw === from.raw && effect === from.effect && etag === rest.etag
    // another process was here before
    if (same && made === maker) return
    const value: Kept = { ...from, ...rest, gzip: gzip.toString('base64'), maker }
    await store.records.put('representation', key, value, again)
  }

  const bytesOf = async ({ blob, gzip }: Readonly<Record<string, unknown>>) => {
    if (typeof gzip === 'string') return Buffer.from(gzip, 'base64')
    return typeof blob === 'string'
      ? await store.blobs.get(blob as Integrity, elsewhere)
      : undefined
  }

  return {
    load: async (
      key: string,
      { raw, effect }: MadeFrom,
    ): Promise<Representation | undefined> => {
      const found = record(await store.records.get<Kept>('representation', key))
      if (found['raw'] !== raw || found['effect'] !== effect || found['maker'] !== maker)
        return undefined
      const rest = restOf(found)
      const gzip = rest && (await bytesOf(found))
      if (!gzip) return undefined
      const representation = { ...rest, gzip }
      kept.add(representation)
      return representation
    },

    /** Behind the answer that it was made for; a small one only where its package has `settled`. */
    keep: (
      key: string,
      from: MadeFrom,
      representation: Representation,
      settled: boolean,
    ): void => {
      const large = representation.gzip.length >= SMALL
      if (kept.has(representation) || !(large || settled)) return
      const added = large
        ? later(`keep ${key}`, () => storeLarge(key, from, representation))
        : behind.add(`keep ${key}`, () => storeSmall(key, from, representation))
      if (added) kept.add(representation)
    },
  }
}
