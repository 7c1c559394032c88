/** The Merkle tree over the audit entries, in SQLite: grown in the transaction that adds an entry. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { parseCheckpoint } from '../transparency/checkpoint.ts'
import { hashSize, leafHash } from '../transparency/merkle.ts'
import { growTiles, rootOfTiles, type TileReader } from '../transparency/tiles.ts'
import type { SealedTree } from './store.ts'

type Preparing = { prepare(sql: string): StatementSync }

/** All of it synchronous, to be called within a transaction where it writes. */
export type AuditTree = {
  readonly state: () => { readonly size: number; readonly pruned: number }
  /** Empty where there is none. */
  readonly tile: TileReader
  /** Adds these leaves behind the `size` that are there. */
  readonly grow: (size: number, leaves: readonly Buffer[]) => void
  readonly checkpoint: () => string | undefined
  readonly sealed: () => SealedTree
}

export const openAuditTree = (database: Preparing): AuditTree => {
  const state = database.prepare('SELECT size, pruned FROM audit_tree')
  const resize = database.prepare('UPDATE audit_tree SET size = ?')
  const read = database.prepare(
    'SELECT hashes FROM audit_tiles WHERE level = ? AND position = ?',
  )
  const write = database.prepare(
    `INSERT INTO audit_tiles VALUES (?, ?, ?)
     ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes`,
  )
  const last = database.prepare('SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1')

  const tile: TileReader = ({ level, index }) => {
    const hashes = read.get(level, index)?.['hashes']
    return hashes instanceof Uint8Array ? hashes : Buffer.alloc(0)
  }
  const now = () => {
    const row = state.get()
    return { size: Number(row?.['size']), pruned: Number(row?.['pruned']) }
  }
  const checkpoint = () => {
    const note = last.get()?.['note']
    return typeof note === 'string' ? note : undefined
  }

  return {
    state: now,
    tile,
    grow: (size, leaves) => {
      // only what the size covers is part of a tile: anything beyond it was never acknowledged
      const covered: TileReader = id =>
        tile(id).subarray(0, (Math.floor(size / 256 ** id.level) % 256) * hashSize)
      for (const { level, index, hashes } of growTiles(size, leaves, covered))
        write.run(level, index, hashes)
      resize.run(size + leaves.length)
    },
    checkpoint,
    sealed: () => {
      const { size } = now()
      const note = checkpoint()
      const before = note === undefined ? undefined : parseCheckpoint(note).size
      return {
        size,
        root: rootOfTiles(size, tile),
        ...(note !== undefined && { last: note }),
        ...(before !== undefined && before <= size && { lastRoot: rootOfTiles(before, tile) }),
      }
    },
  }
}

const batch = 256

/**
 * The step of the migrations that takes in the entries of a database without a tree: it hashes
 * them, about a million in three seconds, and numbers them without gaps where there were some.
 */
export const takeInEntries = (database: DatabaseSync): void => {
  const tree = openAuditTree(database)
  const page = database.prepare(
    'SELECT seq, entry FROM audit WHERE seq > ? ORDER BY seq LIMIT ?',
  )
  const renumber = database.prepare('UPDATE audit SET seq = ? WHERE seq = ?')
  for (let size = 0, after = 0; ;) {
    const rows = page.all(after, batch)
    tree.grow(
      size,
      rows.map(row => leafHash(String(row['entry']))),
    )
    for (const row of rows) {
      size += 1
      after = Number(row['seq'])
      if (after !== size) renumber.run(size, after)
    }
    if (rows.length < batch) return
  }
}
