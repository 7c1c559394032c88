/**
 * A TUF repository in a tar.gz: what Policy Controller's `repository.mirrorFS` holds. It is only
 * read here; what is in it counts after the TUF client has verified it like any mirror's.
 */
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

const readEntries = (bytes: Buffer, file: string): Promise<Map<string, Buffer>> =>
  new Promise((resolve, reject) => {
    const files = new Map<string, Buffer>()
    let total = 0
    let entries = 0
    const fail = (what: string, cause?: unknown) =>
      reject(new AttestryError('ETRUST', `${file}: ${what}`, { cause }))
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry: ReadEntry) => {
        entries++
        total += entry.size
        if (entries > mostEntries) fail(`it has more than ${mostEntries} entries`)
        if (total > contentLimit) fail(`its content has more than ${contentLimit} bytes`)
        if (entries > mostEntries || total > contentLimit || entry.type !== 'File') {
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
  const files = await readEntries(await readBounded(file, archiveLimit), file)
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
