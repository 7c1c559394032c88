/**
 * One TUF repository as a source of trust: from a mirror or an archive, starting from a root that
 * is given or shipped, going on from what is kept. Nothing older than what was seen is ever taken.
 */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AttestryError, messageOf } from '../errors.ts'
import { readBounded } from './files.ts'
import { shippedRepository } from './shipped.ts'
import type { TufUpdate } from './tuf-client.ts'
import { archivePlace, mirrorPlace, type TufPlace } from './tuf-fetcher.ts'
import { laterOf, readState, roleOf, writeState, type TufState } from './tuf-state.ts'

/** What the room gives to every source. */
export type SourceTerms = {
  /** Where states are kept; made when there is something to keep. */
  readonly folder: string
  /** May mirrors be asked? */
  readonly network: boolean
  readonly userAgent: string
  /** Milliseconds for one file of a mirror, and for all of them. */
  readonly timeout: number
  readonly deadline: number
  /** Ends what is under way. */
  readonly signal: AbortSignal
  readonly now: () => Date
}

export type TufSourceOptions = {
  /** Without either: the mirror of public-good. */
  readonly place: { readonly mirror?: string; readonly archive?: string }
  /** A file of root metadata; default the shipped root of public-good. */
  readonly root: string | undefined
  readonly target: string
  /** Paths of keys documents to take along where the repository has them. */
  readonly keysTargets: readonly string[]
  readonly terms: SourceTerms
}

export type TufSource = {
  /** `shipped`: the copy in @sigstore/tuf. `kept`: verified before, by this or another process. */
  readonly origin: () => 'shipped' | 'kept' | 'none'
  readonly state: () => TufState
  /** Takes what is kept and asks nobody. */
  readonly recall: () => Promise<void>
  /** Goes through the client workflow; throws nothing but what is wrong with our own files. */
  readonly renew: (accept: (state: TufState) => void) => Promise<TufUpdate['failure']>
}

const nothing: TufState = { metadata: {}, targets: {} }

/** Throws ETRUST when it is no root metadata; whether it is signed as it says the client checks. */
const anchorState = (text: string, where: string): TufState => {
  const state = { metadata: { 'root.json': text }, targets: {} }
  try {
    if (roleOf(state, 'root') !== undefined) return state
  } catch (error) {
    const what = 'it is not root metadata of a TUF repository'
    throw new AttestryError('ETRUST', `${where}: ${what}: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return state
}

/** Milliseconds; a refresh is over long before. */
const leftAfter = 3_600_000

/** Of processes that were killed at work. */
const removeLeftovers = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder)) {
    if (!name.startsWith('work-') && !name.startsWith('.')) continue
    const path = join(folder, name)
    const info = await stat(path).catch(() => undefined)
    if (info && Date.now() - info.mtimeMs > leftAfter)
      await rm(path, { recursive: true, force: true })
  }
}

export const openTufSource = (options: TufSourceOptions): TufSource => {
  const { place, root, target, keysTargets, terms } = options
  const { folder, now } = terms
  /** As it is kept: what the repository gave, without what is shipped. */
  let own = nothing
  let current = nothing
  let origin: ReturnType<TufSource['origin']> = 'none'

  /** A repository is known by its root: a mirror and an archive of the same one share what is kept. */
  const anchorOf = async () => {
    const shipped = root === undefined ? shippedRepository() : undefined
    const text = shipped?.root ?? (await readBounded(root ?? '')).toString('utf8')
    const name = shipped ? 'public-good' : createHash('sha256').update(text).digest('hex')
    return { text, shipped, file: join(folder, `${name}.json`) }
  }

  /** What to trust in and to go on from: the later of what is kept and what is given or shipped. */
  const settle = async ({ text, shipped, file }: Awaited<ReturnType<typeof anchorOf>>) => {
    const anchor = anchorState(text, root ?? '@sigstore/tuf')
    own = laterOf(own, (await readState(file)) ?? nothing)
    const behind = (roleOf(own, 'root')?.version ?? 0) < (roleOf(anchor, 'root')?.version ?? 0)
    // a root of ours that has gone on from the given one is not begun anew; one that is shipped newer is
    const ahead = own.metadata['root.json'] === undefined || (shipped !== undefined && behind)
    const metadata = ahead ? { ...own.metadata, ...anchor.metadata } : own.metadata
    if (target in own.targets && !ahead) origin = 'kept'
    else origin = shipped?.targets.has(target) ? 'shipped' : 'none'
    const targets =
      origin === 'shipped' && shipped ? Object.fromEntries(shipped.targets) : own.targets
    current = { ...own, metadata, targets }
  }

  const placeIn = async (scratch: string): Promise<TufPlace> => {
    if (place.archive !== undefined) {
      const { readArchive } = await import('./tuf-archive.ts')
      const archive = await readArchive(place.archive)
      return archivePlace(archive.files, archive, scratch)
    }
    return mirrorPlace(place.mirror ?? shippedRepository().mirror, { ...terms, scratch })
  }

  const update = async (): Promise<TufUpdate> => {
    // not before there is something to ask: a server serves by what it has, and starts sooner
    const { updateTuf } = await import('./tuf-client.ts')
    await mkdir(folder, { recursive: true })
    await removeLeftovers(folder)
    const scratch = await mkdtemp(join(folder, 'work-'))
    try {
      return await updateTuf({
        state: current,
        place: await placeIn(scratch),
        targets: [
          { path: target, optional: false },
          // what others with the same storage keep of it is kept
          ...[...new Set([...keysTargets, ...Object.keys(current.targets)])].map(path => ({
            path,
            optional: true,
          })),
        ],
        scratch,
        now,
      })
    } finally {
      await rm(scratch, { recursive: true, force: true })
    }
  }

  /** A target that is signed as it should be and cannot be used: its metadata counts, it does not. */
  const judged = ({ state, failure }: TufUpdate, accept: (state: TufState) => void) => {
    if (failure) return { state, failure }
    try {
      accept(state)
      return { state }
    } catch (error) {
      const known = new AttestryError('ETUF', messageOf(error), { cause: error })
      const before = { ...current, metadata: state.metadata }
      return { state: before, failure: { error: known, reached: true } }
    }
  }

  return {
    origin: () => origin,
    state: () => current,
    recall: async () => settle(await anchorOf()),
    renew: async accept => {
      const anchor = await anchorOf()
      await settle(anchor)
      const shipped = origin === 'shipped'
      const { state, failure } = judged(await update(), accept)
      const next = failure && shipped ? { ...state, targets: {} } : state
      // another process may have been faster, and further
      own = laterOf(next, (await readState(anchor.file)) ?? nothing)
      if (own === next) await writeState(anchor.file, next)
      await settle(anchor)
      return failure
    },
  }
}
