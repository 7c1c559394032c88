/**
 * A Merkle tree cut into tiles, as C2SP's tlog-tiles has it: a tile holds 256 neighbouring hashes,
 * those of level 0 the leaves, those above one hash for each full tile below. A partial tile is the
 * beginning of the full one, so that an append only ever lengthens tiles.
 */
import { AttestryError } from '../errors.ts'
import { hashSize, nodeHash, rootHash, type NodeReader } from './merkle.ts'

export const tileWidth = 256
const tileHeight = 8

export type TileId = { readonly level: number; readonly index: number }
export type Tile = TileId & { readonly hashes: Uint8Array }

/** How many hashes tile `level`, `index` has in a tree of `size` leaves; 0 when it has none. */
export const widthOf = (size: number, { level, index }: TileId): number => {
  const hashes = Math.floor(size / tileWidth ** level) - index * tileWidth
  return Math.max(0, Math.min(tileWidth, hashes))
}

/** The tiles at the right edge that an append to a tree of `size` leaves may lengthen, lowest first. */
export const edgeTiles = (size: number): readonly TileId[] => {
  const edge: TileId[] = []
  for (let level = 0; level === 0 || size >= tileWidth ** level; level += 1) {
    const index = Math.floor(size / tileWidth ** (level + 1))
    if (widthOf(size, { level, index }) > 0) edge.push({ level, index })
  }
  return edge
}

const tileKey = ({ level, index }: TileId) => `${level}/${index}`

const tooShort = () =>
  new AttestryError('ELOG', 'A tile of the log has fewer hashes than the log has entries.')

/** Hash number `at` among those that combine 2^`height` neighbours of a tile. */
const nodeWithin = (hashes: Uint8Array, height: number, at: number): Uint8Array => {
  if (height > 0)
    return nodeHash(
      nodeWithin(hashes, height - 1, at * 2),
      nodeWithin(hashes, height - 1, at * 2 + 1),
    )
  const found = hashes.subarray(at * hashSize, (at + 1) * hashSize)
  if (found.length !== hashSize) throw tooShort()
  return found
}

/** The root of a full tile, which is its hash in the tile above. */
export const tileRoot = (hashes: Uint8Array): Uint8Array => nodeWithin(hashes, tileHeight, 0)

export type TileReader = (tile: TileId) => Uint8Array

/** Reads nodes of the tree out of tiles. Throws ELOG where a tile lacks what is asked for. */
export const nodesOf =
  (read: TileReader): NodeReader =>
  (level, index) => {
    // a full tile's root is a hash of the tile above; levels within a tile are computed
    const height = level % tileHeight
    const perTile = tileWidth / 2 ** height
    const tile = { level: (level - height) / tileHeight, index: Math.floor(index / perTile) }
    return nodeWithin(read(tile), height, index % perTile)
  }

/** The tiles that `work` reads nodes from: it is run once with hashes of zeros. */
export const tilesRead = (work: (node: NodeReader) => unknown): readonly TileId[] => {
  const seen = new Map<string, TileId>()
  const blank = Buffer.alloc(tileWidth * hashSize)
  work(
    nodesOf(tile => {
      seen.set(tileKey(tile), tile)
      return blank
    }),
  )
  return [...seen.values()]
}

/** Runs `work` on a tree whose tiles come from elsewhere: a database, a server. */
export const withTiles = async <T>(
  work: (node: NodeReader) => T,
  fetch: (tile: TileId) => Promise<Uint8Array>,
): Promise<T> => {
  const held = new Map<string, Uint8Array>()
  for (const tile of tilesRead(work)) held.set(tileKey(tile), await fetch(tile))
  return work(nodesOf(tile => held.get(tileKey(tile)) ?? Buffer.alloc(0)))
}

/** The root hash over the first `size` leaves of a tree in tiles. */
export const rootOfTiles = (size: number, read: TileReader): Uint8Array =>
  rootHash(size, nodesOf(read))

/**
 * The tiles that change when `leaves` (hashes) are added to a tree of `size` leaves, each as it is
 * afterwards. `read` gives the tiles of `edgeTiles(size)`; no other is asked for. A leaf costs one
 * hash on average and never more than 255 for each level.
 */
export const growTiles = (
  size: number,
  leaves: readonly Uint8Array[],
  read: TileReader,
): readonly Tile[] => {
  const changed: Tile[] = []
  let added = leaves
  for (let level = 0; added.length > 0; level += 1) {
    const start = Math.floor(size / tileWidth ** level)
    let index = Math.floor(start / tileWidth)
    let width = start % tileWidth
    const above: Uint8Array[] = []
    for (let from = 0; from < added.length; index += 1, width = 0) {
      const more = added.slice(from, from + tileWidth - width)
      const held = width === 0 ? [] : [read({ level, index })]
      if (held.some(hashes => hashes.length !== width * hashSize)) throw tooShort()
      const hashes = Buffer.concat([...held, ...more])
      changed.push({ level, index, hashes })
      if (width + more.length === tileWidth) above.push(tileRoot(hashes))
      from += more.length
    }
    added = above
  }
  return changed
}
