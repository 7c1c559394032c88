/** Signs a payload and gathers the pieces of a sigstore bundle, each of which can be made wrong. */
import { createHash, sign } from 'node:crypto'
import { p256 } from './authority.ts'
import { entryBody, type EntryKind, type Envelope, type VerifierMaterial } from './log-entry.ts'
import type { CertificateRequest } from './publisher.ts'
import { spki, type LocalKey } from './registry-keys.ts'

/** Asks /lab/ of the services; `at` is their clock for this one request. */
export type Lab = <T>(path: string, body: object, at: Date | undefined) => Promise<T>

export type BundleVersion = '0.1' | '0.2' | '0.3'

export type Bundle = {
  mediaType: string
  verificationMaterial: Record<string, unknown> & { tlogEntries: Record<string, unknown>[] }
  dsseEnvelope: {
    payload: string
    payloadType: string
    signatures: { sig: string; keyid: string }[]
  }
}

export type SealOptions = {
  readonly payload: Buffer
  readonly payloadType: string
  readonly signer:
    | { readonly certificate: CertificateRequest; readonly sct: boolean }
    | { readonly key: LocalKey }
  readonly version: BundleVersion
  /** No entry at all with `none`. */
  readonly entry: EntryKind | 'none'
  readonly timestamp: boolean
  readonly signedAt: Date | undefined
}

const mediaTypes = {
  '0.1': 'application/vnd.dev.sigstore.bundle+json;version=0.1',
  '0.2': 'application/vnd.dev.sigstore.bundle+json;version=0.2',
  '0.3': 'application/vnd.dev.sigstore.bundle.v0.3+json',
} as const

/** DSSE's pre-authentication encoding (secure-systems-lab/dsse protocol.md). */
export const preAuthEncoding = (payloadType: string, payload: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `),
    payload,
  ])

/** Bundles v0.1 carry no inclusion proof, as those npm kept from before 2024. */
const trimmed = (entry: Record<string, unknown>, version: BundleVersion) => {
  if (version !== '0.1' || entry.inclusionPromise === undefined) return entry
  const { inclusionProof: _, ...rest } = entry
  return rest
}

export const seal = async (lab: Lab, options: SealOptions): Promise<Bundle> => {
  const { payload, payloadType, signer, version, signedAt } = options
  const keys = 'key' in signer ? signer.key : p256()
  const signature = sign('sha256', preAuthEncoding(payloadType, payload), keys.privateKey)
  const envelope: Envelope = {
    payload: payload.toString('base64'),
    payloadType,
    signatures: [
      { sig: signature.toString('base64'), keyid: 'key' in signer ? signer.key.keyId : '' },
    ],
  }

  let verifier: VerifierMaterial
  let material: Record<string, unknown>
  if ('key' in signer) {
    verifier = { kind: 'key', der: spki(signer.key.publicKey) }
    material = { publicKey: { hint: signer.key.keyId } }
  } else {
    const request = {
      ...signer.certificate,
      sct: signer.sct,
      spki: spki(keys.publicKey).toString('base64'),
    }
    const { chain } = await lab<{ chain: [string, ...string[]] }>(
      'certificate',
      request,
      signedAt,
    )
    verifier = { kind: 'certificate', der: Buffer.from(chain[0], 'base64') }
    // a bundle must not carry the root; npm's old ones carried leaf and intermediate
    material =
      version === '0.3'
        ? { certificate: { rawBytes: chain[0] } }
        : {
            x509CertificateChain: {
              certificates: chain.slice(0, -1).map(rawBytes => ({ rawBytes })),
            },
          }
  }

  const tlogEntries: Record<string, unknown>[] = []
  if (options.entry !== 'none') {
    const body = entryBody(options.entry, envelope, verifier)
    const log = options.entry === 'dsse-v2' ? 2 : 1
    const entry = await lab<Record<string, unknown>>('entry', { version: log, body }, signedAt)
    tlogEntries.push(trimmed(entry, version))
  }
  const rfc3161Timestamps: object[] = []
  if (options.timestamp) {
    const artifactHash = createHash('sha256').update(signature).digest('base64')
    const { stamp } = await lab<{ stamp: string }>('timestamp', { artifactHash }, signedAt)
    rfc3161Timestamps.push({ signedTimestamp: stamp })
  }
  return {
    mediaType: mediaTypes[version],
    verificationMaterial: {
      ...material,
      tlogEntries,
      timestampVerificationData: { rfc3161Timestamps },
    },
    dsseEnvelope: envelope as Bundle['dsseEnvelope'],
  }
}
