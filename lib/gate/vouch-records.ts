/**
 * Vouches and their revocations as they are kept: bundles as they came, and who took which back. A
 * revocation names what was said, not the signature (an ECDSA signature has two forms), is kept for
 * ever, and comes before every vouch of that name, whichever of the two arrived first.
 */
import { createHash } from 'node:crypto'
import { AttestryError } from '../errors.ts'
import { statementId, statementIn, type KeptVouch } from '../evidence/vouch.ts'
import type { Change, Store } from '../store/store.ts'
import type { PackageId } from '../types.ts'

/** Kept in the collection `vouch` under `name@version ID BUNDLE`. */
export type VouchRecord = KeptVouch & {
  /** ISO 8601. */
  readonly addedAt: string
}

/** Kept in the collection `revocation` under `name@version ID`. */
export type Revocation = {
  readonly id: string
  readonly reason: string
  readonly by?: string
  /** ISO 8601. */
  readonly at: string
}

export type Vouched = {
  /** sha256 of the statement. */
  readonly id: string
  /** The key it is kept under. */
  readonly key: string
  readonly record: VouchRecord
  readonly revoked?: Revocation
}

/** Everything kept for one version. */
export type VouchPage = {
  readonly vouches: readonly Vouched[]
  /** Also of vouches that are not here. */
  readonly revocations: readonly Revocation[]
}

/** Real ones have 4 to 10 kB. */
const MOST_BYTES = 128 * 1024
const MOST_VOUCHES = 32
const MOST_REVOCATIONS = 256
const ID = /^[0-9a-f]{64}$/

const textOf = ({ name, version }: PackageId) => `${name}@${version}`

/** `name@version rest`, where the name may begin with an @. */
const splitKey = (key: string): readonly [PackageId, ...string[]] => {
  const [id = '', ...rest] = key.split(' ')
  const at = id.lastIndexOf('@')
  return [{ name: id.slice(0, at), version: id.slice(at + 1) }, ...rest]
}

const refuse = (message: string): never => {
  throw new AttestryError('EVOUCH', message)
}

export type VouchRecords = ReturnType<typeof openVouchRecords>

export const openVouchRecords = (
  { records }: Pick<Store, 'records'>,
  tell: (change: Change) => Promise<void>,
) => {
  const pagesOf = async (prefix: string): Promise<Map<string, VouchPage>> => {
    const revocations = new Map<string, Revocation[]>()
    for await (const [key, value] of records.list<Revocation>('revocation', prefix)) {
      const id = textOf(splitKey(key)[0])
      revocations.set(id, [...(revocations.get(id) ?? []), value])
    }
    const vouches = new Map<string, Vouched[]>()
    for await (const [key, record] of records.list<VouchRecord>('vouch', prefix)) {
      const [at, id = ''] = splitKey(key)
      const revoked = revocations.get(textOf(at))?.find(one => one.id === id)
      const vouched = { id, key, record, ...(revoked && { revoked }) }
      vouches.set(textOf(at), [...(vouches.get(textOf(at)) ?? []), vouched])
    }
    const ids = new Set([...vouches.keys(), ...revocations.keys()])
    return new Map(
      [...ids].map(id => [
        id,
        { vouches: vouches.get(id) ?? [], revocations: revocations.get(id) ?? [] },
      ]),
    )
  }

  const pageOf = async (id: PackageId): Promise<VouchPage> =>
    (await pagesOf(`${textOf(id)} `)).get(textOf(id)) ?? { vouches: [], revocations: [] }

  return {
    /** By `name@version`: of one package, or of all. */
    pages: (name?: string): Promise<ReadonlyMap<string, VouchPage>> =>
      pagesOf(name === undefined ? '' : `${name}@`),
    pageOf,

    /** Names of packages that somebody vouched for. */
    names: async (): Promise<Set<string>> => {
      const names = new Set<string>()
      for await (const [key] of records.list('vouch')) names.add(splitKey(key)[0].name)
      return names
    },

    /**
     * Keeps a vouch that its caller verified; the same one twice is one. Throws EVOUCH for what is
     * about another version, is too large, or where there are too many.
     */
    add: async (id: PackageId, { bundle, publicKey }: KeptVouch, at: Date): Promise<string> => {
      const text = JSON.stringify([bundle, publicKey])
      if (text.length > MOST_BYTES)
        refuse(`The vouch has ${text.length} bytes; at most ${MOST_BYTES} are kept.`)
      const { payload } = statementIn(bundle)
      const name = statementId(payload)
      const digest = createHash('sha256').update(text).digest('hex').slice(0, 16)
      const key = `${textOf(id)} ${name} ${digest}`
      const { vouches } = await pageOf(id)
      if (vouches.length >= MOST_VOUCHES && !vouches.some(one => one.key === key))
        refuse(`${textOf(id)} has ${vouches.length} vouches; no more are kept.`)
      const record: VouchRecord = {
        bundle,
        ...(publicKey !== undefined && { publicKey }),
        addedAt: at.toISOString(),
      }
      await records.putIfAbsent('vouch', key, record)
      await tell({ topic: 'vouch', key: id.name })
      return name
    },

    /** The first revocation of a vouch stays. Throws EVOUCH for what names none. */
    revoke: async (id: PackageId, revocation: Revocation): Promise<Revocation> => {
      if (!ID.test(revocation.id)) refuse('A revocation names a vouch by 64 hex digits.')
      const { revocations } = await pageOf(id)
      const known = revocations.some(one => one.id === revocation.id)
      if (revocations.length >= MOST_REVOCATIONS && !known)
        refuse(`${textOf(id)} has ${revocations.length} revocations; no more are kept.`)
      const key = `${textOf(id)} ${revocation.id}`
      const kept = await records.putIfAbsent('revocation', key, revocation)
      await tell({ topic: 'vouch', key: id.name })
      return kept
    },
  }
}
