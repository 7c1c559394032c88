/**
 * Sigstore bundles v0.1 to v0.3: transparency log (Rekor v1 and v2), timestamps (RFC 3161), Fulcio
 * certificate and signature, by @sigstore/verify. One verifier per trusted root, made once. What
 * was signed, and by whom it should be, is none of this file's business: the library's own check of
 * the subject's name is an unanchored regular expression and is never used.
 */
import { bundleFromJSON, type Bundle } from '@sigstore/bundle'
import type { RFC3161Timestamp, X509Certificate } from '@sigstore/core'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import {
  toSignedEntity,
  toTrustMaterial,
  VerificationError,
  Verifier,
  type KeyFinderFunc,
  type SignedEntity,
} from '@sigstore/verify'
import type { RootScope, SigningTime } from '../types.ts'
import { rememberLeaf, rememberTrusted } from './certificates.ts'
import { Finding, quote, refuse } from './finding.ts'
import { withLogTimes, type EntityVerifier } from './log-times.ts'
import { checkScope } from './scope.ts'

export type KeyFinder = KeyFinderFunc

/** What was signed, as the library verifies it. */
export type SignatureContent = SignedEntity['signature']

/** What the bundle signs, where it is not in it. */
export type Signed = { readonly artifact?: Uint8Array; readonly content?: SignatureContent }

export type BundleVerifier = {
  /** One for each trusted root. */
  readonly verifiers: readonly EntityVerifier[]
  /** Whom the root at the same place may speak for; a missing one is everybody. */
  readonly scopes: readonly RootScope[]
  /** Is work on certificates done once? Off, the library is left to itself, with the same verdicts. */
  readonly remember: boolean
}

/** As the library verified it: the bytes and what was read from them. */
export type SigningCertificate = { readonly der: Buffer; readonly parsed: X509Certificate }

export type VerifiedBundle = {
  /** When it was signed with one. */
  readonly certificate?: SigningCertificate
  /** Earliest of the verified times; there is always one. */
  readonly signedAt: SigningTime
}

/** Both spellings of v0.3 exist in the wild (sigstore protobuf-specs, sigstore_bundle.proto). */
const mediaTypes = new Set([
  'application/vnd.dev.sigstore.bundle+json;version=0.1',
  'application/vnd.dev.sigstore.bundle+json;version=0.2',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
  'application/vnd.dev.sigstore.bundle.v0.3+json',
])

/** The real ones have one or two of each; the library's work grows with them. */
const mostParts = 8

const unverified = (detail: string, found?: string): never =>
  refuse('INVALID_ATTESTATION', detail, { npmCode: 'EATTESTATIONVERIFY', found })

export type VerifierOptions = {
  readonly remember?: boolean
  /** Whom each root may speak for; one for each, or none. */
  readonly scopes?: readonly RootScope[]
  /**
   * Takes bundles that neither a log nor a timestamp authority speaks for; what speaks must still
   * verify. For keys that hold at any time, and for nothing that has a certificate.
   */
  readonly timeless?: boolean
}

/**
 * `findKey` answers for bundles signed with a key; it gets the bundle's key hint and may throw.
 * The library counts zero timestamps as enough when only its deprecated `tsaThreshold` is given,
 * so every threshold is spelled out.
 */
export const openBundleVerifier = (
  roots: readonly object[],
  findKey: KeyFinder,
  { remember = true, scopes = [], timeless = false }: VerifierOptions = {},
): BundleVerifier => {
  const witnesses = timeless ? 0 : 1
  const verifiers = roots.map(root => {
    const material = toTrustMaterial(TrustedRoot.fromJSON(root), findKey)
    const verifier = new Verifier(remember ? rememberTrusted(material) : material, {
      tlogThreshold: witnesses,
      ctlogThreshold: 1,
      timestampThreshold: witnesses,
    })
    return withLogTimes(verifier, material.tlogs)
  })
  return { verifiers, scopes, remember }
}

/** Reads a bundle's JSON; throws a finding when it is not a bundle of a version we know. */
export const parseBundle = (value: unknown): Bundle => {
  const { mediaType } = (value ?? {}) as { mediaType?: unknown }
  if (typeof mediaType !== 'string' || !mediaTypes.has(mediaType))
    return unverified('The bundle is of an unknown media type.', quote(mediaType))
  const bundle = bundleFromJSON(value)
  const { tlogEntries, timestampVerificationData } = bundle.verificationMaterial
  const stamps = timestampVerificationData?.rfc3161Timestamps ?? []
  if (tlogEntries.length > mostParts || stamps.length > mostParts)
    unverified(
      `The bundle has more than ${mostParts} log entries or timestamps.`,
      `${tlogEntries.length} and ${stamps.length}`,
    )
  return bundle
}

