/**
 * The archive of `attestry store export`: an uncompressed tar file of a table of contents, and of
 * packuments, attestations and tarballs as they came from the upstream.
 *
 *     attestry-export.json                     {@link Contents}, the first entry
 *     packuments/NAME.json.gz
 *     attestations/NAME/VERSION.json
 *     tarballs/NAME/VERSION.tgz
 *     vouches/NAME/VERSION.json                {@link VouchesPart}
 *
 * NAME and VERSION are percent-encoded, so that each is one segment. Nothing in it is believed:
 * what is taken from it goes through the gate like an upstream's answer.
 */
import { z } from 'zod'
import type { PackageId } from '../../types.ts'

export const CONTENTS = 'attestry-export.json'

const upstreamName = z.string().min(1).max(40)

export const contentsSchema = z.object({
  format: z.literal(1),
  /** ISO 8601. */
  createdAt: z.string().max(40),
  packages: z
    .array(
      z.object({
        name: z.string().min(1).max(214),
        upstream: upstreamName,
        /** When the upstream last confirmed it, milliseconds since the epoch. */
        fetchedAt: z.number().int().min(0),
      }),
    )
    .max(1_000_000),
})

export type Contents = z.output<typeof contentsSchema>

export const packumentPath = (name: string): string =>
  `packuments/${encodeURIComponent(name)}.json.gz`

export const attestationsPath = ({ name, version }: PackageId): string =>
  `attestations/${encodeURIComponent(name)}/${encodeURIComponent(version)}.json`

export const tarballPath = ({ name, version }: PackageId): string =>
  `tarballs/${encodeURIComponent(name)}/${encodeURIComponent(version)}.tgz`

export const vouchesPath = ({ name, version }: PackageId): string =>
  `vouches/${encodeURIComponent(name)}/${encodeURIComponent(version)}.json`

/** What was vouched for a version, and what was taken back. */
export const vouchesSchema = z.object({
  vouches: z
    .array(
      z.object({
        bundle: z.record(z.string(), z.unknown()),
        publicKey: z.string().max(2000).optional(),
      }),
    )
    .max(100),
  revocations: z
    .array(
      z.object({
        id: z.string().regex(/^[0-9a-f]{64}$/),
        reason: z.string().min(1).max(1000),
        by: z.string().max(200).optional(),
        at: z.iso.datetime(),
      }),
    )
    .max(1000),
})

export type VouchesPart = z.output<typeof vouchesSchema>

export type ArchivePart =
  | { readonly kind: 'contents' }
  | { readonly kind: 'packument'; readonly name: string }
  | { readonly kind: 'attestations' | 'tarball' | 'vouches'; readonly id: PackageId }

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** What an entry of this path is; undefined for any path that an export never writes. */
export const partOf = (path: string): ArchivePart | undefined => {
  if (path === CONTENTS) return { kind: 'contents' }
  const [, packument] = /^packuments\/([^/]+)\.json\.gz$/.exec(path) ?? []
  const name = packument === undefined ? undefined : decode(packument)
  if (name !== undefined)
    return packumentPath(name) === path ? { kind: 'packument', name } : undefined
  const [, area, first = '', second = ''] =
    /^(attestations|tarballs|vouches)\/([^/]+)\/([^/]+)\.(?:json|tgz)$/.exec(path) ?? []
  const id = { name: decode(first) ?? '', version: decode(second) ?? '' }
  // the way back must lead to the same path: no second spelling of anything
  if (area === 'tarballs' && tarballPath(id) === path) return { kind: 'tarball', id }
  if (area === 'vouches' && vouchesPath(id) === path) return { kind: 'vouches', id }
  return area === 'attestations' && attestationsPath(id) === path
    ? { kind: 'attestations', id }
    : undefined
}
