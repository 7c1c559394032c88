import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { isAttestryError } from '../../errors.ts'
import type { Integrity } from '../../types.ts'
import { hexOf, integrityOf } from '../blob-name.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen, refusal } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import type { BlobInfo, Blobs, BlobUse, StagedBlob } from '../store.ts'
import type { BlobRows } from './blob-rows.ts'
import { openOwedBlobs } from './owed-blobs.ts'
import { isS3Refusal, type S3 } from './s3.ts'

/** What one PUT takes, by S3's rules. */
const objectMax = 5 * 1024 ** 3

export type SharedBlobsTools = {
  readonly s3: S3
  readonly rows: BlobRows
  /** Of this machine: where bytes are staged, and what is read from. */
  readonly local: Blobs
  readonly lifetime: Lifetime
  readonly log: StoreLog
}

export type SharedBlobs = Blobs & {
  /** As `delete`; with `used`, only if nobody has used the blob since. */
  remove(integrity: Integrity, used?: number): Promise<boolean>
  /** Blobs that the bucket does not have yet. */
  readonly owed: () => number
  stop(): Promise<void>
}

/** It is away, or takes nothing; what went wrong here is another matter. */
const isS3Away = (error: unknown): boolean =>
  isS3Refusal(error) || (isAttestryError(error) && error.code === 'ESTOREDOWN')

export const objectKey = (integrity: Integrity): string => {
  const hex = hexOf(integrity)
  return `blobs/sha512/${hex.slice(0, 2)}/${hex.slice(2)}`
}

/** Reads the body to its end and gives its digest; a body longer than it should be is cut off. */
const digestOf = async (
  body: Readable,
  size: number,
  take: (chunk: Buffer) => Promise<void> = async () => undefined,
): Promise<{ readonly hex: string; readonly size: number }> => {
  const hash = createHash('sha512')
  let read = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    read += chunk.length
    if (read > size) {
      body.destroy()
      break
    }
    hash.update(chunk)
    await take(chunk)
  }
  return { hex: hash.digest('hex'), size: read }
}

/**
 * Blobs as objects, written once (`If-None-Match: *`) and read through the blobs of this machine: an
 * object is fetched whole, once for all who ask, and nothing of it is given out before its hash was
 * compared. A blob exists when its row does, and the row is written behind the object. While the
 * bucket takes nothing, what is admitted is kept on this machine alone.
 */
