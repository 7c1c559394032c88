/** What an upstream registry is to the rest of the house. Every call has a timeout and a size limit. */
import type { Readable } from 'node:stream'
import type { PackageId } from '../types.ts'

export type Validators = { readonly etag?: string; readonly lastModified?: string }

export type PackumentAnswer =
  | ({
      readonly kind: 'found'
      readonly body: Buffer
      /** The same, gzipped, where it came like that. */
      readonly gzip?: Buffer
      /** When it was true, milliseconds since the epoch, where that was before now. */
      readonly fetchedAt?: number
    } & Validators)
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

/** A client's request passed on as it is. */
export type ForwardRequest = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Below the upstream's url, encoded, with its query; no slash at the beginning. */
  readonly path: string
  /** Those worth passing on; credentials among them are dropped. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | Readable
  /**
   * Whose credentials go along: none, our own, or those the client sent. Our own must never go
   * with a client's write.
   */
  readonly credentials:
    'none' | 'own' | { readonly authorization?: string; readonly otp?: string }
  /** It may take minutes, as publishing does. */
  readonly slow?: boolean
  /** Largest answer in bytes, and the setting that says so. */
  readonly limit: { readonly bytes: number; readonly key: string }
  /** Ends the request, as when the client has gone away. */
  readonly signal?: AbortSignal
}

export type ForwardAnswer = {
  readonly status: number
  /** Those fit to be passed on: no cookies, nothing about the connection. */
  readonly headers: Readonly<Record<string, string>>
  /** Encoded as `content-encoding` says; ends with an error when cut short or too large. */
  readonly body: Readable
}

/**
 * All calls throw AttestryError (EUPSTREAM, EUPSTREAMTIMEOUT, EUPSTREAMSIZE, EUPSTREAMAUTH,
 * EUPSTREAMDATA, ELOOP) when the upstream could not answer; `missing` is its own word that the
 * thing does not exist (404, 410).
 */
export interface Upstream {
  readonly name: string
  /** Ends with a slash. */
  readonly url: string
  /** The upstream whose evidence counts in place of this one's, where that is another. */
  readonly evidenceFrom?: string
  /** GET the full packument; `known` makes the request conditional. */
  packument(name: string, known?: Validators): Promise<PackumentAnswer>
  /** GET an absolute tarball URL as the packument gave it. Credentials go to the upstream's own host only. */
  tarball(url: string): Promise<TarballAnswer>
  attestations(id: PackageId): Promise<DocumentAnswer>
  keys(): Promise<DocumentAnswer>
  /**
   * Any status is an answer. Redirects are followed for GET only; one for a request with a body is
   * EUPSTREAMDATA. Asked once: what changes something is not repeated.
   */
  forward(request: ForwardRequest): Promise<ForwardAnswer>
  close(): Promise<void>
}
