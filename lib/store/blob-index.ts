import { setImmediate as breathe } from 'node:timers/promises'
import type { Integrity } from '../types.ts'
import { hexOf } from './blob-name.ts'
import type { Database } from './database.ts'

export type BlobRow = { readonly hex: string; readonly size: number; readonly used: number }

/** Rows in one transaction or page: about 1 ms. */
const batchRows = 256
/** Uses remembered before they are written early. */
const touchesMax = 8192

const rowBytes = 160

/**
 * Size and last use of each blob, in SQLite. A use is noted in memory and written later, many at
 * once: a read never writes, and a crash forgets some seconds of uses, which only makes the order
 * of eviction a little older.
 */
export type BlobIndex = {
  get(hex: string): Promise<BlobRow | undefined>
  /** A blob was written: it is now the most recently used. */
  put(hex: string, size: number): Promise<void>
  /** A file without a row was found; its last use is unknown, so it is the first to go. */
  adopt(hex: string, size: number): Promise<boolean>
  /** Removes the row; with `used`, only if nobody has used the blob since. */
  forget(hex: string, used?: number): Promise<boolean>
  touch(integrity: Integrity): void
  /** Used since uses were last written. */
  touched(integrity: Integrity): boolean
  flushTouches(): Promise<void>
  total(): Promise<number>
  /** Least recently used first; `after` is the last row of the page before. */
  oldest(after?: BlobRow): Promise<readonly BlobRow[]>
  /** All rows whose digest starts with the byte `shard`, by digest. */
  inShard(shard: number): AsyncIterable<BlobRow>
}

export const openBlobIndex = async (
  database: Database,
  now: () => Date,
): Promise<BlobIndex> => {
  const select = database.prepare('SELECT size, used FROM blobs WHERE digest = ?')
  const upsert = database.prepare(
    `INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT (digest)
     DO UPDATE SET size = excluded.size, used = max(used, excluded.used)`,
  )
  const insert = database.prepare('INSERT INTO blobs VALUES (?, ?, 0) ON CONFLICT DO NOTHING')
  const remove = database.prepare('DELETE FROM blobs WHERE digest = ?')
  const removeUnused = database.prepare('DELETE FROM blobs WHERE digest = ? AND used = ?')
  const use = database.prepare('UPDATE blobs SET used = max(used, ?) WHERE digest = ?')
  const sum = database.prepare('SELECT bytes FROM totals')
  const byUse = database.prepare(
    `SELECT digest, size, used FROM blobs WHERE (used, digest) > (?, ?)
     ORDER BY used, digest LIMIT ${batchRows}`,
  )
  const byDigest = database.prepare(
    `SELECT digest, size, used FROM blobs WHERE digest > ? AND digest < ?
     ORDER BY digest LIMIT ${batchRows}`,
  )
  const latest = database.prepare('SELECT max(used) AS used FROM blobs')

  const toRow = (row: Record<string, unknown>): BlobRow => ({
    hex: Buffer.from(row['digest'] as Uint8Array).toString('hex'),
    size: Number(row['size']),
    used: Number(row['used']),
  })

  // Each use has its own moment, so that uses within one millisecond keep their order.
  const first = await database.read('read the blob index', () => latest.get())
  let last = Number(first?.['used'] ?? 0)
  const moment = (): number => (last = Math.max(now().getTime(), last + 1))

  let touches = new Map<Integrity, number>()

  const flushTouches = async (): Promise<void> => {
    const uses = [...touches]
    touches = new Map()
    for (let from = 0; from < uses.length; from += batchRows) {
      const batch = uses.slice(from, from + batchRows)
      await database.transaction('note which blobs were used', batch.length * rowBytes, () => {
        for (const [integrity, used] of batch)
          use.run(used, Buffer.from(hexOf(integrity), 'hex'))
      })
      await breathe()
    }
  }

  return {
    get: async hex => {
      const row = await database.read('read the blob index', () =>
        select.get(Buffer.from(hex, 'hex')),
      )
      return row && { hex, size: Number(row['size']), used: Number(row['used']) }
    },
    put: async (hex, size) => {
      await database.write('write the blob index', rowBytes, () =>
        upsert.run(Buffer.from(hex, 'hex'), size, moment()),
      )
    },
    adopt: async (hex, size) => {
      const { changes } = await database.write('write the blob index', rowBytes, () =>
        insert.run(Buffer.from(hex, 'hex'), size),
      )
      return Number(changes) > 0
    },
    forget: async (hex, used) => {
      const digest = Buffer.from(hex, 'hex')
      const { changes } = await database.write('write the blob index', rowBytes, () =>
        used === undefined ? remove.run(digest) : removeUnused.run(digest, used),
      )
      return Number(changes) > 0
    },
    touch: integrity => {
      // Beyond the bound only blobs already noted are: their order is what matters most.
      if (touches.size < touchesMax || touches.has(integrity)) touches.set(integrity, moment())
    },
    touched: integrity => touches.has(integrity),
    flushTouches,
    total: async () => {
      const row = await database.read('read the blob index', () => sum.get())
      return Number(row?.['bytes'] ?? 0)
    },
    oldest: async after => {
      const rows = await database.read('read the blob index', () =>
        after === undefined
          ? byUse.all(-1, Buffer.alloc(0))
          : byUse.all(after.used, Buffer.from(after.hex, 'hex')),
      )
      return rows.map(toRow)
    },
    async *inShard(shard) {
      const end = shard === 255 ? Buffer.alloc(65, 0xff) : Buffer.of(shard + 1)
      // A digest is longer than its first byte, so this is below all of them.
      let from = Buffer.of(shard)
      for (;;) {
        const rows = await database.read('read the blob index', () => byDigest.all(from, end))
        for (const row of rows) yield toRow(row)
        const final = rows.at(-1)
        if (rows.length < batchRows || final === undefined) return
        from = Buffer.from(final['digest'] as Uint8Array)
        await breathe()
      }
    },
  }
}
