import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { BlobFiles } from './blob-files.ts'
import { fingerprint, step } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import { integrityOf } from './blob-name.ts'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, unlinkIfThere, writeFully } from './file-system.ts'
import { refusal, storeError } from './store-error.ts'
import type { BlobInfo, StagedBlob } from './store.ts'

/**
 * Bytes up to which a file is written and renamed without another thread: less than 0.1 ms, where six
 * turns in other threads take ten times as much of this one. The database beside it does the same,
 * and nothing here waits for the disk.
 */
const atOnceMax = 128 * 1024

type State = 'open' | 'finished' | 'committed' | 'aborted'

/** Memory for bytes that are kept while they are staged, to be served at once after the commit. */
export type KeepBudget = { left: number }

/** What is known of a committed blob without reading it again. */
type Found = { readonly bytes: Buffer | undefined; readonly mark: string | undefined }

export type StagingTools = {
  readonly fs: FileSystem
  readonly files: BlobFiles
  readonly index: BlobIndex
  readonly budget: KeepBudget
  /** Bytes up to which a blob is kept. */
  readonly keepMax: number
  /** `bytes` when they were kept; `mark` is the fingerprint of the file that was hashed. */
  readonly committed: (info: BlobInfo, hex: string, found: Found) => void
  readonly ended: (staged: StagedBlob) => void
}

/**
 * A blob on its way in. It is hashed as it is written. One that is kept in memory meets the disk
 * when it is committed: written under the name `path`, then renamed, so that no name ever belongs to
 * a file that is still being written. It is not synced: after a loss of power it may be missing or
 * torn, which its hash tells whoever reads it first, and then it is missing. One that memory does not
 * hold goes to `path` as it comes and is synced before it gets its name. The name itself is not
 * synced: missing means fetched again.
 */
export const stageBlob = (path: string, tools: StagingTools): StagedBlob => {
  const { fs, files, index, budget } = tools
  const hash = createHash('sha512')
  let handle: FileHandle | undefined
  let state: State = 'open'
  let size = 0
  let hex = ''
  let kept: Buffer[] | undefined = []
  /** The kept bytes are in the file. */
  let written = false
  let tail: Promise<void> = Promise.resolve()
  let finishing: Promise<BlobInfo> | undefined
  let committing: Promise<BlobInfo> | undefined
  let aborting: Promise<void> | undefined

  const expectState = (wanted: State, doing: string): void => {
    if (state !== wanted) throw refusal(`Cannot ${doing} a blob that is ${state}.`)
  }

  const release = (): void => {
    if (kept !== undefined) budget.left += kept.reduce((sum, part) => sum + part.length, 0)
    kept = undefined
  }

  /** False when it is too much to be kept. */
  const keep = (chunk: Uint8Array): boolean => {
    if (kept === undefined) return false
    if (size + chunk.byteLength > tools.keepMax || chunk.byteLength > budget.left) return false
    budget.left -= chunk.byteLength
    // The caller may use its chunk again.
    kept.push(Buffer.from(chunk))
    return true
  }

  /** The file for what memory does not hold, with all that came so far. */
  const openFile = async (): Promise<FileHandle> => {
    if (handle !== undefined) return handle
    handle = await fs.open(path, 'wx')
    for (const part of kept ?? []) await writeFully(handle, part)
    release()
    return handle
  }

  const put = async (chunk: Uint8Array): Promise<void> => {
    expectState('open', 'write to')
    const memory = keep(chunk)
    try {
      const file = memory ? undefined : await openFile()
      for (let from = 0; from < chunk.byteLength; from += step) {
        const part = chunk.subarray(from, from + step)
        hash.update(part)
        if (file) await writeFully(file, part)
      }
    } catch (error) {
      throw storeError('write a blob', path, error)
    }
    size += chunk.byteLength
  }

  const finish = async (): Promise<BlobInfo> => {
    await tail
    expectState('open', 'finish')
    try {
      await handle?.datasync()
    } catch (error) {
      throw storeError('write a blob', path, error)
    }
    // It may have been aborted meanwhile.
    expectState('open', 'finish')
    hex = hash.digest('hex')
    state = 'finished'
    return { integrity: integrityOf(hex), size }
  }

  /** What is kept, in one piece. */
  const whole = (): Buffer | undefined => {
    if (kept !== undefined && kept.length !== 1) kept = [Buffer.concat(kept)]
    return kept?.[0]
  }

  const writeKept = async (bytes: Buffer): Promise<void> => {
    try {
      if (bytes.length <= atOnceMax) fs.writeFileSync(path, bytes, { flag: 'wx' })
      else {
        const file = await fs.open(path, 'wx')
        try {
          await writeFully(file, bytes)
        } finally {
          await file.close()
        }
      }
      written = true
    } catch (error) {
      // another try begins afresh
      await unlinkIfThere(fs, path).catch(() => undefined)
      throw error
    }
  }

  async function* contents(): AsyncGenerator<Uint8Array> {
    if (kept !== undefined) {
      yield* kept
      return
    }
    const source =
      (await unlessMissing(fs.open(path, 'r'))) ?? (await fs.open(files.pathOf(hex), 'r'))
    yield* source.createReadStream()
  }

  const placeFile = async (): Promise<BlobInfo> => {
    expectState('finished', 'commit')
    const bytes = whole()
    try {
      if (bytes && !written) await writeKept(bytes)
      await index.put(hex, size)
      await files.place(path, hex, size <= atOnceMax).catch(async (error: unknown) => {
        // Without a file the row would count bytes that are not there.
        if ((await files.sizeOf(hex)) === undefined) await index.forget(hex)
        throw error
      })
    } catch (error) {
      throw storeError('keep a blob', files.pathOf(hex), error)
    }
    state = 'committed'
    // what is kept is read whole and hashed each time that it comes from the disk
    const mark =
      handle &&
      (await fingerprint(handle).then(
        found => found.mark,
        () => undefined,
      ))
    await handle?.close().catch(() => undefined)
    const info = { integrity: integrityOf(hex), size }
    release()
    tools.committed(info, hex, { bytes, mark })
    tools.ended(staged)
    return info
  }

  const drop = async (): Promise<void> => {
    await committing?.catch(() => undefined)
    if (state === 'committed') return
    // Writes and the sync under way end before the file is closed beneath them.
    state = 'aborted'
    await Promise.allSettled([tail, finishing])
    release()
    tools.ended(staged)
    if (handle === undefined && !written) return
    await handle?.close()
    await unlinkIfThere(fs, path).catch((error: unknown) => {
      throw storeError('remove a staged blob', path, error)
    })
  }

  const staged: StagedBlob = {
    write: chunk => (tail = tail.then(() => put(chunk))),
    finish: () => (finishing ??= finish()),
    read: () => {
      expectState('finished', 'read')
      return Readable.from(contents(), { objectMode: false })
    },
    held: () => {
      expectState('finished', 'read')
      return whole()
    },
    commit: () =>
      (committing ??= placeFile().catch((error: unknown) => {
        // Another try may find room on the disk.
        committing = undefined
        throw error
      })),
    abort: () => (aborting ??= drop()),
  }
  return staged
}
