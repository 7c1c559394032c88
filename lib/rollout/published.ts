/**
 * The published policies in the store: the newest, which is in force, and the ones before it. The
 * newest is one record, changed by comparing and swapping: of two who publish at once one is told.
 */
import { AttestryError } from '../errors.ts'
import type { Changes, Records } from '../store/store.ts'
import { contentDigest, readRevision, type Content, type Revision } from './revision.ts'

const collection = 'policy'
const newest = 'newest'
/** By their numbers, so that they are listed in their order. */
const olderPrefix = 'revision '
const olderKey = (revision: number) => `${olderPrefix}${String(revision).padStart(9, '0')}`

/** Older revisions that are kept. */
export const historyMax = 100

export type Publication = {
  readonly content: Content
  readonly policyDigest: string
  readonly by: string
  readonly message?: string | undefined
  readonly again?: number | undefined
  readonly at: Date
}

export type Published = {
  /** What is in force; undefined where nothing was ever published. Throws EPOLICY when it cannot be read. */
  newest(): Promise<Revision | undefined>
  /** One of the newest or those kept. */
  revision(number: number): Promise<Revision | undefined>
  /** All that are kept, the newest first. */
  history(): Promise<readonly Revision[]>
  /**
   * Puts a new revision in the place of `before`, which is what `newest` gave, and tells the
   * instances. Throws ESUPERSEDED when somebody else was quicker.
   */
  publish(publication: Publication, before: Revision | undefined): Promise<Revision>
}

const superseded = (found: Revision | undefined): AttestryError =>
  new AttestryError(
    'ESUPERSEDED',
    found
      ? `Nothing was published: revision ${found.revision} was published meanwhile by ${found.by} at ${found.at}${found.message === undefined ? '' : ` (${found.message})`}.`
      : 'Nothing was published: the store has no published policy any more.',
    { details: { ...(found && { found: found.revision }) } },
  )

export const openPublished = (
  records: Records,
  changes: Pick<Changes, 'publish'>,
): Published => {
  const read = async (key: string): Promise<Revision | undefined> => {
    const value = await records.get(collection, key)
    return value === undefined ? undefined : readRevision(value)
  }

  const prune = async (revision: number): Promise<void> => {
    const old: string[] = []
    for await (const [key] of records.list(collection, olderPrefix))
      if (key <= olderKey(revision - historyMax - 1)) old.push(key)
    for (const key of old) await records.delete(collection, key)
  }

  return {
    newest: () => read(newest),

    revision: async number => {
      const found = await read(newest)
      return found?.revision === number ? found : read(olderKey(number))
    },

    history: async () => {
      const all: Revision[] = []
      for await (const [, value] of records.list(collection, olderPrefix))
        all.push(readRevision(value))
      const found = await read(newest)
      // what is being replaced stands in both places for a moment
      const older = all.filter(({ revision }) => revision !== found?.revision)
      return [...older, ...(found ? [found] : [])].toReversed()
    },

    publish: async ({ content, at, by, policyDigest, message, again }, before) => {
      const raw = await records.get(collection, newest)
      const found = raw === undefined ? undefined : readRevision(raw)
      if (found?.content !== before?.content || found?.revision !== before?.revision)
        throw superseded(found)
      // kept before it is replaced: whoever is stopped in between loses nothing
      if (found) await records.putIfAbsent(collection, olderKey(found.revision), raw)
      const revision: Revision = {
        format: 1,
        revision: (found?.revision ?? 0) + 1,
        at: at.toISOString(),
        by,
        ...(message !== undefined && { message }),
        ...(again !== undefined && { again }),
        content: contentDigest(content),
        policyDigest,
        layers: content.layers,
        views: content.views,
      }
      if (!(await records.swap(collection, newest, raw, revision)))
        throw superseded(await read(newest))
      // it is in force: instances that are not told find it when they look, and what is too old now
      // goes the next time
      await changes
        .publish({ topic: 'policy', key: String(revision.revision) })
        .catch(() => undefined)
      await prune(revision.revision).catch(() => undefined)
      return revision
    },
  }
}
