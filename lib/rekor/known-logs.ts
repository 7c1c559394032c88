/** The transparency logs that trusted roots name, and the check of what they sign. */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'
import { parseCheckpointText, type Checkpoint } from '../transparency/checkpoint.ts'
import { parseNote, type NoteSignature } from '../transparency/note.ts'

export type KnownLog = {
  /** Where it is asked; ends without a slash. */
  readonly baseUrl: string
  /** Rekor v1 has an API of proofs, v2 has tiles. */
  readonly version: 1 | 2
  readonly logId: Buffer
  readonly key: KeyObject
}

type TrustedLog = {
  readonly baseUrl?: string
  readonly publicKey?: { readonly rawBytes?: string }
  readonly logId?: { readonly keyId?: string }
}

/** Version 1 names a log by the hash of its key, version 2 by that of a note's key. */
const knownLog = ({ baseUrl = '', publicKey, logId }: TrustedLog): readonly KnownLog[] => {
  const spki = Buffer.from(publicKey?.rawBytes ?? '', 'base64')
  const id = Buffer.from(logId?.keyId ?? '', 'base64')
  if (spki.length === 0 || id.length < 4) return []
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  const version = createHash('sha256').update(spki).digest().equals(id) ? 1 : 2
  return [{ baseUrl: baseUrl.replace(/\/+$/, ''), version, logId: id, key }]
}

/** Of trusted_root.json documents; a key that cannot be read is nobody's. */
export const knownLogs = (roots: readonly object[]): readonly KnownLog[] =>
  roots.flatMap(root => {
    const { tlogs = [] } = root as { readonly tlogs?: readonly TrustedLog[] }
    return tlogs.flatMap(log => {
      try {
        return knownLog(log)
      } catch {
        return []
      }
    })
  })

const signedBy = ({ key, logId }: KnownLog, text: Buffer, { id, signature }: NoteSignature) =>
  id.equals(logId.subarray(0, 4)) &&
  verify(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', text, key, signature)

export type SignedCheckpoint = Checkpoint & { readonly log: KnownLog; readonly note: string }

/** Undefined where none of these logs signed it. Throws ELOG for what is no checkpoint. */
export const openLogCheckpoint = (
  note: string,
  logs: readonly KnownLog[],
): SignedCheckpoint | undefined => {
  const { text, signatures } = parseNote(note)
  const bytes = Buffer.from(text)
  const log = logs.find(known => signatures.some(one => signedBy(known, bytes, one)))
  return log && { ...parseCheckpointText(text), log, note }
}
