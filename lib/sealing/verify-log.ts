/**
 * Proves that the audit log is what was signed: every text against its hash, every hash against the
 * ones above it, the whole against each checkpoint.
 */
import { isAttestryError, messageOf } from '../errors.ts'
import type { AuditLog, AuditText, AuditTreeState } from '../store/store.ts'
import { openCheckpoint, type Checkpoint } from '../transparency/checkpoint.ts'
import { hashSize, leafHash, rootHash } from '../transparency/merkle.ts'
import type { NoteVerifier } from '../transparency/note.ts'
import { tileRoot, tileWidth, widthOf, withTiles } from '../transparency/tiles.ts'
import { openPruning } from './pruning.ts'

export type FindingKind =
  /** An entry's text is not the one that was recorded. */
  | 'changed'
  | 'missing'
  /** An entry that was never recorded. */
  | 'extra'
  /** The index files an entry under another package than it is about. */
  | 'misfiled'
  /** The hashes kept do not fit each other. */
  | 'hashes'
  /** A checkpoint that is none, or is signed by none of the keys. */
  | 'checkpoint'
  /** The entries are not those that a checkpoint was signed for. */
  | 'rewritten'
  /** There are fewer entries than a checkpoint was signed for. */
  | 'truncated'
  /** Entries are said to be pruned, and nobody signed for it. */
  | 'pruned'
  /** A file of pruned entries does not hold what was pruned. */
  | 'archive'

export type Finding = {
  readonly kind: FindingKind
  /** One sentence. */
  readonly detail: string
  readonly seq?: number
}

/** Entries that were pruned, as they were written to a file: full bundles, by their index. */
export type PrunedEntries = {
  readonly source: string
  readonly bundles: () => AsyncIterable<{
    readonly index: number
    readonly entries: readonly Uint8Array[]
  }>
}

export type LogReport = {
  readonly size: number
  /** Entries up to this one were pruned, and somebody signed for it. */
  readonly pruned: number
  /** Pruned entries that the archives given hold, as they were recorded. */
  readonly archived: number
  /** Entries that were read and are what was recorded. */
  readonly verified: number
  /** Checkpoints whose signature and tree hold, largest last. */
  readonly checkpoints: readonly { readonly source: string; readonly size: number }[]
  /** Newest entries that no checkpoint covers yet. */
  readonly unsigned: number
  readonly findings: readonly Finding[]
  /** Findings beyond those that are told. */
  readonly more: number
}

export type VerifyOptions = {
  readonly audit: AuditLog
  readonly keys: readonly NoteVerifier[]
  /** Kept elsewhere. */
  readonly outside?: readonly { readonly source: string; readonly note: string }[]
  readonly archives?: readonly PrunedEntries[]
  /** Told now and then: entries looked at. */
  readonly onProgress?: (done: number, total: number) => void
}

const mostFindings = 100

const openFindings = () => {
  const findings: Finding[] = []
  let more = 0
  return {
    add: (kind: FindingKind, detail: string, seq?: number) => {
      if (findings.length < mostFindings)
        findings.push({ kind, detail, ...(seq !== undefined && { seq }) })
      else more += 1
    },
    result: () => ({ findings, more }),
  }
}

type Findings = ReturnType<typeof openFindings>

const nameIn = (text: string): string | undefined => {
  try {
    const { package: id } = JSON.parse(text) as {
      readonly package?: { readonly name?: unknown }
    }
    return typeof id?.name === 'string' ? id.name : undefined
  } catch {
    return undefined
  }
}

/** Every text against its hash in the tiles of level 0; gives how many hold. */
const checkTexts = async (
  { audit, onProgress }: VerifyOptions,
  { size, pruned }: AuditTreeState,
  findings: Findings,
): Promise<number> => {
  let verified = 0
  let tile: { readonly index: number; readonly hashes: Uint8Array } | undefined
  const missing = (from: number, to: number) => {
    if (from < to)
      findings.add(
        'missing',
        to - from === 1
          ? `Entry ${from} is missing.`
          : `Entries ${from} to ${to - 1} are missing.`,
        from,
      )
  }
  const check = ({ seq, text, name }: AuditText, hashes: Uint8Array): void => {
    const at = ((seq - 1) % tileWidth) * hashSize
    if (!leafHash(text).equals(hashes.subarray(at, at + hashSize)))
      findings.add('changed', `Entry ${seq} is not the text that was recorded.`, seq)
    else if (nameIn(text) !== name)
      findings.add(
        'misfiled',
        `Entry ${seq} is filed under ${JSON.stringify(name)}, which it is not about.`,
        seq,
      )
    else verified += 1
  }
  let next = pruned + 1
  for await (const row of audit.texts({ after: pruned })) {
    if (row.seq > size) {
      // what was appended while we read is in the tree by now
      const now = await audit.tree()
      if (row.seq > now.size)
        findings.add('extra', `Entry ${row.seq} was never recorded.`, row.seq)
      else break
      continue
    }
    missing(next, row.seq)
    const index = Math.floor((row.seq - 1) / tileWidth)
    if (tile?.index !== index) tile = { index, hashes: await audit.tile(0, index) }
    check(row, tile.hashes)
    next = row.seq + 1
    if (row.seq % tileWidth === 0) onProgress?.(row.seq - pruned, size - pruned)
  }
  missing(next, size + 1)
  return verified
}

