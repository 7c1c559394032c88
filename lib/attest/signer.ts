/**
 * Signing, with a key or keylessly: in-toto statements in DSSE envelopes and files, into sigstore
 * bundles v0.3 with a log entry and timestamps where services for that are named.
 */
import { createHash } from 'node:crypto'
import {
  bundleToJSON,
  envelopeToJSON,
  toDSSEBundle,
  toMessageSignatureBundle,
  type Bundle,
  type SerializedBundle,
} from '@sigstore/bundle'
import { dsse } from '@sigstore/core'
import { AttestryError } from '../errors.ts'
import { certify, type Certified } from './fulcio.ts'
import { logEntry, type Log, type Signed } from './rekor.ts'
import { checkServiceUrl, serviceLimits, type ServiceLimits } from './service.ts'
import type { SigningKey } from './signing-key.ts'
import { timestamp } from './timestamp.ts'

export type SignerOptions = (
  | { readonly key: SigningKey }
  | {
      readonly fulcio: string
      /** Asked for each certificate. */
      readonly token: () => Promise<string>
      /** What the token must be for; `undefined`: whatever it says. */
      readonly audience: string | undefined
    }
) & {
  readonly log?: Log
  /** RFC 3161 authorities, each of which stamps the signature. */
  readonly timestamps?: readonly string[]
  readonly limits?: ServiceLimits
  readonly now?: () => Date
}

export type Signer = {
  /** For people: `key SHA256:…`, or `whoever the identity token names, by https://fulcio…`. */
  readonly who: string
  /** Where a key signs; its `sign` makes raw signatures, its `keyId` names it. */
  readonly key?: SigningKey
  /** Throws ESIGNIDENTITY or ESIGNSERVICE; nothing is retried. */
  signStatement(statement: object): Promise<SerializedBundle>
  /** The signature over a file's SHA-256. */
  signFile(bytes: Uint8Array): Promise<SerializedBundle>
}

export const statementPayload = 'application/vnd.in-toto+json'

/** A certificate serves for several signatures while it has this many milliseconds left. */
const CERTIFICATE_LEFT = 3 * 60_000

const certifying = (
  options: Extract<SignerOptions, { readonly fulcio: string }>,
  limits: ServiceLimits,
  now: () => Date,
): (() => Promise<Certified>) => {
  let held: Promise<Certified> | undefined
  const fresh = ({ certificate }: Certified) =>
    certificate.validToDate.getTime() - now().getTime() >= CERTIFICATE_LEFT
  return async () => {
    const before = await held?.catch(() => undefined)
    if (before !== undefined && fresh(before)) return before
    held = options
      .token()
      .then(token => certify(options.fulcio, token, options.audience, limits, now()))
    return held
  }
}

type With = { readonly key: SigningKey; readonly certificate?: Certified['certificate'] }

const materialOf = ({ key, certificate }: With) =>
  certificate === undefined ? { keyHint: key.keyId } : { certificate: certificate.raw }

const verifierOf = ({ key, certificate }: With): Signed['verifier'] =>
  certificate === undefined
    ? { kind: 'key', der: key.spki, pem: key.publicKey }
    : { kind: 'certificate', der: certificate.raw, pem: certificate.toString() }

/** Throws EUSAGE for addresses that cannot be used, and for a keyless signer without a log. */
export const openSigner = (options: SignerOptions): Signer => {
  const { log, timestamps = [], limits = serviceLimits, now = () => new Date() } = options
  if ('fulcio' in options) {
    checkServiceUrl('Fulcio', options.fulcio)
    if (log === undefined)
      throw new AttestryError(
        'EUSAGE',
        'A keyless signature needs a transparency log: without one nobody could tell when it was made, nor its owner see it.',
      )
  }
  if (log) checkServiceUrl('Rekor', log.url)
  for (const url of timestamps) checkServiceUrl('the timestamp authority', url)
  const material: () => Promise<With> =
    'fulcio' in options
      ? certifying(options, limits, now)
      : () => Promise.resolve({ key: options.key })

  /** What others say of a signature, put beside it. */
  const witnessed = async (
    bundle: Bundle,
    signature: Buffer,
    signed: Signed,
  ): Promise<SerializedBundle> => {
    const [entry, ...stamps] = await Promise.all([
      log && logEntry(log, signed, limits),
      ...timestamps.map(url => timestamp(url, signature, limits)),
    ])
    const { verificationMaterial } = bundle
    return bundleToJSON({
      ...bundle,
      verificationMaterial: {
        ...verificationMaterial,
        tlogEntries: entry ? [entry] : [],
        timestampVerificationData: {
          rfc3161Timestamps: stamps.map(signedTimestamp => ({ signedTimestamp })),
        },
      },
    })
  }

  return {
    who:
      'fulcio' in options
        ? `whoever the identity token names, certified by ${options.fulcio}`
        : `key ${options.key.keyId}`,
    ...('key' in options && { key: options.key }),
    signStatement: async statement => {
      const by = await material()
      const artifact = Buffer.from(JSON.stringify(statement))
      const signature = by.key.sign(dsse.preAuthEncoding(statementPayload, artifact))
      const bundle = toDSSEBundle({
        artifact,
        artifactType: statementPayload,
        signature,
        ...materialOf(by),
      })
      const envelope = envelopeToJSON(bundle.content.dsseEnvelope)
      const content = { kind: 'dsse' as const, envelope }
      return witnessed(bundle, signature, { content, verifier: verifierOf(by) })
    },
    signFile: async bytes => {
      const by = await material()
      const digest = createHash('sha256').update(bytes).digest()
      const signature = by.key.sign(bytes)
      const bundle = toMessageSignatureBundle({ digest, signature, ...materialOf(by) })
      const content = { kind: 'message' as const, digest, signature }
      return witnessed(bundle, signature, { content, verifier: verifierOf(by) })
    },
  }
}
