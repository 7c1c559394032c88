/**
 * Pruned entries in a tar file: a part of the log as tlog-tiles lays it out, with the checkpoint
 * that it can be proven by, on its own and with any tool that knows such logs.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { AttestryError, messageOf } from '../../errors.ts'
import type { PrunedEntries } from '../../sealing/verify-log.ts'
import type { AuditLog } from '../../store/store.ts'
import { parseCheckpoint } from '../../transparency/checkpoint.ts'
import { hashSize, leafHash, rootHash } from '../../transparency/merkle.ts'
import {
  bundledEntryMax,
  entryBundle,
  parseTilePath,
  readEntryBundle,
  tilePath,
} from '../../transparency/tile-path.ts'
import { tilesRead, tileWidth, widthOf } from '../../transparency/tiles.ts'
import { readSpan, scanTar, type Span } from '../store/scan-tar.ts'
import { openArchiveWriter, type ArchiveWriter } from '../store/write-archive.ts'

const bundleMax = tileWidth * (bundledEntryMax + 2)

/** The bundles in such a file, lowest first. Throws EARCHIVE for a file that is none. */
export const prunedEntries = (file: string): PrunedEntries => {
  const bad = (why: string, cause?: unknown) =>
    new AttestryError('EARCHIVE', `${file}: ${why}`, { cause })
  async function* bundles() {
    const handle = await open(file).catch((error: unknown) => {
      throw bad(messageOf(error), error)
    })
    try {
      const spans = new Map<number, Span>()
      const onFile = (path: string, span: Span) => {
        const tile = parseTilePath(path)
        if (tile?.level !== 'entries' || tile.width !== tileWidth) return
        if (span.size > bundleMax) throw bad(`${path} has ${span.size} bytes`)
        spans.set(tile.index, span)
      }
      await scanTar(handle, { bad, onFile, onOther: () => {} })
      if (spans.size === 0) throw bad('it holds no entries of an audit log')
      for (const [index, span] of [...spans].toSorted(([a], [b]) => a - b))
        yield { index, entries: readEntryBundle(await readSpan(handle, span, bad)) }
    } finally {
      await handle.close()
    }
  }
  return { source: file, bundles }
}

const addEntries = async (
  writer: ArchiveWriter,
  audit: AuditLog,
  { first, last, onProgress }: Range,
): Promise<void> => {
  let texts: string[] = []
  let next = first
  for await (const { seq, text } of audit.texts({
    after: first - 1,
    limit: last - first + 1,
  })) {
    if (seq !== next) break
    next += 1
    texts.push(text)
    if (texts.length < tileWidth) continue
    const index = seq / tileWidth - 1
    if (!Buffer.concat(texts.map(leafHash)).equals(await audit.tile(0, index)))
      throw new AttestryError(
        'ELOG',
        `Entries ${seq - tileWidth + 1} to ${seq} are not what was recorded; nothing is pruned.`,
      )
    await writer.add(
      tilePath({ level: 'entries', index, width: tileWidth }),
      entryBundle(texts),
    )
    texts = []
    onProgress?.(next - first)
  }
  if (next !== last + 1)
    throw new AttestryError('ELOG', `Entry ${next} is missing; nothing is pruned.`)
}

type Range = {
  /** The first entry of a tile. */
  readonly first: number
  /** The last entry of a tile. */
  readonly last: number
  readonly onProgress?: (done: number) => void
}

/** Entries, their hashes, and those hashes by which the checkpoint is proven. */
export const writePruned = async (
  file: string,
  audit: AuditLog,
  checkpoint: string,
  range: Range,
): Promise<{ readonly bytes: number; readonly sha256: string }> => {
  const { size } = parseCheckpoint(checkpoint)
  const writer = await openArchiveWriter(file)
  try {
    await writer.add('checkpoint', Buffer.from(checkpoint))
    const wanted = new Map(
      tilesRead(node => rootHash(size, node)).map(tile => [
        `${tile.level}/${tile.index}`,
        tile,
      ]),
    )
    for (
      let level = 0, width = tileWidth;
      range.first <= size;
      level += 1, width *= tileWidth
    ) {
      const [from, to] = [range.first - 1, range.last - 1].map(leaf => Math.floor(leaf / width))
      for (let index = from ?? 0; index <= (to ?? -1); index += 1)
        wanted.set(`${level}/${index}`, { level, index })
      if (width > size) break
    }
    for (const tile of wanted.values()) {
      const width = widthOf(size, tile)
      if (width === 0) continue
      const hashes = await audit.tile(tile.level, tile.index)
      await writer.add(tilePath({ ...tile, width }), hashes.subarray(0, width * hashSize))
    }
    await addEntries(writer, audit, range)
    const { bytes } = await writer.finish()
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
    return { bytes, sha256: hash.digest('hex') }
  } finally {
    await writer.abort()
  }
}
