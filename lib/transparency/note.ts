/**
 * Signed notes (C2SP signed-note): a text, an empty line, and lines that say who signed it. Keys
 * are written as Go's sumdb/note writes them: `name+4 bytes in hex+base64`.
 */
import {
  createHash,
  createPublicKey,
  sign as signBytes,
  verify as verifyBytes,
  type KeyObject,
} from 'node:crypto'
import { AttestryError } from '../errors.ts'

/** Characters of a whole note; sixteen signatures of the longest kind there is fit. */
export const noteMax = 128 * 1024

/** Whoever may sign: a name, the four bytes its signatures begin with, and the check of the rest. */
export type NoteVerifier = {
  readonly name: string
  readonly id: Buffer
  readonly verify: (text: Buffer, signature: Uint8Array) => boolean
}

export type NoteSigner = NoteVerifier & {
  readonly sign: (text: string) => Buffer
  /** As others need it, to check what was signed. */
  readonly verifierKey: string
}

export type NoteSignature = {
  readonly name: string
  readonly id: Buffer
  readonly signature: Buffer
  /** The whole line, with the line break. */
  readonly line: string
}

export type Note = {
  /** What was signed, with the line break at its end. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

const ed25519 = 0x01

const malformed = (what: string, cause?: unknown): never => {
  throw new AttestryError('ELOG', what, { cause })
}

/** Undefined for what is not the one spelling of its bytes. */
const strictBase64 = (text: string | undefined): Buffer | undefined => {
  const bytes = Buffer.from(text ?? '', 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

export const isKeyName = (name: string): boolean => /^[^\s\p{Cc}+]+$/u.test(name)

/** The first four bytes of SHA-256 over name, line break, kind and key. */
export const keyIdOf = (name: string, kind: number, key: Uint8Array): Buffer =>
  createHash('sha256')
    .update(`${name}\n`)
    .update(Buffer.of(kind))
    .update(key)
    .digest()
    .subarray(0, 4)

const rawPublicKey = (key: KeyObject): Buffer => {
  if (key.asymmetricKeyType !== 'ed25519')
    return malformed(
      `A key of kind ${String(key.asymmetricKeyType)} cannot sign notes; wanted ed25519.`,
    )
  return Buffer.from(String(key.export({ format: 'jwk' })['x']), 'base64url')
}

/** Of an Ed25519 key. Throws ELOG for one of another kind, and for a name that notes cannot have. */
export const noteVerifier = (name: string, key: KeyObject): NoteVerifier => {
  if (!isKeyName(name))
    malformed(`${JSON.stringify(name)} is no name for a key: it may have neither spaces nor +.`)
  return {
    name,
    id: keyIdOf(name, ed25519, rawPublicKey(key)),
    verify: (text, signature) => verifyBytes(null, text, key, signature),
  }
}

/** `name+6abd8f72+AZ…`, for a public Ed25519 key. */
export const verifierKeyOf = (name: string, key: KeyObject): string => {
  const raw = rawPublicKey(key)
  const id = keyIdOf(name, ed25519, raw).toString('hex')
  return `${name}+${id}+${Buffer.concat([Buffer.of(ed25519), raw]).toString('base64')}`
}

/** Reads `name+hash+key`. Throws ELOG for what is none, and for one whose hash is another's. */
export const parseVerifierKey = (text: string): NoteVerifier => {
  const [, name, id, key] =
    /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text.trim()) ?? []
  const bytes = strictBase64(key) ?? Buffer.alloc(0)
  if (name === undefined || bytes.length !== 33 || bytes[0] !== ed25519)
    return malformed('That is no key for checkpoints: wanted name+hash+key, of an Ed25519 key.')
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: bytes.subarray(1).toString('base64url') }
  const verifier = noteVerifier(name, createPublicKey({ key: jwk, format: 'jwk' }))
  if (verifier.id.toString('hex') !== id)
    return malformed(`The key of ${name} does not belong to its hash ${id ?? ''}.`)
  return verifier
}

/** Throws ELOG unless it is a private Ed25519 key. */
export const noteSigner = (name: string, privateKey: KeyObject): NoteSigner => {
  const publicKey = createPublicKey(privateKey)
  return {
    ...noteVerifier(name, publicKey),
    sign: text => signBytes(null, Buffer.from(text), privateKey),
    verifierKey: verifierKeyOf(name, publicKey),
  }
}

/** `text` must end with a line break. */
export const signNote = (text: string, signers: readonly NoteSigner[]): string => {
  const lines = signers.map(
    ({ name, id, sign }) => `— ${name} ${Buffer.concat([id, sign(text)]).toString('base64')}\n`,
  )
  return `${text}\n${lines.join('')}`
}

const signatureLine = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/

/** Parts of a note, nothing of it proven. Throws ELOG when it is none. */
export const parseNote = (note: string): Note => {
  if (note.length > noteMax) malformed(`A note of ${note.length} characters is too long.`)
  // oxlint-disable-next-line no-control-regex -- the specification forbids exactly these
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note))
    malformed('A note may have no control characters.')
  const middle = note.lastIndexOf('\n\n')
  if (middle < 0 || !note.endsWith('\n'))
    malformed('That is no signed note: an empty line and signatures are missing.')
  const signatures = note
    .slice(middle + 2, -1)
    .split('\n')
    .map(line => {
      const [, name = '', base64 = ''] = signatureLine.exec(line) ?? []
      const bytes = strictBase64(base64) ?? Buffer.alloc(0)
      if (bytes.length < 5)
        malformed(`That is no signature of a note: ${JSON.stringify(line.slice(0, 80))}.`)
      return { name, id: bytes.subarray(0, 4), signature: bytes.subarray(4), line: `${line}\n` }
    })
  return { text: note.slice(0, middle + 1), signatures }
}

/**
 * The names of the known keys that signed it; empty when none did. Signatures of others are passed
 * over. Throws ELOG when a signature says that it is of a known key and is not.
 */
export const signersOf = (
  { text, signatures }: Note,
  known: readonly NoteVerifier[],
): readonly string[] => {
  const bytes = Buffer.from(text)
  const names = signatures.flatMap(({ name, id, signature }) => {
    const key = known.find(verifier => verifier.name === name && verifier.id.equals(id))
    if (key === undefined) return []
    return key.verify(bytes, signature)
      ? [name]
      : malformed(`The signature of ${name} does not verify.`)
  })
  return [...new Set(names)]
}
