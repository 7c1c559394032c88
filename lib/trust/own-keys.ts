/**
 * Keys and certificate chains from PEM files as a trusted_root.json (sigstore protobuf-specs,
 * sigstore_trustroot.proto), the same that Policy Controller's `sigstoreKeys` holds.
 */
import { createHash, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import { AttestryError, messageOf } from '../errors.ts'
import { readBounded } from './files.ts'
import type { OwnAuthority, OwnKeys, OwnLog, Validity } from './source.ts'

const refuse = (where: string, what: string, cause?: unknown): never => {
  throw new AttestryError('ETRUST', `${where}: ${what}`, { cause })
}

const blocks = (pem: string, label: string): readonly string[] =>
  pem.match(new RegExp(`-----BEGIN ${label}-----[\\s\\S]*?-----END ${label}-----`, 'g')) ?? []

const details: Readonly<Record<string, string>> = {
  prime256v1: 'PKIX_ECDSA_P256_SHA_256',
  secp384r1: 'PKIX_ECDSA_P384_SHA_384',
  secp521r1: 'PKIX_ECDSA_P521_SHA_512',
}

const detailsOf = (key: KeyObject, where: string): string => {
  const { asymmetricKeyType: type, asymmetricKeyDetails } = key
  const { namedCurve = '', modulusLength = 0 } = asymmetricKeyDetails ?? {}
  if (type === 'ed25519') return 'PKIX_ED25519'
  const known = type === 'ec' ? details[namedCurve] : undefined
  return (
    known ??
    refuse(
      where,
      `it is a key of kind ${type ?? 'unknown'} ${namedCurve || modulusLength}; wanted ECDSA on P-256, P-384 or P-521, or Ed25519`,
    )
  )
}

const ed25519Length = 32

/**
 * RFC 6962 names a log by the SHA-256 of its key, and so does Rekor v1. A log that signs its
 * checkpoints with Ed25519 is named after its host as well (C2SP signed-note).
 */
const logIdOf = (key: KeyObject, der: Buffer, url: string | undefined): string => {
  const hash = createHash('sha256')
  if (key.asymmetricKeyType !== 'ed25519' || url === undefined)
    return hash.update(der).digest('base64')
  const { host, pathname } = new URL(url)
  const name = `${host}${pathname.replace(/\/$/, '')}`
  return hash.update(`${name}\n\u0001`).update(der.subarray(-ed25519Length)).digest('base64')
}

const periodOf = ({ from, until }: Validity, start: string) => ({
  start: from ?? start,
  ...(until !== undefined && { end: until }),
})

const logOf = async ({ key: file, url, ...validity }: OwnLog): Promise<object> => {
  const pem = (await readBounded(file)).toString('utf8')
  const found = blocks(pem, 'PUBLIC KEY')
  if (found.length !== 1 || found[0] === undefined)
    return refuse(file, `it has ${found.length} public keys in PEM form; wanted one`)
  if (validity.from === undefined)
    return refuse(file, 'its key has no start of validity; wanted from, an ISO 8601 time')
  try {
    const key = createPublicKey(found[0])
    const der = key.export({ format: 'der', type: 'spki' })
    return {
      baseUrl: url ?? '',
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: der.toString('base64'),
        keyDetails: detailsOf(key, file),
        validFor: periodOf(validity, validity.from),
      },
      logId: { keyId: logIdOf(key, der, url) },
    }
  } catch (error) {
    throw error instanceof AttestryError
      ? error
      : refuse(file, `its public key cannot be read: ${messageOf(error)}`, error)
  }
}

/** Each certificate is signed by the next, and the last by itself: a chain in another order proves nothing. */
const checkChain = (chain: readonly X509Certificate[], file: string): void => {
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1] ?? certificate
    if (!certificate.ca && chain.length - 1 === i)
      refuse(file, `certificate ${i + 1} is not one of a certificate authority`)
    if (!certificate.verify(issuer.publicKey))
      refuse(
        file,
        issuer === certificate
          ? 'its last certificate is not signed by itself; wanted the root at the end'
          : `certificate ${i + 1} is not signed by certificate ${i + 2}; wanted the root at the end`,
      )
  }
}

const authorityOf = async ({
  certificates: file,
  ...validity
}: OwnAuthority): Promise<object> => {
  const pem = (await readBounded(file)).toString('utf8')
  const found = blocks(pem, 'CERTIFICATE')
  if (found.length === 0) refuse(file, 'it has no certificate in PEM form')
  try {
    const chain = found.map(block => new X509Certificate(block))
    checkChain(chain, file)
    const starts = chain.map(({ validFromDate }) => validFromDate.getTime())
    const ends = chain.map(({ validToDate }) => validToDate.getTime())
    return {
      subject: { organization: '', commonName: chain.at(-1)?.subject ?? '' },
      uri: '',
      certChain: {
        certificates: chain.map(({ raw }) => ({ rawBytes: raw.toString('base64') })),
      },
      validFor: {
        end: new Date(Math.min(...ends)).toISOString(),
        ...periodOf(validity, new Date(Math.max(...starts)).toISOString()),
      },
    }
  } catch (error) {
    throw error instanceof AttestryError
      ? error
      : refuse(file, `a certificate in it cannot be read: ${messageOf(error)}`, error)
  }
}

/** Throws ETRUST naming the file and what is wrong with it. */
export const ownRoot = async (keys: OwnKeys): Promise<object> => {
  const each = <A, B>(list: readonly A[] | undefined, make: (one: A) => Promise<B>) =>
    Promise.all((list ?? []).map(make))
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: await each(keys.tlogs, logOf),
    certificateAuthorities: await each(keys.certificateAuthorities, authorityOf),
    ctlogs: await each(keys.ctlogs, logOf),
    timestampAuthorities: await each(keys.timestampAuthorities, authorityOf),
  }
}
