/** What is kept of a package between runs, and told to the other processes on the store. */
import { isAttestryError } from '../errors.ts'
import type { Change, Store } from '../store/store.ts'
import type { Integrity, Sighting, VersionClaims } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { own } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import { claimsIn, loadText, type PackageHead, type PackageIndex } from './package-index.ts'
import { openPackument, type Packument } from './packument.ts'

/** Kept in the collection `package`. */
export type PackageRecord = {
  readonly upstream: string
  /** Whose evidence it holds, where that is another upstream. */
  readonly evidenceFrom?: string
  readonly raw: Integrity
  readonly etag?: string
  readonly lastModified?: string
  readonly lookedAt: string
  readonly fetchedAt: number
  readonly versions: readonly string[]
  readonly appeared: Readonly<Record<string, Sighting>>
}

/** Failures of the upstream, and of a shared store, for which the last word that is here may stand in. */
export const standsIn = (error: unknown) =>
  isAttestryError(error) &&
  (error.code === 'ESTOREDOWN' ||
    (error.code.startsWith('EUPSTREAM') && error.code !== 'EUPSTREAMAUTH'))

type Claims = Awaited<ReturnType<typeof claimsIn>>

/** A name that now belongs to another upstream, or whose evidence does, is another package. */
export const comesFrom = (kept: PackageRecord, { name, evidenceFrom }: Upstream) =>
  kept.upstream === name && kept.evidenceFrom === evidenceFrom

export const headOf = (name: string, kept: PackageRecord): PackageHead => {
  const { upstream, raw, lookedAt, fetchedAt, appeared } = kept
  return { name, upstream, raw, lookedAt, fetchedAt, appeared, stale: false }
}

export const indexOf = (name: string, kept: PackageRecord, read: Claims): PackageIndex => {
  const { claims: versions, elsewhere, distTags } = read
  return { ...headOf(name, kept), distTags, versions, ...(elsewhere.size > 0 && { elsewhere }) }
}

/** Does a version still mean the bytes that it meant? A digest that was added says nothing else. */
const sameBytes = (before: VersionClaims, after: VersionClaims): boolean =>
  before.integrity === undefined
    ? before.shasum === after.shasum &&
      (after.integrity === undefined || after.shasum !== undefined)
    : before.integrity === after.integrity

/** Versions that mean other bytes than they did. */
export const exchanged = (
  before: PackageIndex['versions'],
  after: PackageIndex['versions'],
): readonly string[] =>
  [...before].flatMap(([version, claims]) => {
    const now = after.get(version)
    return now === undefined || sameBytes(claims, now) ? [] : [version]
  })

/**
 * Versions that were not there at our last look appeared between then and now, also where an earlier
 * look had them, and so did the bytes of those that are `others` now: whoever takes a name early does
 * not make what comes to stand there any older.
 */
export const watch = (
  kept: PackageRecord | undefined,
  versions: readonly string[],
  others: readonly string[],
  at: number,
) => {
  if (!kept) return {}
  const before = new Set(kept.versions)
  const moved = new Set(others)
  const absentAt = new Date(kept.fetchedAt).toISOString()
  const seen = { firstSeen: new Date(at).toISOString(), absentAt }
  return Object.fromEntries(
    versions.flatMap((version): [string, Sighting][] => {
      if (!before.has(version) || moved.has(version)) return [[version, seen]]
      const known = own(kept.appeared, version)
      return known ? [[version, known]] : []
    }),
  )
}

export type PackageRecordsOptions = {
  readonly store: Pick<Store, 'records' | 'blobs'>
  readonly upstreamFor: (name: string) => Upstream
  readonly tell: (change: Change) => void
  /** A packument was read from the store. */
  readonly onRead: (raw: string, packument: Packument, tags: DistTags) => void
}

export const openPackageRecords = (options: PackageRecordsOptions) => {
  const { store, upstreamFor, tell, onRead } = options
  const get = (name: string) => store.records.get<PackageRecord>('package', name)

  /** What is stored of a package, with its text read; `have` where that is the same revision. */
  const load = async (name: string, kept: PackageRecord, have: PackageIndex | undefined) => {
    if (have?.raw === kept.raw && have.upstream === kept.upstream) {
      return { ...have, fetchedAt: kept.fetchedAt, stale: false }
    }
    const text = await loadText(store.blobs, kept.raw)
    if (!text) return undefined
    const packument = await openPackument(text, name)
    const read = await claimsIn(packument)
    onRead(kept.raw, packument, read.distTags)
    return indexOf(name, kept, read)
  }

  return {
    get,
    load,

    /** Stores what `make` makes of what is stored; another process may have stored something meanwhile. */
    keep: async (
      name: string,
      upstream: Upstream,
      make: (kept: PackageRecord | undefined) => PackageRecord,
    ): Promise<PackageRecord> => {
      for (;;) {
        const record = await get(name)
        const kept = record && comesFrom(record, upstream) ? record : undefined
        const next = make(kept)
        if (!(await store.records.swap('package', name, record, next))) continue
        if (next.raw !== record?.raw) tell({ topic: 'package', key: `${name} ${next.raw}` })
        return next
      }
    },

    /** The upstream said that it is still so; what another process stored meanwhile is newer. */
    confirm: async (name: string, kept: PackageRecord, fetchedAt: number): Promise<void> => {
      await store.records.swap('package', name, kept, { ...kept, fetchedAt })
    },

    /** The same without reading its text. */
    head: async (name: string): Promise<PackageHead | undefined> => {
      const kept = await get(name)
      return kept && comesFrom(kept, upstreamFor(name)) ? headOf(name, kept) : undefined
    },

    /** What is stored, if an upstream gave it since then. */
    stored: async (name: string, have: PackageIndex | undefined, since: number) => {
      const kept = await get(name)
      const ours = kept && comesFrom(kept, upstreamFor(name)) && kept.fetchedAt >= since
      return ours ? await load(name, kept, have) : undefined
    },
  }
}
