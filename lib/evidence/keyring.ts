/** A registry's signing keys, ready for use: by id, by what they may be used for, and when. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { keyIdOf } from '../key-id.ts'
import type { RegistryKey } from '../types.ts'
import { refuse } from './finding.ts'

export type KeyUsage = RegistryKey['usage']

export type KeyringKey = {
  readonly keyId: string
  readonly publicKey: KeyObject
  /** Of its bytes, whatever its owner calls it. */
  readonly fingerprint: string
  /** URL of its registry, where known. */
  readonly registry: string | undefined
  /** More than one when the list has the key several times. Milliseconds; until is exclusive. */
  readonly periods: readonly { readonly from: number; readonly until: number }[]
}

export type Keyring = {
  /** Is there any key for this use? */
  has(usage: KeyUsage): boolean
  /** Throws a finding with EMISSINGSIGNATUREKEY. */
  find(keyId: string, usage: KeyUsage, code: FailureCode): KeyringKey
}

type FailureCode = 'INVALID_SIGNATURE' | 'INVALID_ATTESTATION'

export const openKeyring = (keys: readonly RegistryKey[]): Keyring => {
  const rings = new Map<KeyUsage, Map<string, KeyringKey>>()
  for (const { keyId, usage, spki, registry, validFrom, validUntil } of keys) {
    const ring = rings.get(usage) ?? new Map<string, KeyringKey>()
    rings.set(usage, ring)
    const period = {
      from: validFrom === undefined ? -Infinity : Date.parse(validFrom),
      until: validUntil === undefined ? Infinity : Date.parse(validUntil),
    }
    const publicKey = createPublicKey({
      key: Buffer.from(spki, 'base64'),
      format: 'der',
      type: 'spki',
    })
    const periods = [...(ring.get(keyId)?.periods ?? []), period]
    const fingerprint = keyIdOf(publicKey.export({ format: 'der', type: 'spki' }))
    ring.set(keyId, { keyId, publicKey, fingerprint, registry, periods })
  }
  return {
    has: usage => rings.has(usage),
    find: (keyId, usage, code) => {
      // usage is part of the name: a key minted for one purpose does not exist for the other
      const key = rings.get(usage)?.get(keyId)
      if (key !== undefined) return key
      const other = [...rings].find(([, ring]) => ring.has(keyId))?.[0]
      return refuse(
        code,
        other === undefined
          ? 'It is signed with a key that is not one of the registry keys.'
          : `It is signed with a registry key that is for ${other} only.`,
        { npmCode: 'EMISSINGSIGNATUREKEY', wanted: usage, found: keyId },
      )
    },
  }
}

const show = (time: number) => new Date(time).toISOString()

/** Throws a finding unless the key was valid at `time` (milliseconds; NaN is never valid). */
export const checkKeyTime = (key: KeyringKey, time: number, code: FailureCode): void => {
  if (key.periods.some(({ from, until }) => from <= time && time < until)) return
  const wanted = key.periods
    .map(({ from, until }) =>
      [
        from === -Infinity ? [] : [`from ${show(from)}`],
        until === Infinity ? [] : [`until before ${show(until)}`],
      ]
        .flat()
        .join(' '),
    )
    .join(', or ')
  refuse(code, `It was signed outside the validity of key ${key.keyId}.`, {
    npmCode: 'EEXPIREDSIGNATUREKEY',
    wanted,
    found: Number.isNaN(time) ? 'no time' : show(time),
  })
}
