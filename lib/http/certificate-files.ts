/** The certificate's files: read at the start, and again in a while, because certificates are renewed. */
import { readFile } from 'node:fs/promises'
import { AttestryError, messageOf } from '../errors.ts'
import type { Certificate } from './server.ts'

export type CertificateFiles = { readonly cert: string; readonly key: string }

/** Throws ECONFIG when one cannot be read. */
export const readCertificate = async ({
  cert,
  key,
}: CertificateFiles): Promise<Certificate> => {
  const read = (file: string) =>
    readFile(file, 'utf8').catch((error: unknown) => {
      throw new AttestryError('ECONFIG', `server.tls: ${file}: ${messageOf(error)}`, {
        cause: error,
      })
    })
  return { cert: await read(cert), key: await read(key) }
}

const same = (a: Certificate, b: Certificate) => a.cert === b.cert && a.key === b.key

export type WatchOptions = {
  readonly files: CertificateFiles
  /** What is in force. */
  readonly certificate: Certificate
  /** Throws when the two do not fit; they may be half replaced, and are tried again when they change. */
  readonly renew: (certificate: Certificate) => void
  readonly onError: (error: unknown) => void
  /** Milliseconds. */
  readonly interval?: number
}

export const watchCertificate = (options: WatchOptions): { close(): Promise<void> } => {
  const { files, renew, onError, interval = 10_000 } = options
  let seen = options.certificate
  let failed = false
  const look = async () => {
    try {
      const next = await readCertificate(files)
      if (same(next, seen)) return
      seen = next
      renew(next)
      failed = false
    } catch (error) {
      // told once; the old one stays in force
      if (!failed) onError(error)
      failed = true
    }
  }
  let looking = Promise.resolve()
  const timer = setInterval(() => {
    looking = looking.then(look)
  }, interval)
  timer.unref()
  return {
    close: async () => {
      clearInterval(timer)
      await looking
    },
  }
}
