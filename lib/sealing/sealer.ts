/**
 * Signs checkpoints of the audit log while the server runs. Nothing is signed that contradicts what
 * was signed before: not by the database, not by the file beside it, not by this process.
 */
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import type { AuditLog, SealedTree } from '../store/store.ts'
import { openCheckpoint, signCheckpoint, type Checkpoint } from '../transparency/checkpoint.ts'
import { rootHash } from '../transparency/merkle.ts'
import type { NoteSigner, NoteVerifier } from '../transparency/note.ts'
import { withTiles } from '../transparency/tiles.ts'
import type { KeptCheckpoint } from './kept-checkpoint.ts'

export type SealerEvent =
  | {
      readonly event: 'checkpoint'
      readonly size: number
      /** The signed note: worth keeping elsewhere. */
      readonly checkpoint: string
      readonly key: string
    }
  /** The log is not what was signed before. Told once for each finding. */
  | { readonly event: 'contradiction'; readonly detail: string }
  | { readonly event: 'failed'; readonly detail: string }

export type SealerState = {
  readonly size: number
  /** Entries under the newest checkpoint. */
  readonly signed: number
  /** Why no checkpoint is signed any more; absent while all is well. */
  readonly fault?: string
}

export type SealerOptions = {
  readonly audit: Pick<AuditLog, 'seal' | 'tile' | 'tree'>
  readonly signer: NoteSigner
  /** Keys that signed before this one. */
  readonly former?: readonly NoteVerifier[]
  readonly kept?: KeptCheckpoint
  /** Milliseconds between two looks. */
  readonly interval: number
  readonly onEvent?: (event: SealerEvent, state: SealerState) => void
}

export type Sealer = {
  /** Signs now what is not signed yet, and gives the newest checkpoint; undefined with a fault. */
  seal(): Promise<string | undefined>
  state(): SealerState
  /** Seals a last time. */
  close(): Promise<void>
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

const contradicts = (what: string) => new AttestryError('ELOG', what)

export const openSealer = (options: SealerOptions): Sealer => {
  const { audit, signer, former = [], kept, interval, onEvent } = options
  const known = [signer, ...former]
  let mine: Checkpoint | undefined
  let state: SealerState = { size: 0, signed: 0 }
  let written: string | undefined

  const opened = (note: string, whose: string): Checkpoint => {
    const checkpoint = openCheckpoint(note, known)
    if (checkpoint.origin !== signer.name)
      throw contradicts(`${whose} is of the log ${checkpoint.origin}, not of ${signer.name}.`)
    return checkpoint
  }

  /** Is what was signed the beginning of the log of now? */
  const holdTo = async ({ size, root }: Checkpoint, whose: string): Promise<void> => {
    const { size: now } = await audit.tree()
    if (now < size)
      throw contradicts(`The log has ${now} entries, and ${whose} was signed for ${size}.`)
    const found = await withTiles(
      node => rootHash(size, node),
      ({ level, index }) => audit.tile(level, index),
    )
    if (!same(found, root))
      throw contradicts(`The first ${size} entries are not those that ${whose} was signed for.`)
  }

  const sign = (tree: SealedTree): string | undefined => {
    state = { ...state, size: tree.size }
    if (tree.size === 0 && tree.last === undefined) return undefined
    if (tree.last !== undefined) {
      const last = opened(tree.last, 'the newest checkpoint kept')
      if (tree.lastRoot === undefined || !same(tree.lastRoot, last.root))
        throw contradicts(`The first ${last.size} entries are not those that were signed.`)
      if (last.size === tree.size) return undefined
    }
    return signCheckpoint(tree, [signer])
  }

  const sealNow = async (): Promise<string | undefined> => {
    const before = await kept?.read()
    if (before !== undefined && before !== written)
      await holdTo(
        opened(before, `the checkpoint in ${kept?.path}`),
        `the checkpoint in ${kept?.path}`,
      )
    if (mine !== undefined) await holdTo(mine, 'the last checkpoint of this process')
    const fresh = await audit.seal(sign)
    const note = fresh ?? (await audit.tree()).checkpoints.at(-1)
    if (note === undefined) return undefined
    const checkpoint = opened(note, 'the newest checkpoint kept')
    mine = checkpoint
    state = { size: Math.max(state.size, checkpoint.size), signed: checkpoint.size }
    if (kept && written !== note) {
      await kept.write(note)
      written = note
    }
    if (fresh !== undefined)
      onEvent?.(
        {
          event: 'checkpoint',
          size: checkpoint.size,
          checkpoint: fresh,
          key: signer.verifierKey,
        },
        state,
      )
    return note
  }

  const guarded = async (): Promise<string | undefined> => {
    try {
      return await sealNow()
    } catch (error) {
      const detail = messageOf(error)
      const event = isAttestryError(error) && error.code === 'ELOG' ? 'contradiction' : 'failed'
      const known = state.fault === detail
      state = { ...state, fault: detail }
      if (!known) onEvent?.({ event, detail }, state)
      return undefined
    }
  }

  let tail: Promise<string | undefined> = Promise.resolve(undefined)
  const seal = () => (tail = tail.then(guarded))
  const timer = setInterval(() => void seal(), interval)
  timer.unref()

  return {
    seal,
    state: () => state,
    close: async () => {
      clearInterval(timer)
      await seal()
    },
  }
}
