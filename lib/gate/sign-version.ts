/** `attestry sign`: a version that is there already gets our registry signature, once its bytes were here. */
import { AttestryError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { PackageId } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { record } from './claims.ts'
import { bytesFact, startDownload } from './download.ts'
import type { Packages } from './packages.ts'
import { openPins } from './pins.ts'
import type { RegistrySignatures, SignatureRecord } from './registry-signatures.ts'

export type SignedVersion = {
  readonly package: PackageId
  readonly upstream: string
  readonly signature: SignatureRecord
  /** False: it was signed before, for the same bytes and with a key that still counts. */
  readonly fresh: boolean
}

export type SignVersion = (id: PackageId) => Promise<SignedVersion>

export type SignVersionOptions = {
  readonly store: Store
  readonly packages: Packages
  readonly signatures: RegistrySignatures
  readonly upstreamFor: (name: string) => Upstream
  /** What was signed shows from the next look on. */
  readonly onSigned: (name: string) => void
}

export const openSignVersion = (options: SignVersionOptions): SignVersion => {
  const { store, packages, signatures, upstreamFor, onSigned } = options
  const pins = openPins(store)

  return async id => {
    const { name, version } = id
    const upstream = upstreamFor(name)
    const shown = `${name}@${version}`
    const refuse = (why: string) =>
      new AttestryError('ESIGNING', `${shown} is not signed: ${why}.`)
    // before anything is fetched
    signatures.signerFor(upstream.name, name)
    const index = await packages.get(name, 0)
    const claims = index.versions.get(version)
    if (!claims) throw new AttestryError('ENOTFOUND', `${name} has no version ${version}.`)
    if (index.stale) throw refuse(`the upstream ${upstream.name} does not answer`)
    const { integrity } = claims
    const dist = record((await packages.manifest(index, version))['dist'])
    // clients put the packument's own text into what they verify, so there must be nothing else in it
    if (integrity === undefined || dist['integrity'] !== integrity)
      throw refuse('its packument does not name one sha512 integrity and nothing else')
    const pin = await pins.get(id, upstream.name)
    if (pin && pin.integrity !== integrity)
      throw refuse(`other bytes were admitted under this version (${pin.integrity})`)
    const download = startDownload(upstream, claims, store.blobs)
    try {
      const bytes = bytesFact(claims, await download.done, upstream)
      if (bytes.state !== 'verified')
        throw refuse(bytes.detail?.replace(/\.$/, '') ?? 'its bytes do not match')
    } finally {
      download.abandon()
    }
    const { signature, fresh } = await signatures.sign(upstream.name, id, integrity, 'asked')
    if (fresh) onSigned(name)
    return { package: id, upstream: upstream.name, signature, fresh }
  }
}
