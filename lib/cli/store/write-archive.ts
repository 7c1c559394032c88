/** Writes a tar file entry by entry; it has its name only when it is whole. */
import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { Header, Pax } from 'tar'

const BLOCK = 512

const headerOf = (path: string, size: number): Buffer => {
  const fields = { path, size, mode: 0o644, mtime: new Date(0), type: 'File' as const }
  const header = new Header(fields)
  const long = header.encode()
  const block = header.block ?? Buffer.alloc(0)
  // a path too long for the block, or a size: said in front, as POSIX pax does
  return long ? Buffer.concat([new Pax({ path, size }).encode(), block]) : block
}

const padding = (size: number) => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

export type ArchiveWriter = {
  add(path: string, bytes: Uint8Array): Promise<void>
  addStream(path: string, size: number, stream: Readable): Promise<void>
  /** Ends the archive and gives it its name. */
  finish(): Promise<{ readonly bytes: number }>
  /** Leaves nothing behind; safe after `finish`. */
  abort(): Promise<void>
}

export const openArchiveWriter = async (file: string): Promise<ArchiveWriter> => {
  const partial = `${file}.partial`
  const handle: FileHandle = await open(partial, 'w', 0o600)
  let bytes = 0
  let done = false
  const write = async (chunk: Uint8Array) => {
    await handle.writeFile(chunk)
    bytes += chunk.length
  }
  return {
    add: async (path, content) => {
      await write(headerOf(path, content.length))
      await write(content)
      await write(padding(content.length))
    },
    addStream: async (path, size, stream) => {
      await write(headerOf(path, size))
      let sent = 0
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        await write(chunk)
        sent += chunk.length
      }
      if (sent !== size) throw new Error(`${path}: ${sent} bytes came, not ${size}`)
      await write(padding(size))
    },
    finish: async () => {
      await write(Buffer.alloc(2 * BLOCK))
      await handle.sync()
      await handle.close()
      done = true
      await rename(partial, file)
      return { bytes }
    },
    abort: async () => {
      if (done) return
      done = true
      await handle.close()
      await rm(partial, { force: true })
    },
  }
}
