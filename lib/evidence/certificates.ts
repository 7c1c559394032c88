/**
 * Certificates for @sigstore/verify that do no work twice. The library decides everything, as
 * always; what it asks of a certificate is answered from memory where the answer is a function of
 * bytes that cannot change:
 *
 * - a trusted certificate (of the trusted root) keeps what is read from its own bytes, and whether
 *   another trusted certificate, or itself, signed it, for as long as the trusted root is in use;
 * - a bundle's certificate keeps what is read from its own bytes, for that one verification.
 *
 * Nothing depends on a time, and no signature by or over anything of a bundle is remembered.
 */
import { ASN1Obj, X509Certificate } from '@sigstore/core'
import type { TrustMaterial } from '@sigstore/verify'

/** What the library reads from a certificate's bytes alone. */
const readings = [
  'tbsCertificate',
  'notBefore',
  'notAfter',
  'issuer',
  'subject',
  'publicKey',
  'signatureAlgorithm',
  'signatureValue',
  'extensions',
  'extKeyUsage',
  'extBasicConstraints',
  'extAuthorityKeyID',
  'extSubjectKeyID',
  'isCA',
] as const satisfies readonly (keyof X509Certificate)[]

/** Reads each at most once; a reading that throws is not kept, and throws again. */
const rememberReadings = (certificate: X509Certificate): void => {
  const { prototype } = X509Certificate
  for (const name of readings) {
    // a library that has it elsewhere would be answered wrongly
    if (!Object.hasOwn(prototype, name)) throw new Error(`certificates have no ${name}`)
    let kept: { readonly value: unknown } | undefined
    Object.defineProperty(certificate, name, {
      get: () =>
        (kept ??= { value: Reflect.get(prototype, name, certificate) as unknown }).value,
    })
  }
}

const rememberEncoding = (node: ASN1Obj): void => {
  const encode = node.toDER.bind(node)
  let kept: Buffer | undefined
  node.toDER = () => (kept ??= encode())
}

/** Changes the trust material's certificates in place; they must be nobody else's. */
export const rememberTrusted = (material: TrustMaterial): TrustMaterial => {
  const trusted = new Set(
    [...material.certificateAuthorities, ...material.timestampAuthorities].flatMap(
      ({ certChain }) => certChain,
    ),
  )
  for (const certificate of trusted) {
    rememberReadings(certificate)
    const { root } = certificate
    for (const part of [root, ...root.subs]) rememberEncoding(part)
    const verify = certificate.verify.bind(certificate)
    const signedBy = new Map<X509Certificate, boolean>()
    certificate.verify = issuer => {
      const signer = issuer ?? certificate
      // a bundle's certificate is tried every time, even where it claims to be an authority
      if (!trusted.has(signer)) return verify(issuer)
      const known = signedBy.get(signer)
      if (known !== undefined) return known
      const result = verify(issuer)
      signedBy.set(signer, result)
      return result
    }
  }
  return material
}

/** Bytes of the tag and the length before `size` bytes of content (X.690 8.1.3, shortest form). */
const headerSize = (size: number): number => {
  let bytes = 2
  if (size >= 0x80) for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) bytes++
  return bytes
}

const encodedSize = ({ subs, value }: ASN1Obj): number => {
  let size = subs.length === 0 ? value.length : 0
  for (const sub of subs) size += encodedSize(sub)
  return size + headerSize(size)
}

/**
 * Was this tree read from exactly the bytes that it encodes to? Each part's encoding is at most as
 * long as what was read, and shorter where a length was not in its shortest form; so they are the
 * same throughout when the sizes are.
 */
const isCanonical = (root: ASN1Obj, der: Uint8Array): boolean =>
  encodedSize(root) === der.length

/** A part's own bytes, which lie around its value. Only for trees that are canonical. */
const bytesOf = ({ value }: ASN1Obj): Buffer => {
  const header = headerSize(value.length)
  return Buffer.from(value.buffer, value.byteOffset - header, header + value.length)
}

const isExtensions = ({ tag }: ASN1Obj) => tag.isContextSpecific(3)

/** The library takes the certificate-log extension out of a clone's list: that list is the clone's own. */
const cloneOf = ({ root }: X509Certificate): X509Certificate => {
  const copy = ({ tag, value, subs }: ASN1Obj, part: (sub: ASN1Obj) => ASN1Obj) =>
    new ASN1Obj(tag, value, subs.map(part))
  const leave = (part: ASN1Obj) => part
  return new X509Certificate(
    copy(root, part =>
      part === root.subs[0]
        ? copy(part, field =>
            isExtensions(field) ? copy(field, list => copy(list, leave)) : field,
          )
        : part,
    ),
  )
}

/**
 * Changes a bundle's certificate in place, for one verification; `der` is what it was read from.
 * What is no certificate at all, or encoded oddly, is left to the library, which refuses it.
 */
export const rememberLeaf = ({
  parsed: certificate,
  der,
}: {
  readonly parsed: X509Certificate
  readonly der: Uint8Array
}): void => {
  const { root } = certificate
  const [tbs] = root.subs
  if (tbs === undefined || !isCanonical(root, der)) return
  rememberReadings(certificate)
  for (const part of [root, tbs, ...tbs.subs, ...certificate.extensions]) {
    const bytes = bytesOf(part)
    part.toDER = () => bytes
  }
  certificate.clone = () => cloneOf(certificate)
}
