import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import type { BlobFiles } from './blob-files.ts'
import type { BlobIndex } from './blob-index.ts'
import type { FileSystem } from './file-system.ts'
import { unlessMissing } from './file-system.ts'

/** A row this young without a file may be a commit under way. */
const youngFor = 60_000

const restOfDigest = /^[0-9a-f]{126}$/

export type RepairTools = {
  readonly fs: FileSystem
  readonly root: string
  readonly files: BlobFiles
  readonly index: BlobIndex
  readonly now: () => Date
  /** Asked between directories: end early. */
  readonly stopping: () => boolean
}

export type Repair = {
  /** Files that had no row. */
  readonly adopted: number
  /** Rows that had no file. */
  readonly forgotten: number
  /** Rows without a file too young to be judged; look again in a minute. */
  readonly postponed: number
}

/**
 * Makes the index agree with the directory, one of its 256 parts at a time: a crash leaves files
 * without a row and rows without a file, and then the sum of all sizes is wrong. Only names are
 * compared (400,000 blobs: about a second of small pieces); sizes and bytes are checked when a blob
 * is read.
 */
export const repairIndex = async (tools: RepairTools): Promise<Repair> => {
  const { fs, root, files, index } = tools
  let adopted = 0
  let forgotten = 0
  let postponed = 0

  const settleRow = async (hex: string, used: number): Promise<void> => {
    // It may have come after the directory was listed.
    if ((await files.sizeOf(hex)) !== undefined) return
    if (Math.abs(tools.now().getTime() - used) < youngFor) postponed += 1
    else if (await index.forget(hex, used)) forgotten += 1
  }

  const settleFile = async (hex: string): Promise<void> => {
    if (files.isBeingRemoved(hex)) return
    const size = await files.sizeOf(hex)
    if (size !== undefined && (await index.adopt(hex, size))) adopted += 1
  }

  for (let shard = 0; shard < 256 && !tools.stopping(); shard += 1) {
    const start = shard.toString(16).padStart(2, '0')
    const names = (await unlessMissing(fs.readdir(join(root, start)))) ?? []
    const unknown = new Set(names.filter(name => restOfDigest.test(name)))
    for await (const { hex, used } of index.inShard(shard)) {
      if (!unknown.delete(hex.slice(2))) await settleRow(hex, used)
    }
    for (const name of unknown) await settleFile(start + name)
    await breathe()
  }
  return { adopted, forgotten, postponed }
}
