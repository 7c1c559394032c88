/**
 * Certificate hierarchies of any shape, honest or not, and bundles signed under them, made in this
 * process: what the local sigstore's one authority would never issue. Logged in a transparency log
 * and a certificate log of their own, so that nothing but the certificates decides.
 */
import { createHash, randomBytes, sign, webcrypto } from 'node:crypto'
import { createRequire } from 'node:module'
import { X509Certificate } from '@sigstore/core'
import { p256, validity } from '../support/sigstore/authority.ts'
import { preAuthEncoding } from '../support/sigstore/bundle.ts'
import { entryBody } from '../support/sigstore/log-entry.ts'
import { githubCertificate } from '../support/sigstore/publisher.ts'
import { spki } from '../support/sigstore/registry-keys.ts'

const fromMock = createRequire(createRequire(import.meta.url).resolve('@sigstore/mock'))
fromMock('reflect-metadata')
export const x509 = fromMock('@peculiar/x509') as typeof import('@peculiar/x509')
x509.cryptoProvider.set(webcrypto)

type Extension = InstanceType<typeof x509.Extension>
type Span = { readonly notBefore?: Date; readonly notAfter?: Date }

const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }
const serial = () => `4d${randomBytes(15).toString('hex')}`
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest()

export const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])

export type Authority = {
  readonly name: string
  readonly keys: webcrypto.CryptoKeyPair
  readonly der: Buffer
  /** Subject key identifier, hex. */
  readonly keyId: string
}

export type AuthorityOptions = Span & {
  /** Default: signs itself. */
  readonly issuer?: Authority
  readonly keys?: webcrypto.CryptoKeyPair
  /** Claimed whatever the key is. */
  readonly keyId?: string
  /** `false`: the certificate does not say that it is an authority. */
  readonly ca?: boolean
  readonly path?: number
  /** `false`: may sign no certificates. */
  readonly certSign?: boolean
  readonly extra?: readonly Extension[]
}

export const authority = async (
  name: string,
  options: AuthorityOptions = {},
): Promise<Authority> => {
  const { ca = true, path, certSign = true, extra = [], issuer } = options
  const keys = options.keys ?? (await newKeys())
  const own = await x509.SubjectKeyIdentifierExtension.create(keys.publicKey)
  const keyId = options.keyId ?? own.keyId
  const usage = certSign ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: name,
    issuer: issuer?.name ?? name,
    notBefore: options.notBefore ?? validity.notBefore,
    notAfter: options.notAfter ?? validity.notAfter,
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [
      ...(ca ? [new x509.BasicConstraintsExtension(true, path, true)] : []),
      new x509.KeyUsagesExtension(usage, true),
      new x509.SubjectKeyIdentifierExtension(keyId),
      new x509.AuthorityKeyIdentifierExtension(issuer?.keyId ?? keyId),
      ...extra,
    ],
  })
  return { name, keys, der: Buffer.from(certificate.rawData), keyId }
}

export type LeafOptions = Span & {
  /** Adds these, and leaves out what they replace (by object identifier). */
  readonly extensions?: readonly Extension[]
  /** How many proofs of the certificate log; default 1. */
  readonly scts?: number
  /** Changes each of them before the certificate is signed. */
  readonly proof?: (sct: Buffer) => Buffer
  /** The certificate itself, after everything. */
  readonly tamper?: (der: Buffer) => Buffer
  /** What follows the leaf in the bundle's chain; default nothing. */
  readonly chain?: readonly Authority[]
  /** Milliseconds since the epoch, of the log entry and both of the leaf's ends; default now. */
  readonly signedAt?: number
  /** Uses this certificate instead of issuing one. */
  readonly der?: Buffer
}

export type CertificateLab = {
  readonly bundle: (issuer: Authority, options?: LeafOptions) => Promise<object>
  /** A trusted root; each chain is one authority, its root last. */
  readonly trustedRoot: (
    chains: readonly (readonly Buffer[])[],
    validFor?: { readonly start: string; readonly end?: string },
  ) => object
}

const u16 = (n: number) => Buffer.from([n >> 8, n & 255])

