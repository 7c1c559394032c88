/** A registry's own signing keys: ECDSA P-256, in both forms npm's registry publishes them. */
import { createHash, sign, type KeyObject } from 'node:crypto'
import { p256 } from './authority.ts'

export type KeyUsage = 'npm:signatures' | 'npm:attestations'

export type LocalKey = {
  /** `SHA256:` and the digest of the SubjectPublicKeyInfo, base64 without padding. */
  readonly keyId: string
  readonly usages: readonly KeyUsage[]
  /** ISO 8601. */
  readonly validFrom: string
  readonly validUntil?: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export type KeyOptions = {
  readonly usages?: readonly KeyUsage[]
  readonly validFrom?: string
  readonly validUntil?: string
  /** Pretends to be another key. */
  readonly keyId?: string
}

/** The TUF target `<registry>/keys.json`. */
export type KeysTarget = {
  readonly keys: readonly {
    readonly keyId: string
    readonly keyUsage: KeyUsage
    readonly publicKey: {
      readonly rawBytes: string
      readonly keyDetails: 'PKIX_ECDSA_P256_SHA_256'
      readonly validFor: { readonly start: string; readonly end?: string }
    }
  }[]
}

/** The answer of `/-/npm/v1/keys`, which knows no usages. */
export type KeysEndpoint = {
  readonly keys: readonly {
    readonly expires: string | null
    readonly keyid: string
    readonly keytype: 'ecdsa-sha2-nistp256'
    readonly scheme: 'ecdsa-sha2-nistp256'
    readonly key: string
  }[]
}

export const spki = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' })

export const newKey = (options: KeyOptions = {}): LocalKey => {
  const { publicKey, privateKey } = p256()
  const digest = createHash('sha256').update(spki(publicKey)).digest('base64')
  return {
    keyId: options.keyId ?? `SHA256:${digest.replace(/=+$/, '')}`,
    usages: options.usages ?? ['npm:signatures', 'npm:attestations'],
    validFrom: options.validFrom ?? '2021-01-01T00:00:00.000Z',
    ...(options.validUntil === undefined ? {} : { validUntil: options.validUntil }),
    publicKey,
    privateKey,
  }
}

export const keysTarget = (keys: readonly LocalKey[]): KeysTarget => ({
  keys: keys.flatMap(key =>
    key.usages.map(keyUsage => ({
      keyId: key.keyId,
      keyUsage,
      publicKey: {
        rawBytes: spki(key.publicKey).toString('base64'),
        keyDetails: 'PKIX_ECDSA_P256_SHA_256' as const,
        validFor: {
          start: key.validFrom,
          ...(key.validUntil === undefined ? {} : { end: key.validUntil }),
        },
      },
    })),
  ),
})

export const keysEndpoint = (keys: readonly LocalKey[]): KeysEndpoint => ({
  keys: keys.map(key => ({
    expires: key.validUntil ?? null,
    keyid: key.keyId,
    keytype: 'ecdsa-sha2-nistp256',
    scheme: 'ecdsa-sha2-nistp256',
    key: spki(key.publicKey).toString('base64'),
  })),
})

/** A registry signature over `name@version:integrity` (npm documentation, "About registry signatures"). */
export const registrySignature = (
  key: LocalKey,
  name: string,
  version: string,
  integrity: string,
) => ({
  keyid: key.keyId,
  sig: sign('sha256', Buffer.from(`${name}@${version}:${integrity}`), key.privateKey).toString(
    'base64',
  ),
})
