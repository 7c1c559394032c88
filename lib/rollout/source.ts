/** Policy files read for publishing: with their keys, so that nothing stays behind on this machine. */
import { basename } from 'node:path'
import { keyReader } from '../config/key-file.ts'
import { readTextFile } from '../config/text-file.ts'
import { AttestryError } from '../errors.ts'
import { keyFilesOf } from '../policy/key.ts'
import { parseLayers } from '../policy/parse.ts'
import { contentMax, type Content, type PublishedLayer } from './revision.ts'

/** As `policy check` reads it. Throws EPOLICY with every complaint at file:line:column. */
export const readLayer = async (
  file: string,
  upstreams: readonly string[],
): Promise<PublishedLayer> => {
  const text = await readTextFile(file, 'EPOLICY')
  const name = basename(file)
  const readKey = keyReader(file)
  const [policy] = parseLayers([{ file, name, text, readKey }], upstreams)
  const keys = Object.fromEntries(
    (policy ? keyFilesOf(policy) : []).map(path => [path, readKey(path)]),
  )
  return { name, text, keys }
}

/** Throws EPOLICY. */
export const assertSize = ({ layers, views }: Content): void => {
  const all = [...layers, ...Object.values(views).flat()]
  const bytes = all
    .flatMap(({ text, keys }) => [text, ...Object.values(keys)])
    .reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  if (bytes <= contentMax) return
  throw new AttestryError(
    'EPOLICY',
    `The policy with its keys has ${bytes} bytes; at most ${contentMax} can be published.`,
  )
}