export const openCertificateLab = (): CertificateLab => {
  const ct = p256()
  const log = p256()
  const ctId = sha256(spki(ct.publicKey))
  const logId = sha256(spki(log.publicKey))

  /** RFC 6962 3.2, of a certificate that has everything but the proof. */
  const sct = (precertificate: Uint8Array, issuerKey: Buffer, at: number) => {
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(at))
    const tbs = X509Certificate.parse(Buffer.from(precertificate)).tbsCertificate.toDER()
    const size = Buffer.from([tbs.length >> 16, (tbs.length >> 8) & 255, tbs.length & 255])
    const signed = [Buffer.from([0, 0]), time, u16(1), sha256(issuerKey), size, tbs, u16(0)]
    const signature = sign('sha256', Buffer.concat(signed), ct.privateKey)
    const head = [Buffer.from([0]), ctId, time, u16(0), Buffer.from([4, 3])]
    return Buffer.concat([...head, u16(signature.length), signature])
  }

  const issue = async (
    issuer: Authority,
    { extensions = [], scts = 1, proof: alter = own => own, ...options }: LeafOptions,
    publicKey: Buffer,
    at: number,
  ): Promise<Buffer> => {
    const imported = await webcrypto.subtle.importKey(
      'spki',
      publicKey,
      { name: 'ECDSA', namedCurve: 'P-256' },
      true,
      ['verify'],
    )
    const { san, extensions: arcs } = githubCertificate({ repository: 'acme/widget' })
    const replaced = new Set(extensions.map(({ type }) => type))
    const own: Extension[] = [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning]),
      await x509.SubjectKeyIdentifierExtension.create(imported),
      new x509.AuthorityKeyIdentifierExtension(issuer.keyId),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: san.value }], true),
      ...arcs
        .filter(({ raw }) => raw === true)
        .map(
          ({ oid, value }) =>
            new x509.Extension(`1.3.6.1.4.1.57264.1.${oid}`, false, Buffer.from(value)),
        ),
    ]
    const parameters = {
      serialNumber: serial(),
      subject: '',
      issuer: issuer.name,
      notBefore: options.notBefore ?? new Date(at - 60_000),
      notAfter: options.notAfter ?? new Date(at + 540_000),
      signingAlgorithm: algorithm,
      publicKey: imported,
      signingKey: issuer.keys.privateKey,
      extensions: [...own.filter(({ type }) => !replaced.has(type)), ...extensions],
    }
    const pre = await x509.X509CertificateGenerator.create(parameters)
    if (scts === 0) return Buffer.from(pre.rawData)
    const issuerKey = Buffer.from(
      await webcrypto.subtle.exportKey('spki', issuer.keys.publicKey),
    )
    const proofs = Array.from({ length: scts }, () => {
      const proof = alter(sct(new Uint8Array(pre.rawData), issuerKey, at))
      return Buffer.concat([u16(proof.length), proof])
    })
    const list = Buffer.concat([u16(Buffer.concat(proofs).length), ...proofs])
    const size = list.length > 127 ? [0x82, list.length >> 8, list.length & 255] : [list.length]
    const short = list.length > 127 && list.length < 256 ? [0x81, list.length] : size
    const octets = Buffer.concat([Buffer.from([0x04, ...short]), list])
    const whole = await x509.X509CertificateGenerator.create({
      ...parameters,
      extensions: [
        ...parameters.extensions,
        new x509.Extension('1.3.6.1.4.1.11129.2.4.2', false, octets),
      ],
    })
    return Buffer.from(whole.rawData)
  }

  return {
    bundle: async (issuer, options = {}) => {
      const at = Math.floor((options.signedAt ?? Date.now()) / 1000) * 1000
      const keys = p256()
      const issued = options.der ?? (await issue(issuer, options, spki(keys.publicKey), at))
      const leaf = options.tamper?.(issued) ?? issued
      const payload = Buffer.from('{}')
      const payloadType = 'application/vnd.in-toto+json'
      const signature = sign('sha256', preAuthEncoding(payloadType, payload), keys.privateKey)
      const envelope = {
        payload: payload.toString('base64'),
        payloadType,
        signatures: [{ sig: signature.toString('base64'), keyid: '' }],
      }
      const body = Buffer.from(
        JSON.stringify(entryBody('dsse', envelope, { kind: 'certificate', der: leaf })),
      ).toString('base64')
      // in the order of their names, as the log signs them
      const entry = {
        body,
        integratedTime: at / 1000,
        logID: logId.toString('hex'),
        logIndex: 1,
      }
      const promise = sign('sha256', Buffer.from(JSON.stringify(entry)), log.privateKey)
      return {
        mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
        verificationMaterial: {
          x509CertificateChain: {
            certificates: [leaf, ...(options.chain ?? []).map(({ der }) => der)].map(der => ({
              rawBytes: der.toString('base64'),
            })),
          },
          tlogEntries: [
            {
              logIndex: '1',
              logId: { keyId: logId.toString('base64') },
              kindVersion: { kind: 'dsse', version: '0.0.1' },
              integratedTime: String(at / 1000),
              inclusionPromise: { signedEntryTimestamp: promise.toString('base64') },
              canonicalizedBody: body,
            },
          ],
          timestampVerificationData: { rfc3161Timestamps: [] },
        },
        dsseEnvelope: envelope,
      }
    },
    trustedRoot: (chains, validFor = { start: validity.notBefore.toISOString() }) => {
      const instance = (key: Buffer, baseUrl: string) => ({
        baseUrl,
        hashAlgorithm: 'SHA2_256',
        publicKey: {
          rawBytes: key.toString('base64'),
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          validFor: { start: validity.notBefore.toISOString() },
        },
        logId: { keyId: sha256(key).toString('base64') },
      })
      return {
        mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
        tlogs: [instance(spki(log.publicKey), 'http://127.0.0.1')],
        ctlogs: [instance(spki(ct.publicKey), 'http://127.0.0.1')],
        certificateAuthorities: chains.map(chain => ({
          uri: 'http://127.0.0.1',
          subject: { organization: 'lab', commonName: 'lab' },
          certChain: { certificates: chain.map(der => ({ rawBytes: der.toString('base64') })) },
          validFor,
        })),
        timestampAuthorities: [],
      }
    },
  }
}
