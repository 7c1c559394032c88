/** Makes registry signatures with the key whose turn it is. */
import { sign, type KeyObject } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import { currentKey } from '../trust/registry-key.ts'
import type { RegistryKey } from '../types.ts'

export type RegistrySigner = {
  /** Public halves, past and future ones too. */
  readonly keys: () => readonly RegistryKey[]
  /** Why nothing can be signed now; undefined when it can. */
  readonly problem: (now: Date) => string | undefined
  /** Over UTF-8 text, ECDSA with SHA-256, as npm's registry signs. Throws ESIGNING when there is a problem. */
  readonly sign: (text: string, now: Date) => { readonly keyid: string; readonly sig: string }
}

export type RegistrySignerOptions = {
  /** Where the keys are, for people. */
  readonly from: string
  readonly keys: readonly RegistryKey[]
  /** Private halves by key id. */
  readonly held: ReadonlyMap<string, KeyObject>
}

/** Throws ESIGNING where there are no keys at all. */
export const openRegistrySigner = (options: RegistrySignerOptions): RegistrySigner => {
  const { from, keys, held } = options
  if (keys.length === 0)
    throw new AttestryError(
      'ESIGNING',
      `${from}: there are no keys; attestry keys create makes one`,
    )

  const turn = (now: Date) => {
    const key = currentKey(keys, now.getTime())
    if (key === undefined) return `${from}: none of its keys is valid now`
    const privateKey = held.get(key.keyId)
    if (privateKey) return { keyid: key.keyId, privateKey }
    return `${from}: the private half of ${key.keyId} is not there, and no other key signs in its place`
  }

  return {
    keys: () => keys,
    problem: now => {
      const found = turn(now)
      return typeof found === 'string' ? found : undefined
    },
    sign: (text, now) => {
      const found = turn(now)
      if (typeof found === 'string') throw new AttestryError('ESIGNING', found)
      const { keyid, privateKey } = found
      return { keyid, sig: sign('sha256', Buffer.from(text), privateKey).toString('base64') }
    },
  }
}
