/** A packument as the gate keeps it: claims and sightings in memory, the text as a compressed blob. */
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { AttestryError, messageOf } from '../errors.ts'
import type { Blobs } from '../store/store.ts'
import type { Integrity, Sighting, VersionClaims } from '../types.ts'
import { claimsOf, claimsWeight, record, type Manifest } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import { members, parseSlice, type Slice } from './json-slices.ts'
import { openPace } from './pace.ts'

export type PackageIndex = {
  readonly name: string
  readonly upstream: string
  /** The packument's text, gzipped, as a blob; also tells one revision from another. */
  readonly raw: Integrity
  readonly distTags: DistTags
  readonly versions: ReadonlyMap<string, VersionClaims>
  /** When this instance first looked at this package. */
  readonly lookedAt: string
  /** When the upstream last confirmed this revision, milliseconds since the epoch. */
  readonly fetchedAt: number
  /** Versions that appeared while we were watching. */
  readonly appeared: Readonly<Record<string, Sighting>>
  /** The upstream could not be asked; this is what we had. */
  readonly stale: boolean
}

/** The parts of a packument's text. A name that comes twice counts as JSON.parse counts it: the last. */
export type Packument = {
  readonly text: Buffer
  readonly top: ReadonlyMap<string, Slice>
  readonly versions: ReadonlyMap<string, Slice>
}

const badData = (name: string, why: string, cause?: unknown) =>
  new AttestryError('EUPSTREAMDATA', `The packument of ${name} is not usable: ${why}.`, {
    cause,
  })

/** Takes the text apart; throws EUPSTREAMDATA when it is not a packument of `name`. */
export const slicePackument = async (text: Buffer, name: string): Promise<Packument> => {
  const breathe = openPace()
  try {
    const top = new Map<string, Slice>()
    for (const [key, slice] of members(text)) {
      top.set(key, slice)
      await breathe()
    }
    const versions = new Map<string, Slice>()
    const at = top.get('versions')
    if (at) {
      for (const [version, slice] of members(text, at.start)) {
        versions.set(version, slice)
        await breathe()
      }
    }
    const said = top.get('name') ?? top.get('_id')
    if (!said || parseSlice(text, said) !== name)
      throw badData(name, 'it names another package')
    return { text, top, versions }
  } catch (error) {
    throw error instanceof SyntaxError ? badData(name, error.message, error) : error
  }
}

export const manifestAt = (text: Buffer, slice: Slice, name: string): Manifest => {
  try {
    return record(parseSlice(text, slice))
  } catch (error) {
    throw badData(name, messageOf(error), error)
  }
}

/** Every version's claims and the dist-tags. */
export const readClaims = async (text: Buffer, name: string) => {
  const breathe = openPace()
  const { top, versions } = await slicePackument(text, name)
  const topValue = (key: string): Manifest => {
    const slice = top.get(key)
    return slice ? manifestAt(text, slice, name) : {}
  }
  const time = topValue('time')
  const claims = new Map<string, VersionClaims>()
  for (const [version, slice] of versions) {
    claims.set(version, claimsOf(manifestAt(text, slice, name), version, time[version]))
    await breathe()
  }
  const tags = Object.entries(topValue('dist-tags')).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  return { claims, distTags: Object.fromEntries(tags) as DistTags }
}

const deflate = promisify(gzip)
const inflate = promisify(gunzip)
/** Nothing larger than this was ever stored; a guard against a damaged length. */
const MAX_TEXT = 1024 * 1024 * 1024

/** Stores a packument's text compressed; level 1, because it is read back more often than sent. */
export const storeText = async (blobs: Blobs, text: Buffer): Promise<Integrity> => {
  const staged = await blobs.stage()
  try {
    await staged.write(await deflate(text, { level: 1 }))
    await staged.finish()
    return (await staged.commit()).integrity
  } catch (error) {
    await staged.abort()
    throw error
  }
}

export const loadText = async (blobs: Blobs, raw: Integrity): Promise<Buffer | undefined> => {
  const packed = await blobs.get(raw)
  return packed && (await inflate(packed, { maxOutputLength: MAX_TEXT }))
}

export const indexWeight = (index: PackageIndex): number => {
  let weight = 1000
  for (const claims of index.versions.values()) weight += claimsWeight(claims)
  return weight
}

export const sightingOf = (index: PackageIndex, version: string): Sighting =>
  index.appeared[version] ?? { firstSeen: index.lookedAt }
