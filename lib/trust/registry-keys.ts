/** A registry's signing keys, in either of the two forms npm publishes them. */
import { createPublicKey } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import type { RegistryKey } from '../types.ts'

const refuse = (where: string, what: string, cause?: unknown): never => {
  throw new AttestryError('ETRUST', `${where}: ${what}`, { cause })
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const usages = ['npm:signatures', 'npm:attestations'] as const

const text = (value: unknown, where: string, what: string): string =>
  typeof value === 'string' && value !== ''
    ? value
    : refuse(where, `${what} is ${JSON.stringify(value)}; wanted a string`)

const time = (value: unknown, where: string, what: string): string | undefined => {
  if (value === undefined || value === null) return undefined
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(at))
    return refuse(where, `${what} is ${JSON.stringify(value)}; wanted an ISO 8601 time`)
  return new Date(at).toISOString()
}

/** The only kind npm has: ECDSA on P-256 with SHA-256. */
const spkiOf = (value: unknown, where: string, what: string): string => {
  const spki = text(value, where, what)
  try {
    const key = createPublicKey({
      key: Buffer.from(spki, 'base64'),
      format: 'der',
      type: 'spki',
    })
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return spki
  } catch (error) {
    refuse(where, `${what} is not a public key (SubjectPublicKeyInfo, DER, base64)`, error)
  }
  return refuse(where, `${what} is not an ECDSA key on P-256`)
}

const period = (from: string | undefined, until: string | undefined) => ({
  ...(from === undefined ? {} : { validFrom: from }),
  ...(until === undefined ? {} : { validUntil: until }),
})

/** TUF target form: `{keyId, keyUsage, publicKey: {rawBytes, keyDetails, validFor: {start, end?}}}`. */
const targetKey = (
  key: Record<string, unknown>,
  where: string,
  registry: string | undefined,
): RegistryKey => {
  const usage = usages.find(known => known === key.keyUsage)
  if (usage === undefined)
    return refuse(
      where,
      `keyUsage is ${JSON.stringify(key.keyUsage)}; wanted ${usages.join(' or ')}`,
    )
  if (!isRecord(key.publicKey)) return refuse(where, 'publicKey is missing')
  const { rawBytes, keyDetails, validFor } = key.publicKey
  if (keyDetails !== 'PKIX_ECDSA_P256_SHA_256')
    refuse(where, `keyDetails is ${JSON.stringify(keyDetails)}; wanted PKIX_ECDSA_P256_SHA_256`)
  const { start, end } = isRecord(validFor) ? validFor : {}
  const validFrom = time(start, where, 'validFor.start')
  // as in trusted roots: a missing start would make the key valid since ever
  if (validFrom === undefined) refuse(where, 'validFor.start is missing')
  return {
    keyId: text(key.keyId, where, 'keyId'),
    usage,
    spki: spkiOf(rawBytes, where, 'publicKey.rawBytes'),
    ...period(validFrom, time(end, where, 'validFor.end')),
    ...(registry === undefined ? {} : { registry }),
  }
}

/**
 * Form of `/-/npm/v1/keys`: `{keyid, expires, keytype, scheme, key}`. It says neither what a key
 * may be used for nor since when, so it counts for registry signatures only: a key minted for one
 * purpose must not pass for the other.
 */
const endpointKey = (key: Record<string, unknown>, where: string): RegistryKey => ({
  keyId: text(key.keyid, where, 'keyid'),
  usage: 'npm:signatures',
  spki: spkiOf(key.key, where, 'key'),
  ...period(undefined, time(key.expires, where, 'expires')),
})

/**
 * Parses either form; `where` names the document in errors, `registry` is the URL of the registry
 * whose keys they are, where that is known. Throws ETRUST.
 */
export const parseRegistryKeys = (
  document: unknown,
  where: string,
  registry?: string,
): readonly RegistryKey[] => {
  if (!isRecord(document) || !Array.isArray(document.keys))
    return refuse(where, 'it is not an object with a list "keys"')
  const entries: readonly unknown[] = document.keys
  if (entries.length === 0) refuse(where, 'its list "keys" is empty')
  const keys = entries.map((entry, i) => {
    const place = `${where}: keys[${i}]`
    if (!isRecord(entry)) return refuse(place, 'it is not an object')
    return 'publicKey' in entry || 'keyUsage' in entry
      ? targetKey(entry, place, registry)
      : endpointKey(entry, place)
  })
  const bytes = new Map<string, string>()
  for (const { keyId, usage, spki } of keys) {
    const id = `${usage} ${keyId}`
    if ((bytes.get(id) ?? spki) !== spki)
      refuse(where, `two different keys are called ${keyId} for ${usage}`)
    bytes.set(id, spki)
  }
  return keys
}
