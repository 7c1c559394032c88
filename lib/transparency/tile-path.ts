/** Addresses of tiles and of entry bundles, and what a bundle is (C2SP tlog-tiles). */
import { AttestryError } from '../errors.ts'
import { tileWidth } from './tiles.ts'

export type TilePath = {
  /** `entries` for the bundle of the entries whose hashes are in the tile of level 0. */
  readonly level: number | 'entries'
  readonly index: number
  /** Hashes or entries; 256 when it is full. */
  readonly width: number
}

/** 1234067 → `x001/x234/067` */
const indexPath = (index: number): string => {
  const digits = String(index)
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.{3}/g) ?? []
  return groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join('/')
}

/** `tile/0/x001/234.p/8`, without a slash in front. */
export const tilePath = ({ level, index, width }: TilePath): string =>
  `tile/${level}/${indexPath(index)}${width === tileWidth ? '' : `.p/${width}`}`

const form = /^tile\/(0|[1-9][0-9]?|entries)\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/

/** Undefined for what is no such address in its one spelling. */
export const parseTilePath = (path: string): TilePath | undefined => {
  const [, level, groups, partial] = form.exec(path) ?? []
  if (level === undefined || groups === undefined) return undefined
  const tile: TilePath = {
    level: level === 'entries' ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, '')),
    width: partial === undefined ? tileWidth : Number(partial),
  }
  if (tile.level !== 'entries' && tile.level > 63) return undefined
  return tilePath(tile) === path ? tile : undefined
}

/** Bytes of the longest entry that a bundle can hold. */
export const bundledEntryMax = 0xffff

/** Each entry after its length, two bytes. Throws ELOG for one that is too long. */
export const entryBundle = (entries: readonly (Uint8Array | string)[]): Buffer =>
  Buffer.concat(
    entries.flatMap(entry => {
      const bytes = Buffer.from(entry)
      if (bytes.length > bundledEntryMax)
        throw new AttestryError(
          'ELOG',
          `An entry of ${bytes.length} bytes is too long for a bundle.`,
        )
      const length = Buffer.alloc(2)
      length.writeUInt16BE(bytes.length)
      return [length, bytes]
    }),
  )

/** Throws ELOG when the bundle ends within an entry. */
export const readEntryBundle = (bundle: Uint8Array): readonly Buffer[] => {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength)
  const entries: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const start = at + 2
    const end = start > bytes.length ? Infinity : start + bytes.readUInt16BE(at)
    if (end > bytes.length)
      throw new AttestryError('ELOG', 'A bundle of log entries ends within an entry.')
    entries.push(bytes.subarray(start, end))
    at = end
  }
  return entries
}
