import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { BlobFiles } from './blob-files.ts'
import { fingerprint, step } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import { integrityOf } from './blob-name.ts'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, unlinkIfThere, writeFully } from './file-system.ts'
import { refusal, storeError } from './store-error.ts'
import type { BlobInfo, StagedBlob } from './store.ts'

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
 * A blob on its way in, in the file `path`. It is hashed as it is written and synced to the disk
 * before it gets its name, so that no name ever belongs to half a file, whatever happens. The name
 * itself is not synced: after a loss of power the newest blobs may be missing, and missing means
 * fetched again.
 */
export const stageBlob = async (path: string, tools: StagingTools): Promise<StagedBlob> => {
  const { fs, files, index, budget } = tools
  const handle = await fs.open(path, 'wx').catch((error: unknown) => {
    throw storeError('write a blob', path, error)
  })
  const hash = createHash('sha512')
  let state: State = 'open'
  let size = 0
  let hex = ''
  let kept: Buffer[] | undefined = []
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

  const keep = (chunk: Uint8Array): void => {
    if (kept === undefined) return
    if (size + chunk.byteLength > tools.keepMax || chunk.byteLength > budget.left) {
      release()
      return
    }
    budget.left -= chunk.byteLength
    // The caller may use its chunk again.
    kept.push(Buffer.from(chunk))
  }

  const put = async (chunk: Uint8Array): Promise<void> => {
    expectState('open', 'write to')
    keep(chunk)
    try {
      for (let from = 0; from < chunk.byteLength; from += step) {
        const part = chunk.subarray(from, from + step)
        hash.update(part)
        await writeFully(handle, part)
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
      await handle.datasync()
    } catch (error) {
      throw storeError('write a blob', path, error)
    }
    // It may have been aborted meanwhile.
    expectState('open', 'finish')
    hex = hash.digest('hex')
    state = 'finished'
    return { integrity: integrityOf(hex), size }
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
    try {
      await index.put(hex, size)
      await files.place(path, hex).catch(async (error: unknown) => {
        // Without a file the row would count bytes that are not there.
        if ((await files.sizeOf(hex)) === undefined) await index.forget(hex)
        throw error
      })
    } catch (error) {
      throw storeError('keep a blob', files.pathOf(hex), error)
    }
    state = 'committed'
    const mark = await fingerprint(handle).then(
      found => found.mark,
      () => undefined,
    )
    await handle.close().catch(() => undefined)
    const info = { integrity: integrityOf(hex), size }
    const bytes = kept && Buffer.concat(kept)
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
    await handle.close()
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
