/** A packument as the gate keeps it: claims and sightings in memory, the text as a compressed blob. */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Blobs, BlobUse } from '../store/store.ts'
import type { Integrity, Sighting, VersionClaims } from '../types.ts'
import { unpackSmall } from '../upstream/body.ts'
import { claimsOf, claimsWeight, openSharing, own, record } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import { openPace } from './pace.ts'
import { openPackument, type Packument } from './packument.ts'
import { elsewhereMark } from './split-view.ts'

/** What is known of a package without its text having been read. */
export type PackageHead = {
  readonly name: string
  readonly upstream: string
  /** The packument's text, gzipped, as a blob; also tells one revision from another. */
  readonly raw: Integrity
  /** When this instance first looked at this package. */
  readonly lookedAt: string
  /** When the upstream last confirmed this revision, milliseconds since the epoch. */
  readonly fetchedAt: number
  /** Versions that appeared, or came to be other bytes, while we were watching. */
  readonly appeared: Readonly<Record<string, Sighting>>
  /** The upstream could not be asked; this is what we had. */
  readonly stale: boolean
}

export type PackageIndex = PackageHead & {
  readonly distTags: DistTags
  readonly versions: ReadonlyMap<string, VersionClaims>
  /** Of versions that the registry has and its mirror has not. */
  readonly elsewhere?: ReadonlyMap<string, VersionClaims>
}

/** Every version's claims and the dist-tags. */
export const claimsIn = async (packument: Packument) => {
  const breathe = openPace()
  const time = record(packument.member('time'))
  const claims = new Map<string, VersionClaims>()
  const shared = openSharing()
  for (const version of packument.versions) {
    const manifest = packument.manifest(version) ?? {}
    claims.set(version, claimsOf(manifest, version, own(time, version), shared))
    const aside = breathe()
    if (aside) await aside
  }
  const tags = Object.entries(record(packument.member('dist-tags'))).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  const elsewhere = new Map(
    Object.entries(record(packument.member(elsewhereMark))).map(
      ([version, manifest]) =>
        [version, claimsOf(record(manifest), version, own(time, version), shared)] as const,
    ),
  )
  return { claims, elsewhere, distTags: Object.fromEntries(tags) as DistTags }
}

/** The same of a packument's text; throws EUPSTREAMDATA when it is not a packument of `name`. */
export const readClaims = async (text: Buffer, name: string) =>
  claimsIn(await openPackument(text, name))

/** Read when something is made of it, which is held then. */
const seldom: BlobUse = { remember: false }

const deflate = promisify(gzip)
const inflate = promisify(gunzip)
/** Nothing larger than this was ever stored; a guard against a damaged length. */
const MAX_TEXT = 1024 * 1024 * 1024

/** Stores a packument's text compressed, as it came where it came so. */
export const storeText = async (
  blobs: Blobs,
  text: Buffer,
  packed?: Buffer,
): Promise<Integrity> => {
  const staged = await blobs.stage(seldom)
  try {
    // level 1: it is read back more often than sent
    await staged.write(packed ?? (await deflate(text, { level: 1 })))
    await staged.finish()
    return (await staged.commit()).integrity
  } catch (error) {
    await staged.abort()
    throw error
  }
}

export const loadText = async (blobs: Blobs, raw: Integrity): Promise<Buffer | undefined> => {
  const packed = await blobs.get(raw, seldom)
  return (
    packed && (unpackSmall(packed) ?? (await inflate(packed, { maxOutputLength: MAX_TEXT })))
  )
}

export const indexWeight = (index: PackageIndex): number => {
  let weight = 1000
  for (const claims of index.versions.values()) weight += claimsWeight(claims)
  return weight
}

export const sightingOf = (index: PackageIndex, version: string): Sighting =>
  own(index.appeared, version) ?? { firstSeen: index.lookedAt }