/** Every bundle of pruned entries against the tile that stayed; gives how many entries hold. */
const checkArchives = async (
  { audit, archives = [] }: VerifyOptions,
  pruned: number,
  findings: Findings,
): Promise<number> => {
  const held = new Set<number>()
  for (const { source, bundles } of archives) {
    for await (const { index, entries } of bundles()) {
      const hashes = Buffer.concat(entries.map(leafHash))
      const first = index * tileWidth + 1
      const whole = entries.length === tileWidth && first + tileWidth - 1 <= pruned
      if (whole && hashes.equals(await audit.tile(0, index))) held.add(index)
      else
        findings.add(
          'archive',
          `${source}: entries ${first} to ${first + entries.length - 1} are not those that were pruned.`,
          first,
        )
    }
  }
  return held.size * tileWidth
}

/** Every tile above against the full tiles below it. */
const checkTiles = async (
  { audit }: VerifyOptions,
  size: number,
  findings: Findings,
): Promise<void> => {
  const bad = (level: number, index: number, what: string) =>
    findings.add('hashes', `The hashes of tile ${level}/${index} ${what}.`)
  for (let level = 0; size >= tileWidth ** level; level += 1) {
    let above: { readonly index: number; readonly hashes: Uint8Array } | undefined
    const tiles = Math.ceil(Math.floor(size / tileWidth ** level) / tileWidth)
    for (let index = 0; index < tiles; index += 1) {
      const width = widthOf(size, { level, index })
      const hashes = (await audit.tile(level, index)).subarray(0, width * hashSize)
      if (hashes.length !== width * hashSize) {
        bad(level, index, 'are missing')
        continue
      }
      if (width < tileWidth) continue
      const upper = Math.floor(index / tileWidth)
      if (above?.index !== upper)
        above = { index: upper, hashes: await audit.tile(level + 1, upper) }
      const at = (index % tileWidth) * hashSize
      if (!Buffer.from(above.hashes.subarray(at, at + hashSize)).equals(tileRoot(hashes)))
        bad(level, index, 'do not fit the one above')
    }
  }
}

export const verifyLog = async (options: VerifyOptions): Promise<LogReport> => {
  const { audit, keys, outside = [] } = options
  const findings = openFindings()
  const tree = await audit.tree()
  const { size } = tree

  /** Throws what does not hold as a finding's sentence. */
  const holds = async (source: string, note: string): Promise<number | undefined> => {
    let checkpoint: Checkpoint
    try {
      checkpoint = openCheckpoint(note, keys)
    } catch (error) {
      if (!isAttestryError(error)) throw error
      findings.add('checkpoint', `${source}: ${messageOf(error)}`)
      return undefined
    }
    const { origin } = checkpoint
    if (!keys.some(({ name }) => name === origin)) {
      findings.add('checkpoint', `${source}: it is of another log, ${origin}.`)
      return undefined
    }
    if (checkpoint.size > size) {
      findings.add(
        'truncated',
        `${source}: it was signed for ${checkpoint.size} entries, and there are ${size}.`,
      )
      return undefined
    }
    try {
      const root = await withTiles(
        node => rootHash(checkpoint.size, node),
        ({ level, index }) => audit.tile(level, index),
      )
      if (Buffer.from(root).equals(checkpoint.root)) return checkpoint.size
    } catch (error) {
      if (!isAttestryError(error) || error.code !== 'ELOG') throw error
    }
    findings.add(
      'rewritten',
      `${source}: the first ${checkpoint.size} entries are not those it was signed for.`,
    )
    return undefined
  }

  let pruned = 0
  for (const note of tree.prunings) {
    try {
      pruned = Math.max(pruned, openPruning(note, keys).seq)
    } catch (error) {
      if (!isAttestryError(error)) throw error
      findings.add('pruned', messageOf(error))
    }
  }
  if (tree.pruned > pruned)
    findings.add(
      'pruned',
      `Entries ${pruned + 1} to ${tree.pruned} are said to be pruned, and nobody signed for it.`,
      pruned + 1,
    )

  const checkpoints: { source: string; size: number }[] = []
  const all = [
    ...tree.checkpoints.map(note => ({ source: 'checkpoint in the store', note })),
    ...outside,
  ]
  for (const { source, note } of all) {
    const covered = await holds(source, note)
    if (covered !== undefined) checkpoints.push({ source, size: covered })
  }
  checkpoints.sort((a, b) => a.size - b.size)
  await checkTiles(options, size, findings)
  const archived = await checkArchives(options, pruned, findings)
  const verified = await checkTexts(options, { ...tree, pruned }, findings)
  return {
    size,
    pruned,
    archived,
    verified,
    checkpoints,
    unsigned: size - (checkpoints.at(-1)?.size ?? 0),
    ...findings.result(),
  }
}
