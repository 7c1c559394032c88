/**
 * Private keys for signing: ECDSA on P-256 with SHA-256, the one kind that npm, cosign and every
 * Rekor take. Read from PEM: PKCS#8 (plain, or encrypted with a passphrase), SEC1, and the
 * encrypted format that `cosign generate-key-pair` writes.
 */
import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import { AttestryError, messageOf } from '../errors.ts'
import { keyIdOf } from '../key-id.ts'
import { openCosignKey } from './cosign-key.ts'

export type SigningKey = {
  /** `SHA256:` and the digest of the public key (SubjectPublicKeyInfo, DER), base64 without padding: npm's form. */
  readonly keyId: string
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer
  /** The same as PEM. */
  readonly publicKey: string
  /** ECDSA over the SHA-256 of these bytes, as DER; what npm's registry signatures are made of. */
  sign(data: Uint8Array): Buffer
}

export type KeyFile = {
  /** PEM. */
  readonly text: string
  /** The file's name, for errors. */
  readonly where: string
  /** Asked only where the key is encrypted. */
  readonly passphrase?: () => Promise<string | undefined>
}

export const signingKeyOf = (privateKey: KeyObject): SigningKey => {
  const publicKey = createPublicKey(privateKey)
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return {
    keyId: keyIdOf(spki),
    spki,
    publicKey: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    sign: data => sign('sha256', data, privateKey),
  }
}

const cosignPem =
  /-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END ENCRYPTED/
const encryptedPem = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m

/** Throws ESIGNKEY; no part of the key or of the passphrase is in any message. */
export const readSigningKey = async ({
  text,
  where,
  passphrase,
}: KeyFile): Promise<SigningKey> => {
  const fail = (what: string, cause?: unknown) =>
    new AttestryError('ESIGNKEY', `${where}: ${what}`, { cause, details: { file: where } })
  const cosign = cosignPem.exec(text)?.[1]
  const encrypted = cosign !== undefined || encryptedPem.test(text)
  const secret = encrypted ? await passphrase?.() : undefined
  if (encrypted && secret === undefined)
    throw fail('the key is encrypted and no passphrase was given')
  const read = () => {
    try {
      if (cosign !== undefined)
        return createPrivateKey({
          key: openCosignKey(Buffer.from(cosign, 'base64'), secret ?? ''),
          format: 'der',
          type: 'pkcs8',
        })
      return createPrivateKey({
        key: text,
        format: 'pem',
        ...(secret !== undefined && { passphrase: secret }),
      })
    } catch (error) {
      const code = (error as { readonly code?: string }).code ?? messageOf(error)
      throw fail(
        encrypted
          ? `it cannot be opened (${code}): is the passphrase right?`
          : `wanted a private key as PEM (PKCS#8 or SEC1); found something else (${code})`,
      )
    }
  }
  const key = read()
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
    throw fail(
      `found a key of type ${[type, details?.namedCurve].filter(Boolean).join(' ')}; wanted ECDSA on P-256`,
    )
  }
  return signingKeyOf(key)
}
