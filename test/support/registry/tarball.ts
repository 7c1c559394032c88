/** Builds package tarballs as npm packs them: everything under `package/`, the same bytes every time. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { Header } from 'tar'

export type Files = Readonly<Record<string, string | Uint8Array>>

const block = 512
// npm's own constant for reproducible packing
const mtime = new Date('1985-10-26T08:15:00.000Z')

const entry = (path: string, content: Uint8Array): Buffer[] => {
  const header = new Header({ path, mode: 0o644, size: content.length, type: 'File', mtime })
  const head = Buffer.alloc(block)
  if (header.encode(head, 0)) throw new Error(`the path ${path} is too long for this tarball`)
  const padding = Buffer.alloc((block - (content.length % block)) % block)
  return [head, Buffer.from(content.buffer, content.byteOffset, content.length), padding]
}

/** `level` 0 stores: quick, for tarballs of 100 MB. */
export const packTarball = (files: Files, level = 6): Buffer => {
  const blocks = Object.entries(files).flatMap(([path, content]) =>
    entry(`package/${path}`, typeof content === 'string' ? Buffer.from(content) : content),
  )
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(2 * block)]), { level })
}

/** Bytes that do not compress, made quickly and always the same. */
export const noise = (size: number): Buffer => {
  const chunk = createHash('shake256', { outputLength: 65_536 }).update('noise').digest()
  return Buffer.alloc(size, chunk)
}
