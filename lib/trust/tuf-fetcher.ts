/**
 * How the TUF client gets its files: from a mirror, with a time and a size limit for each and no
 * redirects, or out of an archive. What the client library would do by itself (environment
 * proxies, retries, temporary files of the system) it does not do here.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DownloadHTTPError, DownloadLengthMismatchError } from 'tuf-js/dist/error.js'
import { AttestryError, messageOf } from '../errors.ts'

/** What tuf-js asks of a fetcher. */
export type TufFetcher = {
  downloadBytes(url: string, maxLength: number): Promise<Buffer>
  downloadFile<T>(
    url: string,
    maxLength: number,
    handler: (file: string) => Promise<T>,
  ): Promise<T>
}

export type TufPlace = {
  readonly fetcher: TufFetcher
  readonly metadataUrl: string
  readonly targetUrl: string
  /** The mirror did not answer: nothing is known against what it has. */
  readonly unreachable: () => AttestryError | undefined
}

export type MirrorOptions = {
  /** Milliseconds for one file, and for all of them. */
  readonly timeout: number
  readonly deadline: number
  readonly userAgent: string
  /** Ends everything. */
  readonly signal: AbortSignal
  /** A folder for files on their way in. */
  readonly scratch: string
}

/** Bytes, whatever the metadata says; what is named there may be as long as its signers like. */
const fileLimit = 8 * 1024 * 1024

/** By the bytes of each file; the caller counts what was asked for. */
const fetcherOf = (
  bytesOf: (url: string, maxLength: number) => Promise<Buffer>,
  scratch: string,
): TufFetcher => {
  let files = 0
  return {
    downloadBytes: bytesOf,
    downloadFile: async (url, maxLength, handler) => {
      const file = join(scratch, `download-${++files}`)
      await writeFile(file, await bytesOf(url, maxLength))
      return handler(file)
    },
  }
}

export const mirrorPlace = (mirror: string, options: MirrorOptions): TufPlace => {
  const { timeout, deadline, userAgent, signal, scratch } = options
  const over = AbortSignal.any([AbortSignal.timeout(deadline), signal])
  let failure: AttestryError | undefined
  const unreachable = (url: string, why: string, cause?: unknown) =>
    (failure = new AttestryError('ETUF', `${url}: ${why}`, { cause }))

  const bytesOf = async (url: string, maxLength: number): Promise<Buffer> => {
    const limit = Math.min(maxLength, fileLimit)
    try {
      const { request } = await import('undici')
      const { statusCode, body } = await request(url, {
        headers: { 'user-agent': userAgent },
        signal: AbortSignal.any([over, AbortSignal.timeout(timeout)]),
        // a server that says nothing is given up by the signal, not by a default of five minutes
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      if (statusCode !== 200) {
        await body.dump({ limit: 64 * 1024 })
        // the client takes these for "there is no newer one"
        if (statusCode === 404 || statusCode === 403)
          throw new DownloadHTTPError(`${url}: it answered ${statusCode}`, statusCode)
        throw unreachable(url, `it answered ${statusCode}`)
      }
      const chunks: Buffer[] = []
      let total = 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        total += chunk.length
        if (total > limit)
          throw new DownloadLengthMismatchError(`${url}: it has more than ${limit} bytes`)
        chunks.push(chunk)
      }
      return Buffer.concat(chunks)
    } catch (error) {
      if (error instanceof DownloadHTTPError || error instanceof DownloadLengthMismatchError)
        throw error
      if (error === failure) throw error
      const late = error instanceof Error && error.name === 'TimeoutError'
      throw unreachable(url, late ? 'it did not answer in time' : messageOf(error), error)
    }
  }
  const base = mirror.replace(/\/$/, '')
  return {
    fetcher: fetcherOf(bytesOf, scratch),
    metadataUrl: base,
    targetUrl: `${base}/targets`,
    unreachable: () => failure,
  }
}

/** Never asked of anybody: names inside the archive. */
const inArchive = 'archive://tuf/'

/** `metadata` and `targets` are folders in the archive, each with a slash at its end, or empty. */
export const archivePlace = (
  files: ReadonlyMap<string, Buffer>,
  { metadata, targets }: { readonly metadata: string; readonly targets: string },
  scratch: string,
): TufPlace => {
  // oxlint-disable-next-line typescript/require-await -- a fetcher's answers are promises
  const bytesOf = async (url: string, maxLength: number): Promise<Buffer> => {
    const name = decodeURIComponent(url.slice(inArchive.length))
    const bytes = files.get(name)
    if (bytes === undefined) throw new DownloadHTTPError(`it has no ${name}`, 404)
    if (bytes.length > maxLength)
      throw new DownloadLengthMismatchError(`its ${name} has more than ${maxLength} bytes`)
    return bytes
  }
  return {
    fetcher: fetcherOf(bytesOf, scratch),
    metadataUrl: inArchive + metadata,
    targetUrl: inArchive + targets,
    unreachable: () => undefined,
  }
}
