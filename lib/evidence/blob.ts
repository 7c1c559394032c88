/**
 * Bundles over a file that is no package: a signature over the file itself, or a statement that
 * names its digest. Where only the digest is known the signature is verified over that, which
 * node:crypto has no way to do.
 */
import { createHash, type KeyObject } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import { HashAlgorithm } from '@sigstore/protobuf-specs'
import { toSignedEntity } from '@sigstore/verify'
import { p256 } from '@noble/curves/nist.js'
import {
  verifyBundle,
  type BundleVerifier,
  type SignatureContent,
  type VerifiedBundle,
} from './bundle.ts'
import { refuse } from './finding.ts'
import { envelopeOf, isRecord, statementOf } from './statement.ts'

/** A file's bytes, or its sha256 where that is all there is. */
export type Blob =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'digest'; readonly sha256: Uint8Array }

const algorithms = ['sha256', 'sha384', 'sha512'] as const
type Algorithm = (typeof algorithms)[number]

const named: Partial<Record<HashAlgorithm, Algorithm>> = {
  [HashAlgorithm.SHA2_256]: 'sha256',
  [HashAlgorithm.SHA2_384]: 'sha384',
  [HashAlgorithm.SHA2_512]: 'sha512',
}

/** Hex; undefined where only another digest of the file is known. */
const digestOf = (blob: Blob, algorithm: Algorithm): string | undefined => {
  if (blob.kind === 'bytes') return createHash(algorithm).update(blob.bytes).digest('hex')
  return algorithm === 'sha256' ? Buffer.from(blob.sha256).toString('hex') : undefined
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

const otherFile = (wanted: string, found: string): never =>
  refuse('WRONG_SUBJECT', 'What was signed is another file.', { wanted, found })

/** Signatures of npm and cosign are by keys on P-256 over sha256; others need the file. */
const verifyDigest = (key: KeyObject, signature: Uint8Array, sha256: Uint8Array): boolean => {
  const { crv, x, y } = key.export({ format: 'jwk' })
  if (crv !== 'P-256' || x === undefined || y === undefined)
    return refuse(
      'INVALID_SIGNATURE',
      'A signature by a key of this kind can be verified over the file only, not over its digest.',
      { wanted: 'a key on P-256', found: crv ?? key.asymmetricKeyType },
    )
  const point = Buffer.concat([
    Buffer.from([4]),
    ...[x, y].map(part => Buffer.from(part, 'base64url')),
  ])
  // ECDSA signatures have a low s or a high one; OpenSSL and Fulcio take both
  return p256.verify(signature, sha256, point, { prehash: false, lowS: false, format: 'der' })
}

/** The library's own checks of the log entry, and the signature over the digest in place of the file. */
const contentOf = (bundle: Bundle, sha256: Uint8Array): SignatureContent => {
  const { signature } = toSignedEntity(bundle, Buffer.alloc(0))
  return {
    signature: signature.signature,
    compareSignature: other => signature.compareSignature(other),
    compareDigest: other => signature.compareDigest(other),
    compareSignedDigest: other => signature.compareSignedDigest(other),
    verifySignature: key => verifyDigest(key, signature.signature, sha256),
  }
}

const verifyMessage = (verifiers: BundleVerifier, bundle: Bundle, blob: Blob) => {
  const { content } = bundle
  const told = content.$case === 'messageSignature' && content.messageSignature.messageDigest
  const algorithm = told ? named[told.algorithm] : undefined
  if (!told || algorithm === undefined)
    return refuse('INVALID_ATTESTATION', 'The bundle does not say which digest was signed.')
  const own = digestOf(blob, algorithm)
  if (own === undefined)
    return refuse('WRONG_SUBJECT', 'The bundle names another digest than the one given.', {
      wanted: 'sha256',
      found: algorithm,
    })
  if (own !== hex(told.digest)) otherFile(own, hex(told.digest))
  return blob.kind === 'bytes'
    ? verifyBundle(verifiers, bundle, { artifact: blob.bytes })
    : verifyBundle(verifiers, bundle, { content: contentOf(bundle, blob.sha256) })
}

/** One of the subjects must be the file: by one digest at least, and by no digest another. */
const checkSubjects = (subject: unknown, blob: Blob): void => {
  const subjects: readonly unknown[] = Array.isArray(subject) ? subject : []
  const stated = subjects.map(one => {
    const digest = isRecord(one) && isRecord(one['digest']) ? one['digest'] : {}
    return algorithms.flatMap(algorithm => {
      const own = digestOf(blob, algorithm)
      const found = digest[algorithm]
      return own === undefined || found === undefined ? [] : [{ own, found, algorithm }]
    })
  })
  const is = (digests: (typeof stated)[number]) =>
    digests.length > 0 && digests.every(({ own, found }) => own === found)
  if (stated.some(is)) return
  const first = stated.flat()[0]
  otherFile(
    first?.own ?? digestOf(blob, 'sha256') ?? '',
    typeof first?.found === 'string' ? first.found : 'no digest of it',
  )
}

/** Throws a finding, or what the libraries throw. */
export const verifyBlob = (
  verifiers: BundleVerifier,
  bundle: Bundle,
  blob: Blob,
): VerifiedBundle => {
  if (bundle.content.$case === 'messageSignature') return verifyMessage(verifiers, bundle, blob)
  const verified = verifyBundle(verifiers, bundle)
  checkSubjects(statementOf(envelopeOf(bundle)).subject, blob)
  return verified
}
