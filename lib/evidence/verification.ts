/** Everything that verifying needs and that is made once per trust material. */
import { createPublicKey } from 'node:crypto'
import type { TrustMaterial } from '../types.ts'
import { openBundleVerifier, type BundleVerifier, type KeyFinder } from './bundle.ts'
import { checkKeyTime, openKeyring, type Keyring } from './keyring.ts'

export type Verification = {
  /** Digest of the trust material. */
  readonly trust: string
  readonly verifiers: BundleVerifier
  /** For bundles that this key signed (SubjectPublicKeyInfo, DER), at whatever time. */
  readonly verifierFor: (spki: Uint8Array) => BundleVerifier
  readonly keyring: Keyring
  /** URLs that publish attestations may name, for keys that do not say whose they are. */
  readonly registries: readonly string[] | undefined
}

/** Throws what the libraries throw when the material is none that `loadTrust` gave. */
export const openVerification = (
  trust: TrustMaterial,
  registries?: readonly string[],
  options?: { readonly remember?: boolean },
): Verification => {
  const keyring = openKeyring(trust.registryKeys)
  const code = 'INVALID_ATTESTATION'
  const findKey: KeyFinder = hint => {
    const key = keyring.find(hint, 'npm:attestations', code)
    return {
      publicKey: key.publicKey,
      // called with every verified time; throwing keeps the reason, which `false` would lose
      validFor: time => {
        checkKeyTime(key, time.getTime(), code)
        return true
      },
    }
  }
  const verifiers = openBundleVerifier(trust.roots, findKey, {
    ...options,
    ...(trust.scopes && { scopes: trust.scopes }),
  })
  // roots tied to issuers say nothing of keys: here they give logs and timestamps only
  const verifierFor = (spki: Uint8Array): BundleVerifier => {
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    const find: KeyFinder = () => ({ publicKey, validFor: () => true })
    return openBundleVerifier(trust.roots, find, { ...options, timeless: true })
  }
  return { trust: trust.digest, verifiers, verifierFor, keyring, registries }
}
