/**
 * The certificate authority of the local sigstore: root, intermediate and leaves as Fulcio and the
 * timestamp authority have them. @sigstore/mock has a CA too, but without intermediates, e-mail
 * subjects or a clock.
 */
import { createRequire } from 'node:module'
import { generateKeyPairSync, randomBytes, webcrypto, type KeyObject } from 'node:crypto'
import type { CertificateRequest } from './publisher.ts'

// the X.509 builder that @sigstore/mock brings; asked for from its place, since we do not depend on it
const fromMock = createRequire(createRequire(import.meta.url).resolve('@sigstore/mock'))
fromMock('reflect-metadata')
const x509 = fromMock('@peculiar/x509') as typeof import('@peculiar/x509')
x509.cryptoProvider.set(webcrypto)

/** Everything long-lived in the local sigstore is valid in this span. */
export const validity = {
  notBefore: new Date('2021-01-01T00:00:00Z'),
  notAfter: new Date('2051-01-01T00:00:00Z'),
}

const leafMinutes = 10
const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }
const leafAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const SCT_LIST = '1.3.6.1.4.1.11129.2.4.2'
const FULCIO = '1.3.6.1.4.1.57264.1'

// a leading 4d keeps the integer positive and its encoding minimal
const serial = () => `4d${randomBytes(15).toString('hex')}`
const imported = (spki: Uint8Array) =>
  webcrypto.subtle.importKey('spki', Buffer.from(spki), leafAlgorithm, true, ['verify'])

export type Issuer = {
  readonly name: string
  readonly certificate: InstanceType<typeof x509.X509Certificate>
  readonly keys: webcrypto.CryptoKeyPair
  /** Root last, DER. */
  readonly chain: readonly Buffer[]
}

const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])

const authorityExtensions = async (
  own: webcrypto.CryptoKey,
  issuer: webcrypto.CryptoKey,
  path: number | undefined,
) => [
  new x509.BasicConstraintsExtension(true, path, true),
  new x509.KeyUsagesExtension(
    x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
    true,
  ),
  await x509.SubjectKeyIdentifierExtension.create(own),
  await x509.AuthorityKeyIdentifierExtension.create(issuer),
]

const openRoot = async (name: string): Promise<Issuer> => {
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name,
    ...validity,
    signingAlgorithm: algorithm,
    keys,
    extensions: await authorityExtensions(keys.publicKey, keys.publicKey, undefined),
  })
  return { name, certificate, keys, chain: [Buffer.from(certificate.rawData)] }
}

/** A root and an intermediate below it; leaves are issued by the intermediate. */
export const openAuthority = async (commonName: string): Promise<Issuer> => {
  const root = await openRoot(`CN=${commonName} root,O=local sigstore`)
  const name = `CN=${commonName} intermediate,O=local sigstore`
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: name,
    issuer: root.name,
    ...validity,
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: root.keys.privateKey,
    extensions: await authorityExtensions(keys.publicKey, root.keys.publicKey, 0),
  })
  return { name, certificate, keys, chain: [Buffer.from(certificate.rawData), ...root.chain] }
}

const subject = ({ type, value }: CertificateRequest['san']) => {
  if (type === 'uri')
    return new x509.SubjectAlternativeNameExtension([{ type: 'url', value }], true)
  if (type === 'email') {
    return new x509.SubjectAlternativeNameExtension([{ type: 'email', value }], true)
  }
  // GeneralName otherName [0] { 1.3.6.1.4.1.57264.1.7, [0] UTF8String }
  const der = (tag: number, ...parts: Uint8Array[]) => {
    const content = Buffer.concat(parts)
    if (content.length > 127) throw new Error('an otherName subject has at most 100 bytes here')
    return Buffer.concat([Buffer.from([tag, content.length]), content])
  }
  const oid = der(0x06, Buffer.from('2b0601040183bf300107', 'hex'))
  const names = der(0x30, der(0xa0, oid, der(0xa0, der(0x0c, Buffer.from(value)))))
  return new x509.Extension('2.5.29.17', true, names)
}

const utf8String = (value: string) => {
  const content = Buffer.from(value)
  const n = content.length
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255]
  return Buffer.concat([Buffer.from([0x0c, ...length]), content])
}

/** The list in its OCTET STRING (RFC 6962 3.3); `sct` is one timestamp with its length before it. */
const sctList = (sct: Uint8Array) => {
  const u16 = (n: number) => Buffer.from([n >> 8, n & 255])
  const list = Buffer.concat([u16(sct.length), sct])
  if (list.length > 127 && list.length < 256) {
    return Buffer.concat([Buffer.from([0x04, 0x81, list.length]), list])
  }
  return Buffer.concat([Buffer.from([0x04, list.length]), list])
}

export type CtLog = {
  log(precertificate: ArrayBuffer, issuerId: ArrayBuffer): Promise<ArrayBuffer>
}

/** A Fulcio leaf for ten minutes from `at`; logged in `ctLog` unless there is none. */
export const issueLeaf = async (
  issuer: Issuer,
  request: CertificateRequest & { readonly publicKey: Uint8Array },
  at: Date,
  ctLog: CtLog | undefined,
): Promise<Buffer> => {
  const publicKey = await imported(request.publicKey)
  const parameters = {
    serialNumber: serial(),
    subject: '',
    issuer: issuer.name,
    notBefore: at,
    notAfter: new Date(at.getTime() + leafMinutes * 60_000),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey: issuer.keys.privateKey,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
      subject(request.san),
      ...request.extensions.map(
        ({ oid, value, raw }) =>
          new x509.Extension(
            `${FULCIO}.${oid}`,
            false,
            raw === true ? Buffer.from(value) : utf8String(value),
          ),
      ),
    ],
  }
  if (ctLog !== undefined) {
    const precertificate = await x509.X509CertificateGenerator.create(parameters)
    const spki = await webcrypto.subtle.exportKey('spki', issuer.keys.publicKey)
    const issuerId = await webcrypto.subtle.digest('SHA-256', spki)
    const sct = new Uint8Array(await ctLog.log(precertificate.rawData, issuerId))
    parameters.extensions.push(new x509.Extension(SCT_LIST, false, sctList(sct)))
  }
  return Buffer.from((await x509.X509CertificateGenerator.create(parameters)).rawData)
}

/** The timestamp authority's signing certificate (RFC 3161 2.3: one critical key purpose). */
export const issueTimestamper = async (
  issuer: Issuer,
  publicKey: KeyObject,
): Promise<Buffer> => {
  const key = await imported(publicKey.export({ format: 'der', type: 'spki' }))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: 'CN=timestamps,O=local sigstore',
    issuer: issuer.name,
    ...validity,
    signingAlgorithm: algorithm,
    publicKey: key,
    signingKey: issuer.keys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.timeStamping], true),
      await x509.SubjectKeyIdentifierExtension.create(key),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey),
    ],
  })
  return Buffer.from(certificate.rawData)
}

export const p256 = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
