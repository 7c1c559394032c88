/**
 * The strings in a Fulcio certificate: extensions 1.3.6.1.4.1.57264.1.1 to .24 and the subject
 * alternative name (fulcio docs/oid-info.md). Strict: whatever could be read in two ways is refused.
 */
import type { ASN1Obj } from '@sigstore/core'
import type { SigningCertificate } from './bundle.ts'
import { quote, refuse } from './finding.ts'

const fulcio = '1.3.6.1.4.1.57264.1.'
const subjectAltName = '2.5.29.17'

const otherName = 0
const rfc822Name = 1
const uri = 6
const utf8String = 0x0c

const bad = (detail: string, found?: string): never =>
  refuse('INVALID_ATTESTATION', detail, { npmCode: 'EATTESTATIONVERIFY', found })

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A name with a line break or the like in it could look like another one to people. */
const printable = (bytes: Uint8Array, what: string): string => {
  const text = utf8.decode(bytes)
  return /[\p{Cc}\p{Zl}\p{Zp}]/u.test(text) || text === ''
    ? bad(`The certificate's ${what} is not plain text.`, quote(text))
    : text
}

/** One DER UTF8String that fills the bytes exactly, its length in the shortest form (X.690 10.1). */
const derUtf8 = (der: Uint8Array, what: string): string => {
  const [tag, first = 0] = der
  const lengthBytes = first < 0x80 ? 0 : first - 0x80
  let length = lengthBytes === 0 ? first : 0
  for (const byte of der.subarray(2, 2 + lengthBytes)) length = length * 256 + byte
  const shortest = lengthBytes === 0 || (length >= 0x80 && length >= 256 ** (lengthBytes - 1))
  const whole = der.length === 2 + lengthBytes + length
  if (tag !== utf8String || lengthBytes > 3 || !shortest || !whole)
    bad(`The certificate's ${what} is not a DER UTF8String.`)
  return printable(der.subarray(2 + lengthBytes), what)
}

const last = <T>(list: readonly T[]): T | undefined => list[list.length - 1]

const subject = (names: readonly ASN1Obj[]) => {
  const [name, ...more] = names
  if (name === undefined || more.length > 0)
    return bad(`The certificate has ${names.length} subject alternative names; wanted one.`)
  if (name.tag.isContextSpecific(uri))
    return { type: 'uri' as const, value: printable(name.value, 'subject') }
  if (name.tag.isContextSpecific(rfc822Name))
    return { type: 'email' as const, value: printable(name.value, 'subject') }
  const [type, wrapped] = name.subs
  if (name.tag.isContextSpecific(otherName) && type?.toOID() === `${fulcio}7`) {
    const inner = wrapped?.subs[0]?.toDER()
    if (inner !== undefined)
      return { type: 'other' as const, value: derUtf8(inner, 'other name (.7)') }
  }
  return bad('The certificate names its subject in a way that Fulcio does not.')
}

export type CertificateFields = {
  readonly subject: { readonly type: 'uri' | 'email' | 'other'; readonly value: string }
  /** By the last number of the extension's object identifier, 1 to 24 without 7. */
  readonly extensions: ReadonlyMap<number, string>
}

/** Throws a finding, or what the parser throws. */
export const certificateFields = ({
  der,
  parsed: certificate,
}: SigningCertificate): CertificateFields => {
  // the library verifies the re-encoded certificate: what is read here must be the same bytes
  if (!certificate.root.toDER().equals(der)) bad('The certificate is not in canonical DER.')

  const seen = new Set<string>()
  const extensions = new Map<number, string>()
  let names: readonly ASN1Obj[] = []
  for (const extension of certificate.extensions) {
    const oid = extension.subs[0]?.toOID() ?? ''
    const value = last(extension.subs)
    if (value === undefined || seen.has(oid))
      return bad('The certificate has the same extension twice, or an empty one.', oid)
    seen.add(oid)
    if (oid === subjectAltName) names = value.subs[0]?.subs ?? []
    if (!oid.startsWith(fulcio)) continue
    const arc = Number(oid.slice(fulcio.length))
    if (arc >= 1 && arc <= 6) extensions.set(arc, printable(value.value, `extension .${arc}`))
    if (arc >= 8 && arc <= 24) extensions.set(arc, derUtf8(value.value, `extension .${arc}`))
  }
  return { subject: subject(names), extensions }
}
