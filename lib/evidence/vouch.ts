/**
 * Vouches: in-toto statements that somebody signed over the exact bytes of a version. Who they are is
 * a fact; whether their word counts is policy's to say. docs/commands/vouch.md describes the predicate.
 */
import { createHash } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import type { Fact, Integrity, PackageId, Vouch } from '../types.ts'
import { readPublicKey } from '../key-id.ts'
import { parseBundle, verifyBundle, verifyTimeless } from './bundle.ts'
import { factOf, quote, refuse } from './finding.ts'
import { decodeIdentity } from './identity.ts'
import {
  checkSubject,
  envelopeOf,
  hexOf,
  isRecord,
  parseStatement,
  purlOf,
} from './statement.ts'
import type { Verification } from './verification.ts'

/** An identifier that is ours; it is not an address. */
export const vouchPredicate = 'urn:attestry:vouch:v1'

/** A vouch as it is kept: nothing of it is believed. */
export type KeptVouch = {
  readonly bundle: unknown
  /** PEM, where a key signed: which key it is comes out, not whether it counts. */
  readonly publicKey?: string
}

export type VouchRequest = {
  readonly package: PackageId
  readonly integrity: Integrity
  readonly vouches: readonly KeptVouch[]
}

/** What our own vouches say; the reader takes more. */
export type VouchPredicate = {
  readonly reason: string
  readonly vouchedBy?: string
  /** ISO 8601. */
  readonly vouchedAt: string
  readonly expiresAt?: string
  /** What was known of the version when it was vouched for. */
  readonly examined?: Readonly<Record<string, unknown>>
}

const longest = { reason: 1000, by: 200 }

const bad = (detail: string, found?: unknown): never =>
  refuse('INVALID_ATTESTATION', detail, {
    ...(found !== undefined && { found: quote(found) }),
  })

const text = (value: unknown, name: string, most: number): string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= most
    ? value
    : bad(`The vouch has no usable ${name}.`, value)

const instant = (value: unknown, name: string): string => {
  const at =
    typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(at)
    ? bad(`The vouch has no usable ${name}.`, value)
    : new Date(at).toISOString()
}

/** What is there must be right: an end that cannot be read would be no end. */
const saidIn = (predicate: Readonly<Record<string, unknown>>): Vouch['said'] => {
  const { reason, vouchedBy, vouchedAt, expiresAt } = predicate
  return {
    reason: text(reason, 'reason', longest.reason),
    ...(vouchedBy !== undefined && { by: text(vouchedBy, 'vouchedBy', longest.by) }),
    at: instant(vouchedAt, 'vouchedAt'),
    ...(expiresAt !== undefined && { until: instant(expiresAt, 'expiresAt') }),
  }
}

/**
 * A vouch as it can be read before it is verified, to know what to verify it against. Throws a
 * finding, or what the libraries throw.
 */
export const statementIn = (json: unknown): UnverifiedVouch => {
  const envelope = envelopeOf(parseBundle(json))
  const { subject, predicate } = parseStatement(envelope, vouchPredicate)
  const [only]: readonly unknown[] = Array.isArray(subject) ? subject : []
  const { name, digest } = isRecord(only) ? only : {}
  const hex = isRecord(digest) ? digest['sha512'] : undefined
  const id = typeof name === 'string' ? packageOf(name) : undefined
  if (id === undefined || typeof hex !== 'string' || !/^[0-9a-f]{128}$/.test(hex))
    return bad('The vouch is not about a package of npm and its sha512.', subject)
  const integrity: Integrity = `sha512-${Buffer.from(hex, 'hex').toString('base64')}`
  return { package: id, integrity, said: saidIn(predicate), payload: envelope.payload }
}

export type UnverifiedVouch = {
  readonly package: PackageId
  readonly integrity: Integrity
  readonly said: Vouch['said']
  readonly payload: Uint8Array
}

/** The way back from a package URL, where it leads there again. */
const packageOf = (purl: string): PackageId | undefined => {
  const [, scope = '', name = '', version = ''] =
    /^pkg:npm\/(?:%40([^/@]+)\/)?([^/@]+)@([^@]+)$/.exec(purl) ?? []
  const id = { name: scope === '' ? name : `@${scope}/${name}`, version }
  return name !== '' && purlOf(id) === purl ? id : undefined
}

/** What is signed: one statement about one version. */
export const vouchStatement = (
  id: PackageId,
  integrity: Integrity,
  predicate: VouchPredicate,
): object => ({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: purlOf(id), digest: { sha512: hexOf(integrity) } }],
  predicateType: vouchPredicate,
  predicate,
})

/** The name of a statement: of what was said, not of the signature, which can be made in two forms. */
export const statementId = (payload: Uint8Array): string =>
  createHash('sha256').update(payload).digest('hex')

type Signed = Pick<Vouch, 'signer' | 'signedAt'>

/** A key holds at any time, so that neither log nor timestamp is needed; a certificate does not. */
const verifySigner = (
  { verifiers, verifierFor }: Verification,
  bundle: Bundle,
  publicKey: string | undefined,
): Signed => {
  if (bundle.verificationMaterial.content.$case === 'publicKey') {
    if (publicKey === undefined) bad('The vouch is signed by a key, and nobody says which.')
    const { keyId, spki } = readPublicKey(publicKey ?? '')
    const { signedAt } = verifyTimeless(verifierFor(spki), bundle)
    return { signer: { kind: 'key', keyId }, ...(signedAt && { signedAt }) }
  }
  const { certificate, signedAt } = verifyBundle(verifiers, bundle)
  if (certificate === undefined) throw new Error('a verified bundle lost its certificate')
  return { signer: { kind: 'certificate', identity: decodeIdentity(certificate) }, signedAt }
}

const verifyOne = (
  verification: Verification,
  { bundle: json, publicKey }: KeptVouch,
  { package: id, integrity }: VouchRequest,
): Fact<Vouch> => {
  const bundle = parseBundle(json)
  const envelope = envelopeOf(bundle)
  const signed = verifySigner(verification, bundle, publicKey)
  const statement = parseStatement(envelope, vouchPredicate)
  checkSubject(statement.subject, id, integrity)
  const said = saidIn(statement.predicate)
  return { state: 'verified', id: statementId(envelope.payload), ...signed, said }
}

/** One fact for each, in their order. Never throws: whatever is thrown makes that vouch invalid. */
export const verifyVouches = (
  verification: Verification,
  request: VouchRequest,
): readonly Fact<Vouch>[] =>
  request.vouches.map(vouch => {
    try {
      return verifyOne(verification, vouch, request)
    } catch (error) {
      return factOf(error, 'INVALID_ATTESTATION', 'EATTESTATIONVERIFY')
    }
  })
