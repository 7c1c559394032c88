/** Finds the files in a tar file that anybody may have made; nothing is unpacked. */
import type { FileHandle } from 'node:fs/promises'
import { Header, Pax, type HeaderData } from 'tar'

const BLOCK = 512
const MAX_PAX = 64 * 1024
/** Each costs memory. */
const MAX_ENTRIES = 2_000_000

export type Span = { readonly offset: number; readonly size: number }

type Bad = (why: string) => Error

export const readSpan = async (
  handle: FileHandle,
  { offset, size }: Span,
  bad: Bad,
): Promise<Buffer> => {
  const bytes = Buffer.alloc(size)
  const { bytesRead } = await handle.read(bytes, 0, size, offset)
  if (bytesRead !== size) throw bad(`it ends at byte ${offset + bytesRead}`)
  return bytes
}

/** Throws what `bad` makes of it where it is no tar file, or not a whole one. */
export const scanTar = async (
  handle: FileHandle,
  {
    bad,
    onFile,
    onOther,
  }: {
    readonly bad: Bad
    readonly onFile: (path: string, span: Span) => void
    /** Links, folders, devices. */
    readonly onOther: () => void
  },
): Promise<void> => {
  const { size: total } = await handle.stat()
  let extended: HeaderData | undefined
  let entries = 0
  for (let at = 0; at + BLOCK <= total;) {
    const block = await readSpan(handle, { offset: at, size: BLOCK }, bad)
    const header = new Header(block, 0, extended)
    if (header.nullBlock) return
    if (!header.cksumValid) throw bad(`there is no tar entry at byte ${at}`)
    const { size = 0, path = '', type } = header
    const offset = at + BLOCK
    if (!Number.isSafeInteger(size) || size < 0 || offset + size > total)
      throw bad(`the entry at byte ${at} is longer than the file`)
    if (++entries > MAX_ENTRIES) throw bad(`it has more than ${MAX_ENTRIES} entries`)
    at = offset + Math.ceil(size / BLOCK) * BLOCK
    if (type === 'ExtendedHeader') {
      if (size > MAX_PAX) throw bad('an extended header is too large')
      extended = Pax.parse((await readSpan(handle, { offset, size }, bad)).toString('utf8'))
      continue
    }
    extended = undefined
    if (type === 'File' || type === 'OldFile') onFile(path, { offset, size })
    else onOther()
  }
  throw bad('its end is missing')
}
