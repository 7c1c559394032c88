/**
 * Sigstore bundles v0.1 to v0.3: transparency log (Rekor v1 and v2), timestamps (RFC 3161), Fulcio
 * certificate and signature, by @sigstore/verify. One verifier per trusted root, made once. What
 * was signed, and by whom it should be, is none of this file's business: the library's own check of
 * the subject's name is an unanchored regular expression and is never used.
 */
import { bundleFromJSON, type Bundle } from '@sigstore/bundle'
import { RFC3161Timestamp } from '@sigstore/core'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import {
  toSignedEntity,
  toTrustMaterial,
  VerificationError,
  Verifier,
  type KeyFinderFunc,
  type SignedEntity,
} from '@sigstore/verify'
import type { SigningTime } from '../types.ts'
import { Finding, quote, refuse } from './finding.ts'

export type KeyFinder = KeyFinderFunc

export type BundleVerifier = readonly Verifier[]

export type VerifiedBundle = {
  /** The signing certificate (DER), when it was signed with one. */
  readonly certificate?: Buffer
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

/**
 * `findKey` answers for bundles signed with a key; it gets the bundle's key hint and may throw.
 * The library counts zero timestamps as enough when only its deprecated `tsaThreshold` is given,
 * so every threshold is spelled out.
 */
export const openBundleVerifier = (
  roots: readonly object[],
  findKey: KeyFinder,
): BundleVerifier =>
  roots.map(
    root =>
      new Verifier(toTrustMaterial(TrustedRoot.fromJSON(root), findKey), {
        tlogThreshold: 1,
        ctlogThreshold: 1,
        timestampThreshold: 1,
      }),
  )

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

const certificateOf = ({ verificationMaterial: { content } }: Bundle): Buffer | undefined => {
  switch (content.$case) {
    case 'certificate':
      return Buffer.from(content.certificate.rawBytes)
    case 'x509CertificateChain': {
      const leaf = content.x509CertificateChain.certificates[0]
      return leaf === undefined ? undefined : Buffer.from(leaf.rawBytes)
    }
    case 'publicKey':
      return undefined
  }
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
 * Accepts when one of the roots accepts. `artifact` is needed for bundles over a bare message;
 * npm's are all DSSE envelopes. Throws a finding, or whatever the libraries throw.
 */
export const verifyBundle = (
  verifiers: BundleVerifier,
  bundle: Bundle,
  { artifact }: { readonly artifact?: Uint8Array } = {},
): VerifiedBundle => {
  if (bundle.content.$case === 'messageSignature' && artifact === undefined)
    unverified('The bundle signs a file that is not here.')
  const entity = toSignedEntity(
    bundle,
    artifact === undefined ? undefined : Buffer.from(artifact),
  )
  let worst: unknown
  for (const verifier of verifiers) {
    try {
      verifier.verify(entity)
      const signedAt = timesOf(entity).toSorted((a, b) => (a.time < b.time ? -1 : 1))[0]
      if (signedAt === undefined) return unverified('Nobody tells when the bundle was signed.')
      const certificate = certificateOf(bundle)
      return { signedAt, ...(certificate === undefined ? {} : { certificate }) }
    } catch (error) {
      if (worst === undefined || depthOf(error) > depthOf(worst)) worst = error
    }
  }
  throw worst ?? new Error('There is no trusted root.')
}
