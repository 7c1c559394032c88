import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { FileSystem } from './file-system.ts'
import { unlessMissing, writeFully } from './file-system.ts'
import { refusal } from './store-error.ts'

/** Of the directory layout; the tables inside the database have a version of their own. */
const layout = 1
const stampName = 'attestry-store.json'

const layoutIn = (text: string, path: string): number => {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (error) {
    throw refusal(`${path} is not a store's stamp: ${messageOf(error)}.`, { path })
  }
  if (typeof found === 'object' && found !== null && 'layout' in found) {
    const { layout } = found
    if (typeof layout === 'number' && Number.isInteger(layout)) return layout
  }
  throw refusal(`${path} is not a store's stamp: it names no layout.`, { path })
}

/**
 * The stamp says which layout the directory has, so that another version refuses what it does not
 * know instead of reading it wrongly. It is the first thing written: a directory that holds a
 * store's parts and no stamp was made by something else, and is refused. Throws ESTORE.
 */
export const checkStamp = async (
  fs: FileSystem,
  root: string,
  { temporary, parts }: { readonly temporary: string; readonly parts: readonly string[] },
): Promise<void> => {
  const path = join(root, stampName)
  const read = () => unlessMissing(fs.readFile(path, 'utf8'))
  let text = await read()
  if (text === undefined) {
    const found = (await fs.readdir(root)).filter(name => parts.includes(name))
    // Another process may have stamped and filled it between the two looks.
    text = await read()
    if (text === undefined && found.length > 0) {
      throw refusal(
        `${root} holds ${found.join(' and ')} but no ${stampName}: it is not a store this version ` +
          'made. Name another storage path, or move these away.',
        { path: root, found },
      )
    }
  }
  if (text === undefined) {
    const handle = await fs.open(temporary, 'wx')
    try {
      await writeFully(handle, Buffer.from(`${JSON.stringify({ layout })}\n`))
      await handle.datasync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, path)
    return
  }
  const found = layoutIn(text, path)
  if (found === layout) return
  throw refusal(
    `The store at ${root} has layout ${found}; this version knows layout ${layout}. ` +
      (found > layout ? 'Use the newer version that made it.' : 'Name another storage path.'),
    { path: root, found, wanted: layout },
  )
}
