/** What an upstream registry is to the rest of the house. Every call has a timeout and a size limit. */
import type { Readable } from 'node:stream'
import type { PackageId } from '../types.ts'

export type Validators = { readonly etag?: string; readonly lastModified?: string }

export type PackumentAnswer =
  | ({ readonly kind: 'found'; readonly body: Buffer } & Validators)
  | { readonly kind: 'not-modified' }
  | { readonly kind: 'missing' }

export type DocumentAnswer =
  { readonly kind: 'found'; readonly body: Buffer } | { readonly kind: 'missing' }

export type TarballAnswer =
  | {
      readonly kind: 'found'
      /** Ends with an error when the transfer was cut short or grew beyond the limit. */
      readonly body: Readable
      /** From content-length, when told. */
      readonly size?: number
    }
  | { readonly kind: 'missing' }

/**
 * All calls throw AttestryError (EUPSTREAM, EUPSTREAMTIMEOUT, EUPSTREAMSIZE, EUPSTREAMAUTH,
 * EUPSTREAMDATA, ELOOP) when the upstream could not answer; `missing` is its own word that the
 * thing does not exist (404, 410).
 */
export interface Upstream {
  readonly name: string
  /** Ends with a slash. */
  readonly url: string
  /** GET the full packument; `known` makes the request conditional. */
  packument(name: string, known?: Validators): Promise<PackumentAnswer>
  /** GET an absolute tarball URL as the packument gave it. Credentials go to the upstream's own host only. */
  tarball(url: string): Promise<TarballAnswer>
  attestations(id: PackageId): Promise<DocumentAnswer>
  keys(): Promise<DocumentAnswer>
  close(): Promise<void>
}
