/** The signed word that entries were taken out of the audit log on purpose, and into which file. */
import { AttestryError } from '../errors.ts'
import {
  parseNote,
  signersOf,
  signNote,
  type NoteSigner,
  type NoteVerifier,
} from '../transparency/note.ts'

export type Pruning = {
  /** Entries up to this one. */
  readonly seq: number
  /** SHA-256 of the file they were written to, hex. */
  readonly archive: string
  readonly at: string
}

/** Not the form of a checkpoint, so that neither can be taken for the other. */
const textOf = (origin: string, { seq, archive, at }: Pruning) =>
  `${origin}\npruned up to ${seq}\narchive sha256:${archive}\nat ${at}\n`

const form =
  /^([^\n]+)\npruned up to ([1-9]\d{0,15})\narchive sha256:([0-9a-f]{64})\nat (\S+)\n$/

export const signPruning = (pruning: Pruning, signer: NoteSigner): string =>
  signNote(textOf(signer.name, pruning), [signer])

/** Throws ELOG unless one of these keys signed it for its own log. */
export const openPruning = (note: string, keys: readonly NoteVerifier[]): Pruning => {
  const parsed = parseNote(note)
  const [, origin, seq = '', archive = '', at = ''] = form.exec(parsed.text) ?? []
  if (origin === undefined) throw new AttestryError('ELOG', 'That is no word of a pruning.')
  if (!signersOf(parsed, keys).includes(origin))
    throw new AttestryError(
      'ELOG',
      `A pruning of ${origin} is signed by none of the keys given.`,
    )
  return { seq: Number(seq), archive, at }
}
