/** The bodies a transparency log keeps for a DSSE envelope, as Rekor itself makes them from proposals. */
import { createHash } from 'node:crypto'

export type Envelope = {
  readonly payload: string
  readonly payloadType: string
  readonly signatures: readonly { readonly sig: string; readonly keyid: string }[]
}

export type EntryKind = 'dsse' | 'intoto' | 'dsse-v2'

/** What checks the signature: a certificate or a key, as DER and as PEM. */
export type VerifierMaterial = {
  readonly kind: 'certificate' | 'key'
  readonly der: Buffer
}

export const pem = ({ kind, der }: VerifierMaterial): string => {
  const label = kind === 'certificate' ? 'CERTIFICATE' : 'PUBLIC KEY'
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest()
const hash = (data: Uint8Array | string) => ({
  algorithm: 'sha256',
  value: sha256(data).toString('hex'),
})
const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Rekor v1 `dsse` 0.0.1: hashes only, never the payload. */
const dsse = (envelope: Envelope, verifier: VerifierMaterial) => ({
  apiVersion: '0.0.1',
  kind: 'dsse',
  spec: {
    envelopeHash: hash(JSON.stringify(envelope)),
    payloadHash: hash(Buffer.from(envelope.payload, 'base64')),
    signatures: envelope.signatures.map(({ sig }) => ({
      signature: sig,
      verifier: base64(pem(verifier)),
    })),
  },
})

/** Rekor v1 `intoto` 0.0.2: the signature is base64 twice, and the payload is left out. */
const intoto = (envelope: Envelope, verifier: VerifierMaterial) => ({
  apiVersion: '0.0.2',
  kind: 'intoto',
  spec: {
    content: {
      envelope: {
        payloadType: envelope.payloadType,
        signatures: envelope.signatures.map(({ sig, keyid }) => ({
          ...(keyid === '' ? {} : { keyid }),
          publicKey: base64(pem(verifier)),
          sig: base64(sig),
        })),
      },
      hash: hash(JSON.stringify(envelope)),
      payloadHash: hash(Buffer.from(envelope.payload, 'base64')),
    },
  },
})

/** Rekor v2 `dsse` 0.0.2. */
const dsseV2 = (envelope: Envelope, verifier: VerifierMaterial) => {
  const rawBytes = verifier.der.toString('base64')
  return {
    apiVersion: '0.0.2',
    kind: 'dsse',
    spec: {
      dsseV002: {
        payloadHash: {
          algorithm: 'SHA2_256',
          digest: sha256(Buffer.from(envelope.payload, 'base64')).toString('base64'),
        },
        signatures: envelope.signatures.map(({ sig }) => ({
          content: sig,
          verifier: {
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
            ...(verifier.kind === 'certificate'
              ? { x509Certificate: { rawBytes } }
              : { publicKey: { rawBytes } }),
          },
        })),
      },
    },
  }
}

export const entryBody = (kind: EntryKind, envelope: Envelope, verifier: VerifierMaterial) =>
  kind === 'dsse'
    ? dsse(envelope, verifier)
    : kind === 'intoto'
      ? intoto(envelope, verifier)
      : dsseV2(envelope, verifier)

/**
 * What Rekor v1 keeps of a client's proposal. `dsse` proposals carry the whole envelope and become
 * hashes; `intoto` ones lose their payload; anything else is kept as it is.
 */
export const canonicalProposal = (proposal: {
  readonly kind: string
  readonly spec: {
    readonly proposedContent?: {
      readonly envelope: string
      readonly verifiers: readonly string[]
    }
    readonly content?: { readonly envelope: { readonly payload?: string } }
  }
}): object => {
  const proposed = proposal.spec.proposedContent
  if (proposal.kind === 'dsse' && proposed !== undefined) {
    const envelope = JSON.parse(proposed.envelope) as Envelope
    return {
      apiVersion: '0.0.1',
      kind: 'dsse',
      spec: {
        envelopeHash: hash(proposed.envelope),
        payloadHash: hash(Buffer.from(envelope.payload, 'base64')),
        signatures: envelope.signatures.map(({ sig }, i) => ({
          signature: sig,
          verifier: proposed.verifiers[i],
        })),
      },
    }
  }
  if (proposal.kind === 'intoto' && proposal.spec.content !== undefined) {
    const { payload: _, ...envelope } = proposal.spec.content.envelope
    return { ...proposal, spec: { content: { ...proposal.spec.content, envelope } } }
  }
  return proposal
}

/** A client's request to Rekor v2. */
export type RequestV2 = {
  readonly dsseRequestV002?: {
    readonly envelope: {
      readonly payload: string
      readonly signatures: readonly { readonly sig: string }[]
    }
    readonly verifiers: readonly object[]
  }
  readonly hashedRekordRequestV002?: {
    readonly digest: string
    readonly signature: { readonly content: string; readonly verifier: object }
  }
}

/** What Rekor v2 keeps of it. */
export const canonicalRequestV2 = ({
  dsseRequestV002: dsse,
  hashedRekordRequestV002: message,
}: RequestV2): object => {
  if (message !== undefined) {
    const { digest, signature } = message
    const data = { algorithm: 'SHA2_256', digest }
    return {
      apiVersion: '0.0.2',
      kind: 'hashedrekord',
      spec: { hashedRekordV002: { data, signature } },
    }
  }
  if (dsse === undefined) throw new Error('neither a dsse nor a hashedrekord request')
  const { envelope, verifiers } = dsse
  const digest = sha256(Buffer.from(envelope.payload, 'base64')).toString('base64')
  const signatures = envelope.signatures.map(({ sig }, i) => ({
    content: sig,
    verifier: verifiers[i],
  }))
  const spec = { dsseV002: { payloadHash: { algorithm: 'SHA2_256', digest }, signatures } }
  return { apiVersion: '0.0.2', kind: 'dsse', spec }
}
