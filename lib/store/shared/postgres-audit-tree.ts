/** The Merkle tree over the audit entries, in PostgreSQL: grown in the transaction that adds them. */
import type { ISql } from 'postgres'
import { hashSize, rootHash } from '../../transparency/merkle.ts'
import {
  edgeTiles,
  growTiles,
  nodesOf,
  tilesRead,
  type TileId,
  type TileReader,
} from '../../transparency/tiles.ts'

export type TreeSize = { readonly size: number; readonly pruned: number }

/** Until the transaction ends nobody else adds to the tree. */
export const lockTree = async (sql: ISql): Promise<TreeSize> => {
  const [row] = await sql`SELECT size, pruned FROM audit_tree WHERE one = 1 FOR UPDATE`
  return { size: Number(row?.['size']), pruned: Number(row?.['pruned']) }
}

const keyOf = ({ level, index }: TileId) => `${level}/${index}`
const none = Buffer.alloc(0)

/** Reads these tiles at once; others are empty. */
const fetchTiles = async (sql: ISql, tiles: readonly TileId[]): Promise<TileReader> => {
  if (tiles.length === 0) return () => none
  const rows = await sql`SELECT t.level, t.position, t.hashes
    FROM unnest(${tiles.map(({ level }) => level)}::int[], ${tiles.map(({ index }) => index)}::bigint[])
      AS wanted (level, position)
    JOIN audit_tiles t ON t.level = wanted.level AND t.position = wanted.position`
  const held = new Map(
    rows.map(row => [
      keyOf({ level: Number(row['level']), index: Number(row['position']) }),
      row['hashes'] as Uint8Array,
    ]),
  )
  return tile => held.get(keyOf(tile)) ?? none
}

export const readTile = async (sql: ISql, tile: TileId): Promise<Uint8Array> =>
  (await fetchTiles(sql, [tile]))(tile)

/** Adds these leaves behind the `size` that are there. */
export const growTree = async (
  sql: ISql,
  size: number,
  leaves: readonly Buffer[],
): Promise<void> => {
  const read = await fetchTiles(sql, edgeTiles(size))
  // only what the size covers is part of a tile
  const covered: TileReader = id =>
    read(id).subarray(0, (Math.floor(size / 256 ** id.level) % 256) * hashSize)
  const changed = growTiles(size, leaves, covered)
  // bytes go as text: an array of them would be taken for something else
  await sql`INSERT INTO audit_tiles (level, position, hashes)
    SELECT grown.level, grown.position, decode(grown.hashes, 'hex') FROM unnest(
      ${changed.map(({ level }) => level)}::int[],
      ${changed.map(({ index }) => index)}::bigint[],
      ${changed.map(({ hashes }) => Buffer.from(hashes).toString('hex'))}::text[])
      AS grown (level, position, hashes)
    ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes`
  await sql`UPDATE audit_tree SET size = ${size + leaves.length} WHERE one = 1`
}

export const rootOfTree = async (sql: ISql, size: number): Promise<Uint8Array> => {
  const tiles = tilesRead(node => rootHash(size, node))
  const read = await fetchTiles(sql, tiles)
  return rootHash(size, nodesOf(read))
}
