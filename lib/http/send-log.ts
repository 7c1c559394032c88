/** The audit log for those who watch it: checkpoint, tiles and entries as C2SP's tlog-tiles has them. */
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import { hashSize } from '../transparency/merkle.ts'
import { entryBundle, type TilePath } from '../transparency/tile-path.ts'
import { tileWidth } from '../transparency/tiles.ts'

/** What is read of the log; a store's audit log fits. */
export type LogSource = {
  tree(): Promise<{ readonly checkpoints: readonly string[] }>
  tile(level: number, index: number): Promise<Uint8Array>
  texts(range: {
    readonly after: number
    readonly limit: number
  }): AsyncIterable<{ readonly seq: number; readonly text: string }>
}

/** What is at such an address never changes, and what is in it is not for everybody. */
const immutable = 'private, max-age=31536000, immutable'

const missing = (what: string) =>
  new AttestryError('ENOTFOUND', `The audit log has no ${what}.`)

export const sendCheckpoint = async (ctx: Context, log: LogSource): Promise<void> => {
  const { checkpoints } = await log.tree()
  const note = checkpoints.at(-1)
  if (note === undefined) throw missing('checkpoint yet')
  ctx.set('cache-control', 'no-store')
  ctx.body = note
  ctx.set('content-type', 'text/plain; charset=utf-8')
}

const bytesOf = async (
  log: LogSource,
  { level, index, width }: TilePath,
): Promise<Uint8Array> => {
  if (level !== 'entries') {
    const hashes = (await log.tile(level, index)).subarray(0, width * hashSize)
    if (hashes.length !== width * hashSize) throw missing('such tile')
    return hashes
  }
  const after = index * tileWidth
  const texts: string[] = []
  for await (const { seq, text } of log.texts({ after, limit: width })) {
    if (seq !== after + texts.length + 1) break
    texts.push(text)
  }
  if (texts.length !== width) throw missing('such entries; they may have been pruned')
  return entryBundle(texts)
}

export const sendTile = async (ctx: Context, log: LogSource, tile: TilePath): Promise<void> => {
  const bytes = await bytesOf(log, tile)
  ctx.set('cache-control', immutable)
  ctx.body = Buffer.from(bytes)
  ctx.set('content-type', 'application/octet-stream')
}