/** How far verification came, so that of several roots the most telling error is reported. */
const depth: Readonly<Record<string, number>> = {
  TIMESTAMP_ERROR: 1,
  CERTIFICATE_ERROR: 2,
  PUBLIC_KEY_ERROR: 2,
  TLOG_MISSING_INCLUSION_ERROR: 3,
  TLOG_INCLUSION_PROMISE_ERROR: 3,
  TLOG_INCLUSION_PROOF_ERROR: 3,
  TLOG_BODY_ERROR: 4,
  SIGNATURE_ERROR: 5,
}

const depthOf = (error: unknown): number =>
  error instanceof Finding
    ? 6
    : error instanceof VerificationError
      ? (depth[error.code] ?? 0)
      : 0

const certificateOf = (
  { verificationMaterial: { content } }: Bundle,
  { key }: SignedEntity,
): SigningCertificate | undefined => {
  if (content.$case === 'publicKey' || key.$case !== 'certificate') return undefined
  const leaf =
    content.$case === 'certificate'
      ? content.certificate
      : content.x509CertificateChain.certificates[0]
  return leaf && { der: Buffer.from(leaf.rawBytes), parsed: key.certificate }
}

/**
 * Times that were verified. A Rekor v2 entry tells none; a v1 entry only together with its
 * inclusion promise, which is what signs the time.
 */
const timesOf = ({ timestamps }: SignedEntity): readonly SigningTime[] =>
  timestamps.flatMap<SigningTime>(timestamp => {
    if (timestamp.$case === 'timestamp-authority')
      return { time: iso(timestamp.timestamp), source: 'timestamp-authority' }
    const { inclusionPromise, integratedTime } = timestamp.tlogEntry
    return inclusionPromise === undefined
      ? []
      : { time: new Date(Number(integratedTime) * 1000).toISOString(), source: 'log' }
  })

const iso = (stamp: RFC3161Timestamp) => stamp.signingTime.toISOString()

/**
 * The library's reader tries every byte string of a certificate for nested DER, and throws inside
 * where there is none: a tenth of a verification went into stacks that nobody reads.
 */
const withoutStacks = <T>(work: () => T): T => {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return work()
  } finally {
    Error.stackTraceLimit = before
  }
}

/**
 * Accepts when one of the roots accepts that may speak for who signed. `artifact` is needed for
 * bundles over a bare message, or `content`, which verifies the signature without it; npm's are all
 * DSSE envelopes. Throws a finding, or whatever the libraries throw.
 */
export const verifyBundle = (
  verifier: BundleVerifier,
  bundle: Bundle,
  over: Signed = {},
): VerifiedBundle => {
  const { signedAt, certificate } = verifyTimeless(verifier, bundle, over)
  if (signedAt === undefined) return unverified('Nobody tells when the bundle was signed.')
  return { signedAt, ...(certificate && { certificate }) }
}

/** The same, where a verifier that is `timeless` may take what nobody tells the time of. */
export const verifyTimeless = (
  { verifiers, scopes, remember }: BundleVerifier,
  bundle: Bundle,
  { artifact, content }: Signed = {},
): Omit<VerifiedBundle, 'signedAt'> & Partial<VerifiedBundle> => {
  const needs = bundle.content.$case === 'messageSignature'
  if (needs && artifact === undefined && content === undefined)
    unverified('The bundle signs a file that is not here.')
  const bytes = artifact === undefined ? undefined : Buffer.from(artifact)
  const read = withoutStacks(() => toSignedEntity(bundle, bytes))
  const entity = content === undefined ? read : { ...read, signature: content }
  const certificate = certificateOf(bundle, entity)
  if (remember && certificate !== undefined) rememberLeaf(certificate)
  let worst: unknown
  for (const [i, verifier] of verifiers.entries()) {
    try {
      verifier.verify(entity)
      checkScope(scopes[i] ?? {}, certificate)
      const signedAt = timesOf(entity).toSorted((a, b) => (a.time < b.time ? -1 : 1))[0]
      if (signedAt === undefined && certificate !== undefined)
        return unverified('Nobody tells when the bundle was signed.')
      return { ...(signedAt && { signedAt }), ...(certificate && { certificate }) }
    } catch (error) {
      if (worst === undefined || depthOf(error) > depthOf(worst)) worst = error
    }
  }
  throw worst ?? new Error('There is no trusted root.')
}
