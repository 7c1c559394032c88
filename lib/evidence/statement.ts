/** in-toto statements inside DSSE envelopes, and the checks npm leaves out. */
import type { Bundle } from '@sigstore/bundle'
import type { Integrity, PackageId } from '../types.ts'
import { quote, refuse } from './finding.ts'

export type Statement = {
  readonly predicateType: string
  readonly predicate: Readonly<Record<string, unknown>>
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const payloadType = 'application/vnd.in-toto+json'
const statementTypes: ReadonlySet<unknown> = new Set([
  'https://in-toto.io/Statement/v0.1',
  'https://in-toto.io/Statement/v1',
])

/** Package URL as npm writes it: only the scope's `@` is escaped (npm-package-arg toPurl). */
export const purlOf = ({ name, version }: PackageId): string =>
  `pkg:npm/${name.startsWith('@') ? `%40${name.slice(1)}` : name}@${version}`

export const hexOf = (integrity: Integrity): string =>
  Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')

const bad = (detail: string, details: { wanted?: string; found?: unknown } = {}): never =>
  refuse('INVALID_ATTESTATION', detail, {
    npmCode: 'EATTESTATIONVERIFY',
    wanted: details.wanted,
    found: 'found' in details ? quote(details.found) : undefined,
  })

export type Envelope = {
  readonly payloadType: string
  readonly payload: Uint8Array
  readonly keyId: string
}

/** The envelope with its one signature; DSSE allows several, npm reads the first and no other. */
export const envelopeOf = ({ content }: Bundle): Envelope => {
  if (content.$case !== 'dsseEnvelope') return bad('The bundle holds no statement.')
  const { payloadType, payload, signatures } = content.dsseEnvelope
  const [signature, ...more] = signatures
  if (signature === undefined || more.length > 0)
    return bad('The statement must have exactly one signature.', {
      wanted: '1',
      found: signatures.length,
    })
  return { payloadType, payload, keyId: signature.keyid }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Parses an envelope's payload. */
export const statementOf = (envelope: Envelope): Statement & { readonly subject: unknown } => {
  if (envelope.payloadType !== payloadType)
    bad('The signed payload is not an in-toto statement.', {
      wanted: payloadType,
      found: envelope.payloadType,
    })
  const statement: unknown = JSON.parse(utf8.decode(envelope.payload))
  if (!isRecord(statement)) return bad('The statement is not a JSON object.')
  const { _type, predicateType, predicate, subject } = statement
  if (!statementTypes.has(_type))
    bad('The statement is of an unknown type.', {
      wanted: [...statementTypes].join(' or '),
      found: _type,
    })
  if (typeof predicateType !== 'string') return bad('The statement does not say its type.')
  if (!isRecord(predicate)) return bad('The statement has no predicate.')
  return { predicateType, predicate, subject }
}

/** The same; `claimedType` is what the registry's document says it holds. */
export const parseStatement = (
  envelope: Envelope,
  claimedType: string,
): Statement & { readonly subject: unknown } => {
  const statement = statementOf(envelope)
  if (statement.predicateType !== claimedType)
    bad('The registry says that the attestation is of another type than was signed.', {
      wanted: claimedType,
      found: statement.predicateType,
    })
  return statement
}

/** Exactly one subject, and it is this package version with these bytes. */
export const checkSubject = (subject: unknown, id: PackageId, integrity: Integrity): void => {
  const wrong = (detail: string, wanted: string, found: unknown): never =>
    refuse('WRONG_SUBJECT', detail, {
      npmCode: 'EATTESTATIONSUBJECT',
      wanted,
      found: quote(found),
    })
  if (!Array.isArray(subject) || subject.length !== 1)
    return wrong(
      'The statement must be about exactly one subject.',
      '1',
      Array.isArray(subject) ? subject.length : subject,
    )
  const only: unknown = subject[0]
  const { name, digest } = isRecord(only) ? only : {}
  const purl = purlOf(id)
  if (name !== purl) wrong('What was signed is another package or version.', purl, name)
  const sha512 = isRecord(digest) ? digest.sha512 : undefined
  const hex = hexOf(integrity)
  if (sha512 !== hex) wrong('What was signed has other bytes.', hex, sha512)
}
