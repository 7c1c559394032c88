/** Everything about registry signatures of our own that the gate needs, put together once. */
import type { RegistrySigner } from '../attest/registry-signer.ts'
import type { Store } from '../store/store.ts'
import type { RegistryKey } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { openPublishing, type Publishing, type PublishingOptions } from './publishing.ts'
import { openRegistrySignatures, type SignedObserver } from './registry-signatures.ts'
import { openSignVersion, type SignVersion, type SignVersionOptions } from './sign-version.ts'
import { signedUpstream } from './signed-upstream.ts'

export type SigningObserver = {
  readonly onSigned?: SignedObserver
  /** It was published through us, and was to be signed. */
  readonly onUnsigned?: (id: string, upstream: string, why: string) => void
}

export type OwnSignaturesOptions = {
  readonly store: Store
  /** Of upstreams whose packages we sign, by their names. */
  readonly signers: ReadonlyMap<string, RegistrySigner>
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly reservedFor: (name: string) => string | undefined
  readonly now: () => Date
  readonly observer: SigningObserver
}

export type OwnSignatures = {
  /** Those we sign for with our signatures in their packuments, the others as they are. */
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly keys: () => readonly RegistryKey[]
  readonly publishing: (look: PublishingOptions['look']) => Publishing
  readonly signVersion: (
    options: Omit<SignVersionOptions, 'signatures' | 'store'>,
  ) => SignVersion
}

export const openOwnSignatures = (options: OwnSignaturesOptions): OwnSignatures => {
  const { store, signers, reservedFor, now, observer } = options
  const { onSigned } = observer
  const onUnsigned = (id: string, upstream: string, why: string) =>
    observer.onUnsigned?.(id, upstream, why)
  const signatures = openRegistrySignatures({
    store,
    signers,
    reservedFor,
    now,
    ...(onSigned && { onSigned }),
  })
  const upstreams = new Map<string, Upstream>()
  for (const [name, upstream] of options.upstreams)
    upstreams.set(
      name,
      signers.has(name)
        ? signedUpstream(upstream, { signatures, reservedFor, onUnsigned })
        : upstream,
    )
  return {
    upstreams,
    keys: () => [...signers.values()].flatMap(({ keys }) => keys()),
    publishing: look => openPublishing({ signatures, look, onUnsigned }),
    signVersion: rest => openSignVersion({ ...rest, store, signatures }),
  }
}
