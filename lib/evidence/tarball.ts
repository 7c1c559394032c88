/**
 * The one package.json in a package's tarball that package managers install by, found the way they
 * unpack: every entry loses its first folder, whatever that is called (pacote: tar's strip 1).
 */
import { pipeline, type Readable } from 'node:stream'
import { createGunzip, gunzipSync } from 'node:zlib'
import { Parser, type ReadEntry } from 'tar'
import { quote, refuse } from './finding.ts'
import type { TarballLimits } from './tarball-limits.ts'

export type PackageJson = Readonly<Record<string, unknown>>

const bad = (detail: string, wanted?: string, found?: string): never =>
  refuse('MANIFEST_MISMATCH', detail, { wanted, found })

/**
 * Where an entry ends up, in lower case, for entries that land at the top; undefined for others.
 * Case and back slashes are folded because some file systems do.
 */
const topName = (path: string): string | undefined => {
  const [, ...rest] = path.replaceAll('\\', '/').split('/')
  const parts = rest.filter(part => part !== '' && part !== '.')
  return parts.length === 1 ? parts[0]?.toLowerCase() : undefined
}

const regular = new Set(['File', 'OldFile', 'ContiguousFile'])

/** Collects what is asked for out of an archive's entries; throws findings. */
const collector = (limits: TarballLimits) => {
  let entries = 0
  let manifest: Buffer[] | undefined
  let failure: unknown

  const take = (entry: ReadEntry): void => {
    if (++entries > limits.entries)
      bad('The tarball has too many entries.', `at most ${limits.entries}`)
    const name = topName(entry.path)
    if (name !== 'package.json') return
    if (manifest !== undefined)
      bad('The tarball has more than one package.json at its top.', '1', quote(entry.path))
    if (!regular.has(entry.type))
      bad('The package.json in the tarball is not a file.', 'File', entry.type)
    if (entry.size > limits.manifest)
      bad('The package.json in the tarball is too large.', `at most ${limits.manifest} bytes`)
    const chunks: Buffer[] = []
    manifest = chunks
    entry.on('data', chunk => chunks.push(chunk))
  }

  return {
    onReadEntry: (entry: ReadEntry): void => {
      try {
        if (failure === undefined) take(entry)
      } catch (error) {
        // thrown inside the parser it would be lost
        failure = error
      }
      entry.resume()
    },
    check: (): void => {
      if (failure !== undefined) throw failure
    },
    content: (): PackageJson => {
      if (manifest === undefined) return bad('The tarball has no package.json.')
      return parseManifest(Buffer.concat(manifest))
    },
  }
}

const parseManifest = (bytes: Buffer): PackageJson => {
  let parsed: unknown
  try {
    // npm tolerates a byte order mark
    parsed = JSON.parse(bytes.toString('utf8').replace(/^\uFEFF/, ''))
  } catch (error) {
    return bad('The package.json in the tarball is not JSON.', undefined, quote(String(error)))
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return bad('The package.json in the tarball is not a JSON object.')
  return parsed as PackageJson
}

const isGzip = (head: Uint8Array | undefined) => head?.[0] === 0x1f && head[1] === 0x8b

/** gzip, or as npm allows a bare tar; decompressed bytes are counted before anything reads them. */
async function* unpacked(
  tarball: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Buffer> {
  const source = tarball[Symbol.asyncIterator]()
  const first = await source.next()
  const head = first.done ? undefined : first.value
  const whole = async function* () {
    try {
      if (head !== undefined) yield head
      for (let next = await source.next(); !next.done; next = await source.next())
        yield next.value
    } finally {
      await source.return?.()
    }
  }
  const gunzip = isGzip(head) ? createGunzip() : undefined
  // errors of either side come out of gunzip itself
  const plain = gunzip === undefined ? whole() : pipeline(whole(), gunzip, () => {})
  let size = 0
  try {
    for await (const chunk of plain as AsyncIterable<Uint8Array>) {
      size += chunk.length
      if (size > limit) bad('The tarball unpacks to too much.', `at most ${limit} bytes`)
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
    }
  } finally {
    gunzip?.destroy()
  }
}

/** Bytes up to which what is here whole is unpacked at once, which costs half. */
const AT_ONCE = 4 * 1024 ** 2

/** As zlib has it by itself: what a lie about the size can make smaller costs a turn for each. */
const smallestChunk = 16 * 1024

/**
 * Frees memory that nobody reads any more at once, not when it is next collected: it counts as the
 * heap's own, and a small heap would be collected again and again for it. Only for bytes that are
 * alone in their memory; what is smaller than the memory that small buffers share is left.
 */
export const giveBack = ({ buffer, byteLength }: Uint8Array): void => {
  if (byteLength > Buffer.poolSize && buffer instanceof ArrayBuffer) buffer.transfer(0)
}

async function* onePiece<T>(piece: T): AsyncGenerator<T> {
  yield piece
}

type Unpacked = {
  readonly chunks: AsyncIterable<Buffer>
  /** All of it, to be given back when it has been read. */
  readonly whole?: Buffer
}

/** As `unpacked` of the same bytes. */
const unpackedWhole = (tarball: Uint8Array, limit: number): Unpacked => {
  const most = Math.min(limit, AT_ONCE)
  // what it says of its own size (RFC 1952, ISIZE) only saves a try
  const { buffer, byteOffset, length } = tarball
  const told = length < 18 ? 0 : new DataView(buffer, byteOffset).getUint32(length - 4, true)
  if (!isGzip(tarball) || told > most) return { chunks: unpacked(onePiece(tarball), limit) }
  try {
    // one byte more than it should need: zlib sees the end and asks for no second buffer
    const chunkSize = Math.max(smallestChunk, told + 1)
    const whole = gunzipSync(tarball, { maxOutputLength: most, chunkSize })
    return { chunks: onePiece(whole), whole }
  } catch {
    // too large for that, or broken: the stream tells which
    return { chunks: unpacked(onePiece(tarball), limit) }
  }
}

/** Reads a tarball to its end. Throws a finding, or what zlib and tar throw. */
export const readTarball = async (
  tarball: Readable | AsyncIterable<Uint8Array> | Uint8Array,
  limits: TarballLimits,
): Promise<PackageJson> => {
  const collect = collector(limits)
  // the stream is decompressed already; nothing else is guessed
  const parser = new Parser({ onReadEntry: collect.onReadEntry, brotli: false, zstd: false })
  const ended = new Promise<void>((resolve, reject) => {
    parser.on('end', resolve)
    parser.on('error', reject)
    parser.on('abort', reject)
    // without strict mode tar only warns of these; npm's unpacking stops
    parser.on('warn', (code: string, message: string | Error) => {
      if (code === 'TAR_BAD_ARCHIVE' || code === 'TAR_ABORT')
        reject(message instanceof Error ? message : new Error(message))
    })
  })
  ended.catch(() => {})
  let first = true
  const { chunks, whole }: Unpacked =
    tarball instanceof Uint8Array
      ? unpackedWhole(tarball, limits.unpacked)
      : { chunks: unpacked(tarball, limits.unpacked) }
  for await (const chunk of chunks) {
    if (first && isGzip(chunk)) bad('The tarball is compressed twice.')
    first = false
    if (!parser.write(chunk))
      await Promise.race([new Promise(resolve => parser.once('drain', resolve)), ended])
    collect.check()
  }
  parser.end()
  await ended
  collect.check()
  const content = collect.content()
  // only here is it certain that the parser has let go of it
  if (whole) giveBack(whole)
  return content
}
