/**
 * Registry signatures of our own, over what was published through us or what somebody asked to have
 * signed. A version is signed for one integrity, once and for all.
 */
import type { RegistrySigner } from '../attest/registry-signer.ts'
import { AttestryError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { Integrity, PackageId } from '../types.ts'

/** Why it was signed: it went through us when it was published, or `attestry sign` asked for it. */
export type SignedBecause = 'published' | 'asked'

/** Kept in the collection `signature` under `upstream name@version`. */
export type SignatureRecord = {
  readonly version: string
  readonly integrity: Integrity
  readonly keyid: string
  readonly sig: string
  readonly at: string
  readonly because: SignedBecause
}

/** Kept in the collection `publication` under the same key until the upstream shows it. */
export type PublicationRecord = {
  readonly version: string
  readonly integrity: Integrity
  readonly at: string
}

export type SignedObserver = (
  id: PackageId,
  upstream: string,
  signature: Pick<SignatureRecord, 'keyid' | 'because'>,
) => void

/** Milliseconds in which an upstream must show what was published. */
const PATIENCE = 24 * 3_600_000

export type RegistrySignatures = ReturnType<typeof openRegistrySignatures>

export type RegistrySignaturesOptions = {
  readonly store: Pick<Store, 'records'>
  readonly signers: ReadonlyMap<string, RegistrySigner>
  /** The upstream that has a name to itself. */
  readonly reservedFor: (name: string) => string | undefined
  readonly now: () => Date
  readonly onSigned?: SignedObserver
}

export const openRegistrySignatures = (options: RegistrySignaturesOptions) => {
  const { signers, reservedFor, now } = options
  const { records } = options.store
  // a space is in no name of an upstream, a package or a version
  const keyOf = (upstream: string, { name, version }: PackageId) =>
    `${upstream} ${name}@${version}`

  const refuse = (message: string) => new AttestryError('ESIGNING', message)

  const other = (
    { name, version }: PackageId,
    { at, integrity }: SignatureRecord,
    now: Integrity,
  ) =>
    refuse(
      `${name}@${version} was signed at ${at} for other bytes (${integrity}); it is not signed for ${now}.`,
    )

  /** Throws ESIGNING unless this upstream has keys and the name to itself. */
  const signerFor = (upstream: string, name: string): RegistrySigner => {
    const signer = signers.get(upstream)
    if (!signer)
      throw refuse(`${name} is not signed: upstreams.${upstream}.signing is not configured.`)
    if (reservedFor(name) !== upstream)
      throw refuse(
        `${name} is not signed: the name is not reserved for the upstream ${upstream} (upstreams.${upstream}.packages), so that it may be anybody's.`,
      )
    return signer
  }

  const known = (upstream: string, id: PackageId) =>
    records.get<SignatureRecord>('signature', keyOf(upstream, id))

  const all = async <T>(collection: string, upstream: string, name: string): Promise<T[]> => {
    const found: T[] = []
    for await (const [, value] of records.list<T>(collection, `${upstream} ${name}@`))
      found.push(value)
    return found
  }

  const sign = async (
    upstream: string,
    id: PackageId,
    integrity: Integrity,
    because: SignedBecause,
  ): Promise<{ readonly signature: SignatureRecord; readonly fresh: boolean }> => {
    const signer = signerFor(upstream, id.name)
    const { name, version } = id
    const key = keyOf(upstream, id)
    const before = await known(upstream, id)
    if (before && before.integrity !== integrity) throw other(id, before, integrity)
    // a key that was taken out of the list signs nothing any more; the next one signs in its place
    if (before && signer.keys().some(({ keyId }) => keyId === before.keyid))
      return { signature: before, fresh: false }
    const at = now()
    const signature: SignatureRecord = {
      version,
      integrity,
      ...signer.sign(`${name}@${version}:${integrity}`, at),
      at: at.toISOString(),
      because,
    }
    if (before) await records.put('signature', key, signature)
    else {
      const kept = await records.putIfAbsent('signature', key, signature)
      if (kept.integrity !== integrity) throw other(id, kept, integrity)
      if (kept.sig !== signature.sig) return { signature: kept, fresh: false }
    }
    options.onSigned?.(id, upstream, signature)
    return { signature, fresh: true }
  }

  return {
    signs: (upstream: string): boolean => signers.has(upstream),
    signerFor,
    sign,
    /** Of one package, of all its versions. */
    of: (upstream: string, name: string) => all<SignatureRecord>('signature', upstream, name),

    /** The upstream took it; it is signed once the upstream shows it with this integrity. */
    published: async (upstream: string, id: PackageId, integrity: Integrity): Promise<void> => {
      const problem = signerFor(upstream, id.name).problem(now())
      if (problem !== undefined) throw refuse(problem)
      const before = await known(upstream, id)
      if (before && before.integrity !== integrity) throw other(id, before, integrity)
      const entry: PublicationRecord = {
        version: id.version,
        integrity,
        at: now().toISOString(),
      }
      await records.put('publication', keyOf(upstream, id), entry)
    },

    pending: async (upstream: string, name: string) => {
      const found = await all<PublicationRecord>('publication', upstream, name)
      const oldest = now().getTime() - PATIENCE
      const [waiting, late] = [[] as PublicationRecord[], [] as PublicationRecord[]]
      for (const entry of found) (Date.parse(entry.at) < oldest ? late : waiting).push(entry)
      for (const { version } of late)
        await records.delete('publication', keyOf(upstream, { name, version }))
      return waiting
    },

    settled: (upstream: string, id: PackageId) =>
      records.delete('publication', keyOf(upstream, id)),
  }
}