export const openSharedBlobs = (tools: SharedBlobsTools): SharedBlobs => {
  const { s3, rows, local, lifetime, log } = tools
  const fetching = new Map<Integrity, Promise<boolean>>()

  const remove = async (integrity: Integrity, used?: number): Promise<boolean> => {
    const mine = await rows.beginDeletion(integrity, used)
    if (mine) {
      await s3.delete(objectKey(integrity))
      await rows.endDeletion(integrity)
    }
    await local.delete(integrity)
    return mine
  }

  /** Brings the object here; false when there is none, or none that is what its name says. */
  const fetchOnce = async (integrity: Integrity, use?: BlobUse): Promise<boolean> => {
    const size = await rows.size(integrity)
    if (size === undefined) return false
    for (let tries = 0; tries < 2; tries += 1) {
      const fetched = await s3.get(objectKey(integrity), size, async body => {
        const staged = await local.stage(use)
        try {
          await digestOf(body, size, chunk => staged.write(chunk))
          const found = await staged.finish()
          if (found.integrity !== integrity) return false
          await staged.commit()
          return true
        } finally {
          await staged.abort()
        }
      })
      if (fetched) return true
      if (fetched === undefined) break
    }
    // twice other bytes, or none: it counts as missing from now on, for everybody
    log({
      event: 'blob-damaged',
      integrity,
      detail: 'the object is missing or has other bytes',
    })
    await remove(integrity)
    return false
  }

  const bringHere = async (integrity: Integrity, use?: BlobUse): Promise<boolean> => {
    const running = fetching.get(integrity)
    if (running) return running
    const flight = fetchOnce(integrity, use).finally(() => fetching.delete(integrity))
    fetching.set(integrity, flight)
    return flight
  }

  /** False when the bucket does not take it now. */
  const publish = async (info: BlobInfo, read: () => Readable): Promise<boolean> => {
    if (info.size > objectMax) {
      const message = `A blob of ${info.size} bytes is larger than one object can be written (${objectMax}).`
      throw refusal(message, { found: info.size, wanted: objectMax })
    }
    const key = objectKey(info.integrity)
    const ask = <T>(call: Promise<T>): Promise<T | 'away'> =>
      call.catch((error: unknown) => {
        if (!isS3Away(error)) throw error
        owed.add(info, error)
        return 'away'
      })
    for (let wait = 20; ; wait = Math.min(wait * 2, 1000)) {
      const written = await ask(s3.put(key, info.size, read))
      if (written === 'away') return false
      // behind a deletion that is under way the object would go, too
      if (await rows.put(info)) {
        const size = written ? info.size : await ask(s3.head(key))
        if (size === info.size) return true
        if (size === 'away') return false
        // the row was there and the object was not, or was another
        await remove(info.integrity)
      }
      assertOpen(lifetime)
      await pause(wait * (0.5 + Math.random() / 2))
    }
  }

  const owed = openOwedBlobs({ local, publish, log })

  const stage = async (use?: BlobUse): Promise<StagedBlob> => {
    const staged = await local.stage(use)
    let committing: Promise<BlobInfo> | undefined
    let committed = false
    const commit = async (): Promise<BlobInfo> => {
      // what is not finished, or was aborted, is refused by `read`
      staged.read().destroy()
      const info = await staged.finish()
      await publish(info, () => staged.read())
      const kept = await staged.commit()
      committed = true
      return kept
    }
    return {
      write: chunk => staged.write(chunk),
      finish: () => staged.finish(),
      read: () => staged.read(),
      commit: () =>
        (committing ??= commit().catch((error: unknown) => {
          committing = undefined
          throw error
        })),
      abort: async () => {
        await committing?.catch(() => undefined)
        if (!committed) await staged.abort()
      },
    }
  }

  return {
    stage: async use => {
      assertOpen(lifetime)
      return stage(use)
    },
    stat: async integrity => {
      assertOpen(lifetime)
      const here = await local.stat(integrity)
      if (here) return here
      const size = await rows.size(integrity)
      return size === undefined ? undefined : { integrity, size }
    },
    get: async (integrity, use) => {
      assertOpen(lifetime)
      const read = () => local.get(integrity, use)
      const found =
        (await read()) ?? ((await bringHere(integrity, use)) ? await read() : undefined)
      if (found) rows.touch(integrity)
      return found
    },
    find: async integrity => {
      assertOpen(lifetime)
      const here = await local.find(integrity)
      const found =
        here ?? ((await bringHere(integrity)) ? await local.find(integrity) : undefined)
      if (found) rows.touch(integrity)
      return found
    },
    peek: integrity => {
      const found = local.peek?.(integrity)
      if (found) rows.touch(integrity)
      return found
    },
    open: async (integrity, range) => {
      assertOpen(lifetime)
      const here = await local.open(integrity, range)
      const found =
        here ?? ((await bringHere(integrity)) ? await local.open(integrity, range) : undefined)
      if (found) rows.touch(integrity)
      return found
    },
    delete: async integrity => {
      assertOpen(lifetime)
      return remove(integrity)
    },
    async *list() {
      assertOpen(lifetime)
      yield* rows.all()
    },
    verify: async integrity => {
      assertOpen(lifetime)
      const size = await rows.size(integrity)
      if (size === undefined) return false
      const intact = await s3.get(objectKey(integrity), size, async body => {
        const found = await digestOf(body, size)
        return found.size === size && integrityOf(found.hex) === integrity
      })
      if (intact) return true
      log({
        event: 'blob-damaged',
        integrity,
        detail: 'the object is missing or has other bytes',
      })
      await remove(integrity)
      return false
    },
    size: async () => {
      assertOpen(lifetime)
      return rows.total()
    },
    remove,
    owed: owed.waiting,
    stop: () => owed.stop(),
  }
}
