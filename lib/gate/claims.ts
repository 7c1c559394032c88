/** What a version's manifest in the packument claims. Everything here comes unproven from the upstream. */
import type { Integrity, VersionClaims } from '../types.ts'
import { splitViewOf } from './split-view.ts'

export type Manifest = Readonly<Record<string, unknown>>

export const record = (value: unknown): Manifest =>
  value !== null && typeof value === 'object' && !Array.isArray(value)
    ? (value as Manifest)
    : {}

/** Names come from the upstream, and may be those of what every object has. */
export const own = <T>(object: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

/**
 * The sha512 of an SRI string that may name several digests (ssri's form: parted by spaces, options
 * behind `?`). A sha512 of the wrong length is no sha512.
 */
export const sha512Of = (sri: unknown): Integrity | undefined => {
  if (typeof sri !== 'string') return undefined
  // nearly all are one digest and nothing else
  if (isSha512(sri)) return sri
  return sri
    .split(/\s+/)
    .map(part => part.replace(/\?.*$/, ''))
    .find(isSha512)
}

const isSha512 = (text: string): text is Integrity => /^sha512-[A-Za-z0-9+/]{86}==$/.test(text)

/** Gives for equal texts one and the same, so that what every version of a package repeats is held once. */
export type Sharing = (text: string) => string

export const openSharing = (): Sharing => {
  const known = new Map<string, string>()
  return text => {
    const have = known.get(text)
    if (have === undefined) known.set(text, text)
    return have ?? text
  }
}

const signaturesOf = (value: unknown, shared: Sharing): VersionClaims['signatures'] =>
  Array.isArray(value)
    ? value.map(item => {
        const { keyid, sig } = record(item)
        // a malformed entry stays an entry: it must fail to verify, not vanish
        return { keyid: shared(text(keyid) ?? ''), sig: text(sig) ?? '' }
      })
    : []

type Made = { -readonly [K in keyof VersionClaims]: VersionClaims[K] }

/** `time` is the packument's `time[version]`. */
export const claimsOf = (
  manifest: Manifest,
  version: string,
  time: unknown,
  shared: Sharing = text => text,
): VersionClaims => {
  const dist = record(manifest['dist'])
  const integrity = sha512Of(dist['integrity'])
  const shasum = text(dist['shasum'])
  const attestations = record(dist['attestations'])
  const provenance = text(record(attestations['provenance'])['predicateType'])
  const published = text(time)
  const publishedAt = published === undefined ? Number.NaN : Date.parse(published)
  const deprecated = text(manifest['deprecated'])
  const splitView = splitViewOf(manifest)
  // put together field by field: a packument has hundreds, and spread they cost twice as much
  const claims: Made = {
    version,
    tarball: text(dist['tarball']) ?? '',
    signatures: signaturesOf(dist['signatures'], shared),
  }
  if (integrity) claims.integrity = integrity
  if (shasum && /^[0-9a-f]{40}$/i.test(shasum)) claims.shasum = shasum.toLowerCase()
  if (dist['attestations'] !== undefined)
    claims.attestations = {
      url: text(attestations['url']) ?? '',
      ...(provenance && { provenance: shared(provenance) }),
    }
  if (!Number.isNaN(publishedAt)) claims.publishedAt = new Date(publishedAt).toISOString()
  if (deprecated) claims.deprecated = shared(deprecated)
  if (splitView) claims.splitView = splitView
  return claims
}

/** Rough bytes a record of claims takes in memory, for bounded caches. */
export const claimsWeight = (claims: VersionClaims): number =>
  400 + 2 * claims.tarball.length + 250 * claims.signatures.length
