/**
 * A key that registry signatures are made with, as npm names and lists them: its id, its turn among
 * others, and the two forms in which its public half is published.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { keyIdOf } from '../key-id.ts'
import type { RegistryKey } from '../types.ts'

/** `signs` is the one key new signatures are made with; `waits` has not begun; `verifies` had its turn. */
export type KeyState = 'signs' | 'waits' | 'verifies' | 'ended'

export const spkiOf = (key: KeyObject): Buffer =>
  createPublicKey(key).export({ type: 'spki', format: 'der' })

/** The name of a private half's file: a key's id has characters that file names cannot have. */
export const pemFileOf = (keyId: string): string =>
  `${keyId.slice('SHA256:'.length).replaceAll('+', '-').replaceAll('/', '_')}.pem`

const begun = ({ validFrom }: RegistryKey, now: number) => Date.parse(validFrom ?? '') <= now
const ended = ({ validUntil }: RegistryKey, now: number) =>
  validUntil !== undefined && Date.parse(validUntil) <= now

/**
 * The key that new signatures are made with: of those valid now the one whose validity began last.
 * Its private half need not be here; an older key does not step in for it.
 */
export const currentKey = <K extends RegistryKey>(
  keys: readonly K[],
  now: number,
): K | undefined =>
  keys
    .filter(key => begun(key, now) && !ended(key, now))
    .sort((a, b) => Date.parse(b.validFrom ?? '') - Date.parse(a.validFrom ?? ''))[0]

export const stateOf = (
  key: RegistryKey,
  keys: readonly RegistryKey[],
  now: number,
): KeyState =>
  ended(key, now)
    ? 'ended'
    : begun(key, now)
      ? currentKey(keys, now)?.keyId === key.keyId
        ? 'signs'
        : 'verifies'
      : 'waits'

export const generateKey = (): KeyObject =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey

/** A new key's public half as it stands in the list. */
export const listedKey = (
  key: KeyObject,
  validFrom: string,
  validUntil?: string,
): RegistryKey => {
  const spki = spkiOf(key)
  return {
    keyId: keyIdOf(spki),
    usage: 'npm:signatures',
    spki: spki.toString('base64'),
    validFrom,
    ...(validUntil !== undefined && { validUntil }),
  }
}

/** As sigstore distributes npm's keys: a TUF target `keys.json`. */
export const targetForm = (keys: readonly RegistryKey[]) => ({
  keys: keys.map(({ keyId, usage, spki, validFrom, validUntil }) => ({
    keyId,
    keyUsage: usage,
    publicKey: {
      rawBytes: spki,
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: {
        start: validFrom,
        ...(validUntil !== undefined && { end: validUntil }),
      },
    },
  })),
})

/** As a registry serves them at `/-/npm/v1/keys`. */
export const endpointForm = (keys: readonly RegistryKey[]) => ({
  keys: keys.map(({ keyId, spki, validUntil }) => ({
    expires: validUntil ?? null,
    keyid: keyId,
    keytype: 'ecdsa-sha2-nistp256',
    scheme: 'ecdsa-sha2-nistp256',
    key: spki,
  })),
})
