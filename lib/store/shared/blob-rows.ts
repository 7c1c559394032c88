import type { Integrity } from '../../types.ts'
import { hexOf, integrityOf } from '../blob-name.ts'
import type { BlobInfo } from '../store.ts'
import type { Postgres } from './postgres.ts'

const pageRows = 256
/** Uses remembered before they are written early. */
const touchesMax = 8192
/** Seconds after which a deletion whose instance died is finished by whoever meets it. */
const deletionMax = 60

export type BlobUse = BlobInfo & { readonly used: number }

/**
 * Which objects there are, in PostgreSQL. Rows of objects that are being deleted count as absent;
 * nobody writes the object anew until its deletion has ended.
 */
export type BlobRows = {
  size(integrity: Integrity): Promise<number | undefined>
  /** False while the object is being deleted. */
  put(info: BlobInfo): Promise<boolean>
  /** False when there is none, or somebody else deletes it; with `used`, if it was used since. */
  beginDeletion(integrity: Integrity, used?: number): Promise<boolean>
  endDeletion(integrity: Integrity): Promise<void>
  touch(integrity: Integrity): void
  flushTouches(): Promise<void>
  total(): Promise<number>
  /** Least recently used first, behind `after`. */
  oldest(after?: BlobUse): Promise<readonly BlobUse[]>
  all(): AsyncIterable<BlobInfo>
}

const bytesOf = (integrity: Integrity): Buffer => Buffer.from(hexOf(integrity), 'hex')
const nameOf = (digest: unknown): Integrity =>
  integrityOf(Buffer.from(digest as Uint8Array).toString('hex'))

export const openBlobRows = (postgres: Postgres, now: () => Date): BlobRows => {
  let last = 0
  // each use has its own moment, so that uses within one millisecond keep their order
  const moment = (): number => (last = Math.max(now().getTime(), last + 1))
  let touches = new Map<Integrity, number>()

  const flushTouches = async (): Promise<void> => {
    const uses = [...touches].toSorted(([a], [b]) => (a < b ? -1 : 1))
    touches = new Map()
    for (let from = 0; from < uses.length; from += 1000) {
      const part = uses.slice(from, from + 1000)
      await postgres.run(
        'note which blobs were used',
        sql => sql`UPDATE blobs SET used = greatest(blobs.used, noted.used)
          FROM unnest(${part.map(([name]) => hexOf(name))}::text[], ${part.map(([, used]) => used)}::bigint[])
            AS noted (hex, used)
          WHERE blobs.digest = decode(noted.hex, 'hex')`,
      )
    }
  }

  return {
    size: async integrity => {
      const digest = bytesOf(integrity)
      const [row] = await postgres.run(
        'look for a blob',
        sql => sql`SELECT size FROM blobs WHERE digest = ${digest} AND deleting IS NULL`,
      )
      return row && Number(row['size'])
    },
    put: async ({ integrity, size }) => {
      const [digest, used] = [bytesOf(integrity), moment()]
      const rows = await postgres.run(
        'note a blob',
        sql => sql`INSERT INTO blobs AS b VALUES (${digest}, ${size}, ${used})
          ON CONFLICT (digest) DO UPDATE SET used = greatest(b.used, excluded.used)
          WHERE b.deleting IS NULL RETURNING b.size`,
      )
      return rows.length > 0
    },
    beginDeletion: async (integrity, used) => {
      const digest = bytesOf(integrity)
      const { count } = await postgres.run(
        'remove a blob',
        sql => sql`UPDATE blobs SET deleting = now()
          WHERE digest = ${digest} AND (${used ?? null}::bigint IS NULL OR used = ${used ?? null})
            AND (deleting IS NULL OR deleting < now() - make_interval(secs => ${deletionMax}))`,
      )
      return count > 0
    },
    endDeletion: async integrity => {
      const digest = bytesOf(integrity)
      await postgres.run(
        'remove a blob',
        sql => sql`DELETE FROM blobs WHERE digest = ${digest} AND deleting IS NOT NULL`,
      )
    },
    touch: integrity => {
      touches.set(integrity, moment())
      if (touches.size >= touchesMax) void flushTouches().catch(() => undefined)
    },
    flushTouches,
    total: async () => {
      const [row] = await postgres.run(
        'read the size of all blobs',
        sql => sql`SELECT bytes FROM totals WHERE one = 1`,
      )
      return Number(row?.['bytes'] ?? 0)
    },
    oldest: async after => {
      const used = after?.used ?? -1
      const digest = after ? bytesOf(after.integrity) : Buffer.alloc(0)
      const rows = await postgres.run(
        'list blobs',
        sql => sql`SELECT digest, size, used FROM blobs WHERE (used, digest) > (${used}, ${digest})
          AND deleting IS NULL ORDER BY used, digest LIMIT ${pageRows}`,
      )
      return rows.map(row => ({
        integrity: nameOf(row['digest']),
        size: Number(row['size']),
        used: Number(row['used']),
      }))
    },
    async *all() {
      for (let from: Buffer = Buffer.alloc(0); ;) {
        const start = from
        const rows = await postgres.run(
          'list blobs',
          sql => sql`SELECT digest, size FROM blobs WHERE digest > ${start} AND deleting IS NULL
            ORDER BY digest LIMIT ${pageRows}`,
        )
        for (const row of rows) {
          from = Buffer.from(row['digest'] as Uint8Array)
          yield { integrity: nameOf(from), size: Number(row['size']) }
        }
        if (rows.length < pageRows) return
      }
    },
  }
}
