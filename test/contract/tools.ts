import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { isAttestryError } from '../../lib/errors.ts'
import type { AuditLog, BlobFile, Blobs, StagedBlob, Store } from '../../lib/store/store.ts'
import { leafHash, rootHash } from '../../lib/transparency/merkle.ts'
import { growTiles, withTiles } from '../../lib/transparency/tiles.ts'
import type { AuditEntry, Integrity } from '../../lib/types.ts'

export const MiB = 1024 * 1024

export type OpenStore = (options?: {
  /** Stores opened in one space share their data; without a name, the space is new and empty. */
  readonly space?: string
  /** Limit of all blobs together, in bytes. */
  readonly maxBytes?: number
}) => Promise<Store>

export const integrityOf = (bytes: Uint8Array): Integrity =>
  `sha512-${createHash('sha512').update(bytes).digest('base64')}`

export const stageBytes = async (
  blobs: Blobs,
  bytes: Uint8Array,
  chunk = 64 * 1024,
): Promise<StagedBlob> => {
  const staged = await blobs.stage()
  for (let from = 0; from < bytes.length; from += chunk) {
    await staged.write(bytes.subarray(from, from + chunk))
  }
  return staged
}

/** Stages, finishes and commits. */
export const keepBytes = async (blobs: Blobs, bytes: Uint8Array): Promise<Integrity> => {
  const staged = await stageBytes(blobs, bytes)
  await staged.finish()
  return (await staged.commit()).integrity
}

export const readAll = async (
  blobs: Blobs,
  integrity: Integrity,
  range?: { readonly start: number; readonly end: number },
): Promise<Buffer | undefined> => {
  const opened = await blobs.open(integrity, range)
  return opened && (await buffer(opened.stream))
}

/** The whole blob as `find` gives it, by pieces where it is a file. */
export const readFound = async (
  blobs: Blobs,
  integrity: Integrity,
  piece = 100_000,
): Promise<Buffer | undefined> => {
  const found = await blobs.find(integrity)
  return found === undefined || Buffer.isBuffer(found) ? found : await readFile(found, piece)
}

export const readFile = async (file: BlobFile, piece = 100_000): Promise<Buffer> => {
  const into = Buffer.alloc(piece)
  const parts: Buffer[] = []
  try {
    for (let position = 0; ;) {
      const count = await file.read(into, position)
      if (count === 0) return Buffer.concat(parts)
      parts.push(Buffer.from(into.subarray(0, count)))
      position += count
    }
  } finally {
    await file.close()
  }
}

export const listAll = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

export const auditEntry = (name: string, rule = 'baseline#defaults'): AuditEntry => ({
  at: '2026-01-02T03:04:05.678Z',
  client: { address: '127.0.0.1', agent: 'npm/11.0.0' },
  package: { name, version: '1.0.0' },
  decision: 'refuse',
  rule,
  reasons: [{ code: 'DENIED', message: 'No.', wanted: 'a', found: 'b' }],
  policyDigest: 'd'.repeat(64),
  fresh: true,
})

/** The root of the first `size` entries, out of the tiles that are kept. */
export const rootNow = (audit: AuditLog, size: number) =>
  withTiles(
    node => rootHash(size, node),
    ({ level, index }) => audit.tile(level, index),
  )

/** The root over the texts that are there, computed anew. */
export const rootOfTexts = async (audit: AuditLog) => {
  const leaves = (await listAll(audit.texts())).map(({ text }) => leafHash(text))
  const tiles = new Map(
    growTiles(0, leaves, () => Buffer.alloc(0)).map(tile => [
      `${tile.level}/${tile.index}`,
      tile.hashes,
    ]),
  )
  return withTiles(
    node => rootHash(leaves.length, node),
    async ({ level, index }) => tiles.get(`${level}/${index}`) ?? Buffer.alloc(0),
  )
}

/** The code of what `work` throws; `undefined` when it throws nothing. */
export const codeOf = async (work: () => unknown): Promise<string | undefined> => {
  try {
    await work()
    return undefined
  } catch (error) {
    return isAttestryError(error) ? error.code : `not ours: ${String(error)}`
  }
}

/** Opens a store that is closed when the test ends. */
export const use = async (
  t: Test,
  open: OpenStore,
  options?: Parameters<OpenStore>[0],
): Promise<Store> => {
  const store = await open(options)
  t.teardown(() => store.close())
  return store
}

/** Reads a stream to its end, for those who want only what came with it. */
export const drained = async <T extends Awaited<ReturnType<Blobs['open']>>>(
  opened: T,
): Promise<T> => {
  opened?.stream.resume()
  return opened
}

/** Waits, at most half a minute, for something that happens elsewhere. */
export const eventually = async (what: () => boolean | Promise<boolean>): Promise<boolean> => {
  for (let tries = 0; tries < 1500; tries += 1) {
    if (await what()) return true
    await pause(20)
  }
  return false
}
