/**
 * A TUF repository in a tar.gz: what Policy Controller's `repository.mirrorFS` holds. It is only
 * read here; what is in it counts after the TUF client has verified it like any mirror's.
 */
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { Parser, type ReadEntry } from 'tar'
import { AttestryError, messageOf } from '../errors.ts'
import { readBounded } from './files.ts'

/** Bytes; sigstore's own repository has under 1 MB. */
const archiveLimit = 64 * 1024 * 1024
const contentLimit = 128 * 1024 * 1024
const mostEntries = 20_000

export type TufArchive = {
  /** By path, without a leading `./`. */
  readonly files: ReadonlyMap<string, Buffer>
  /** Folders in it that hold metadata and targets; empty, or with a slash at their end. */
  readonly metadata: string
  readonly targets: string
}

const refuse = (file: string, what: string, cause?: unknown): never => {
  throw new AttestryError('ETRUST', `${file}: ${what}`, { cause })
}

const unzip = promisify(gunzip)

/** Bounded before a byte of it is looked at: a small file may unpack to any size. */
const unpacked = async (file: string): Promise<Buffer> => {
  const bytes = await readBounded(file, archiveLimit)
  try {
    return await unzip(bytes, { maxOutputLength: contentLimit })
  } catch (error) {
    const tooLong = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
    const what = tooLong ? `it unpacks to more than ${contentLimit} bytes` : 'it is no tar.gz'
    return refuse(file, what, error)
  }
}

const readEntries = (bytes: Buffer, file: string): Promise<Map<string, Buffer>> =>
  new Promise((resolve, reject) => {
    const files = new Map<string, Buffer>()
    let entries = 0
    const fail = (what: string, cause?: unknown) =>
      reject(new AttestryError('ETRUST', `${file}: ${what}`, { cause }))
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry: ReadEntry) => {
        entries++
        if (entries > mostEntries) fail(`it has more than ${mostEntries} entries`)
        if (entries > mostEntries || entry.type !== 'File') {
          entry.resume()
          return
        }
        const chunks: Buffer[] = []
        entry.on('data', (chunk: Buffer) => chunks.push(chunk))
        entry.on('end', () => {
          files.set(entry.path.replace(/^(\.?\/)+/, ''), Buffer.concat(chunks))
        })
      },
    })
    parser.on('error', error => fail(`it is no tar.gz: ${messageOf(error)}`, error))
    parser.on('end', () => resolve(files))
    parser.end(bytes)
  })

/** Targets lie below the metadata, as sigstore publishes them, or beside it, as TUF's own tools do. */
export const readArchive = async (file: string): Promise<TufArchive> => {
  const files = await readEntries(await unpacked(file), file)
  const names = [...files.keys()]
  const [found, ...more] = names.filter(name => /(^|\/)timestamp\.json$/.test(name))
  if (found === undefined) return refuse(file, 'it has no timestamp.json, so no TUF repository')
  if (more.length > 0) refuse(file, `it has several TUF repositories: ${found}, ${more[0]}`)
  const metadata = found.slice(0, -'timestamp.json'.length)
  const below = `${metadata}targets/`
  const beside = `${metadata.replace(/[^/]+\/$/, '')}targets/`
  const targets = names.some(name => name.startsWith(below)) ? below : beside
  return { files, metadata, targets }
}
