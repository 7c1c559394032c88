/** Who signed what an entry of Rekor v1 is about: read from the certificates it keeps, unverified. */
import { createHash, X509Certificate } from 'node:crypto'

export type EntrySigner = {
  /** Subject alternative name, as the certificate spells it. */
  readonly subject?: string
  /** Fulcio's 1.3.6.1.4.1.57264.1.1, else .1.8. */
  readonly issuer?: string
  /** SHA-256 of the PEM, hex. */
  readonly key: string
}

const oidPrefix = Buffer.from('060a2b0601040183bf3001', 'hex')

/** The extension's value: raw text for .1, a DER UTF8String for .8. */
const extension = (der: Buffer, last: number): string | undefined => {
  const at = der.indexOf(Buffer.concat([oidPrefix, Buffer.of(last)]))
  const octets = at + oidPrefix.length + 1
  if (at < 0 || der[octets] !== 0x04) return undefined
  const length = der[octets + 1] ?? 0
  if (length > 127) return undefined
  const value = der.subarray(octets + 2, octets + 2 + length)
  return (value[0] === 0x0c ? value.subarray(2) : value).toString('utf8')
}

const signerOf = (base64: unknown): readonly EntrySigner[] => {
  if (typeof base64 !== 'string') return []
  const pem = Buffer.from(base64, 'base64').toString('utf8')
  const key = createHash('sha256').update(pem).digest('hex')
  if (!pem.includes('BEGIN CERTIFICATE')) return [{ key }]
  try {
    const { raw, subjectAltName } = new X509Certificate(pem)
    const issuer = extension(raw, 8) ?? extension(raw, 1)
    const subject = subjectAltName?.replace(/^(URI|email):/, '')
    return [{ key, ...(subject && { subject }), ...(issuer && { issuer }) }]
  } catch {
    return [{ key }]
  }
}

type Loose = { readonly [key: string]: Loose | undefined }

const list = (value: unknown): readonly Loose[] =>
  Array.isArray(value) ? (value as Loose[]) : []

/** Of `dsse`, `intoto` and `hashedrekord` entries; others keep their signers to themselves. */
export const signersIn = (
  body: Uint8Array,
): { readonly kind: string; readonly signers: readonly EntrySigner[] } => {
  let entry: Loose
  try {
    entry = JSON.parse(Buffer.from(body).toString('utf8')) as Loose
  } catch {
    return { kind: 'unreadable', signers: [] }
  }
  const { spec } = entry
  const kind: unknown = entry['kind']
  const signers = [
    ...list(spec?.['signatures']).map(one => one['verifier']),
    ...list(spec?.['content']?.['envelope']?.['signatures']).map(one => one['publicKey']),
    spec?.['signature']?.['publicKey']?.['content'],
  ].flatMap(signerOf)
  return { kind: typeof kind === 'string' ? kind : 'unknown', signers }
}
