/**
 * Reads an archive that anybody may have made. Its entries are looked up in place: nothing is
 * unpacked, no path of it is ever used as a path, and links, folders and devices are not looked at.
 */
import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import type { z } from 'zod'
import { AttestryError, messageOf } from '../../errors.ts'
import type { PackageId } from '../../types.ts'
import {
  attestationsPath,
  CONTENTS,
  contentsSchema,
  packumentPath,
  partOf,
  tarballPath,
  vouchesPath,
  vouchesSchema,
  type ArchivePart,
  type Contents,
  type VouchesPart,
} from './archive.ts'
import { readSpan, scanTar, type Span } from './scan-tar.ts'

const MAX_CONTENTS = 256 * 1024 * 1024
const MAX_VOUCHES = 16 * 1024 * 1024

/** Bytes of one document of its kind. */
export type ArchiveLimits = {
  readonly packument: number
  readonly attestations: number
  readonly tarball: number
}

export type Archive = {
  readonly contents: Contents
  readonly tarballs: readonly PackageId[]
  /** Versions that somebody vouched for, or took a vouch back. */
  readonly vouched: readonly PackageId[]
  /** Entries that no export writes. */
  readonly ignored: number
  packument(name: string): Promise<Buffer | undefined>
  attestations(id: PackageId): Promise<Buffer | undefined>
  vouches(id: PackageId): Promise<VouchesPart>
  tarball(id: PackageId): { readonly stream: Readable; readonly size: number } | undefined
  close(): Promise<void>
}

const inflate = promisify(gunzip)

export const openArchive = async (file: string, limits: ArchiveLimits): Promise<Archive> => {
  const bad = (why: string, cause?: unknown) =>
    new AttestryError('EARCHIVE', `${file}: ${why}`, { cause })
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    throw bad(error.code === 'ENOENT' ? 'there is no such file' : messageOf(error), error)
  })
  const limitOf: Readonly<Record<ArchivePart['kind'], number>> = {
    contents: MAX_CONTENTS,
    vouches: MAX_VOUCHES,
    ...limits,
  }

  const read = (span: Span) => readSpan(handle, span, bad)

  const spans = new Map<string, Span>()
  const tarballs: PackageId[] = []
  const vouched: PackageId[] = []
  let ignored = 0

  const note = (path: string, span: Span) => {
    const part = partOf(path)
    if (!part) {
      ignored++
      return
    }
    if (span.size > limitOf[part.kind])
      throw bad(`${path} has ${span.size} bytes; at most ${limitOf[part.kind]} are taken`)
    if (spans.has(path)) throw bad(`it holds ${path} twice`)
    spans.set(path, span)
    if (part.kind === 'tarball') tarballs.push(part.id)
    if (part.kind === 'vouches') vouched.push(part.id)
  }

  const documentAt = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const span = spans.get(path)
    if (!span) throw bad(`it has no ${path}`)
    let document: unknown
    try {
      document = JSON.parse((await read(span)).toString('utf8'))
    } catch (error) {
      throw bad(`${path}: ${messageOf(error)}`, error)
    }
    const result = schema.safeParse(document)
    if (result.success) return result.data
    const [issue] = result.error.issues
    throw bad(`${path}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
  }

  try {
    await scanTar(handle, { bad, onFile: note, onOther: () => ignored++ })
    const contents = await documentAt(CONTENTS, contentsSchema)
    return {
      contents,
      tarballs,
      vouched,
      ignored,
      packument: async name => {
        const span = spans.get(packumentPath(name))
        if (!span) return undefined
        try {
          return await inflate(await read(span), { maxOutputLength: limits.packument })
        } catch (error) {
          throw bad(`${packumentPath(name)}: ${messageOf(error)}`, error)
        }
      },
      attestations: async id => {
        const span = spans.get(attestationsPath(id))
        return span && (await read(span))
      },
      vouches: id => documentAt(vouchesPath(id), vouchesSchema),
      tarball: id => {
        const span = spans.get(tarballPath(id))
        if (!span) return undefined
        const { offset, size } = span
        if (size === 0) return { stream: Readable.from([]), size }
        const stream = handle.createReadStream({
          start: offset,
          end: offset + size - 1,
          autoClose: false,
        })
        return { stream, size }
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}
