/** What a public key is called here: by its own bytes, so that no two keys share a name. */
import { createHash, createPublicKey } from 'node:crypto'

/** `SHA256:` and the digest of the SubjectPublicKeyInfo (DER), base64 without padding: npm's form. */
export const keyIdOf = (spki: Uint8Array): string =>
  `SHA256:${createHash('sha256').update(spki).digest('base64').replace(/=+$/, '')}`

export const keyIdPattern = /^SHA256:[A-Za-z0-9+/]{43}$/

export type PublicKey = { readonly keyId: string; readonly spki: Buffer }

/** Reads PEM; throws a sentence unless it is one public ECDSA key on P-256. A private key is refused. */
export const readPublicKey = (pem: string): PublicKey => {
  if (pem.includes('PRIVATE KEY-----'))
    throw new Error('it holds a private key; wanted the public one')
  const read = () => {
    try {
      return createPublicKey({ key: pem, format: 'pem' })
    } catch {
      throw new Error('it is no public key in PEM')
    }
  }
  const key = read()
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new Error(`it is a key of type ${key.asymmetricKeyType}; wanted ECDSA on P-256`)
  const spki = key.export({ format: 'der', type: 'spki' })
  return { keyId: keyIdOf(spki), spki }
}
