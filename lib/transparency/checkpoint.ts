/** Checkpoints (C2SP tlog-checkpoint): how large a log is and its root hash, as a signed note. */
import { AttestryError } from '../errors.ts'
import { hashSize, type TreeHead } from './merkle.ts'
import { parseNote, signersOf, signNote, type NoteSigner, type NoteVerifier } from './note.ts'

export type Checkpoint = TreeHead & {
  /** Identifies the log. */
  readonly origin: string
  /** Lines after the third; rarely any. */
  readonly extensions: readonly string[]
}

const malformed = (what: string): never => {
  throw new AttestryError('ELOG', `That is no checkpoint: ${what}.`)
}

export const checkpointText = (origin: string, { size, root }: TreeHead): string =>
  `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`

export const signCheckpoint = (head: TreeHead, signers: readonly NoteSigner[]): string => {
  const [log] = signers
  if (log === undefined) return malformed('nobody signs it')
  return signNote(checkpointText(log.name, head), signers)
}

/** Reads a note's text; nothing is proven. Throws ELOG. */
export const parseCheckpointText = (text: string): Checkpoint => {
  const [origin = '', size = '', root = '', ...extensions] = text.slice(0, -1).split('\n')
  if (origin === '' || !text.endsWith('\n')) malformed('it names no origin')
  if (!/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)))
    malformed('its second line is no size')
  const hash = Buffer.from(root, 'base64')
  if (hash.length !== hashSize || hash.toString('base64') !== root)
    malformed('its third line is no SHA-256 hash in base64')
  if (extensions.includes('')) malformed('it has an empty line')
  return { origin, size: Number(size), root: hash, extensions }
}

/** Nothing is proven. Throws ELOG. */
export const parseCheckpoint = (note: string): Checkpoint =>
  parseCheckpointText(parseNote(note).text)

/** Throws ELOG unless one of these keys signed it, and it is of the origin its key is named for. */
export const openCheckpoint = (
  note: string,
  keys: readonly NoteVerifier[],
): Checkpoint & { readonly signers: readonly string[] } => {
  const parsed = parseNote(note)
  const signers = signersOf(parsed, keys)
  const checkpoint = parseCheckpointText(parsed.text)
  if (signers.length === 0)
    throw new AttestryError(
      'ELOG',
      `The checkpoint of ${checkpoint.origin} is signed by none of the keys given.`,
      {
        details: {
          signedBy: parsed.signatures.map(({ name, id }) => `${name}+${id.toString('hex')}`),
        },
      },
    )
  return { ...checkpoint, signers }
}
