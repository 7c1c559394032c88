/**
 * npm that trusts a local sigstore: it takes its trust from the public TUF repository and from nowhere
 * else, so a copy of it is given the address and the root of the local one; nothing else is changed.
 */
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export type LocalTuf = { readonly mirror: string; readonly root: unknown }

/** `installed` is the folder of the client's package; gives the program of the copy in `to`. */
export const trustingNpm = async (
  installed: string,
  to: string,
  { mirror, root }: LocalTuf,
): Promise<string> => {
  await cp(installed, to, { recursive: true })
  const tuf = join(to, 'node_modules', '@sigstore', 'tuf')
  const code = join(tuf, 'dist', 'index.js')
  const text = await readFile(code, 'utf8')
  const patched = text.replace(
    /(exports\.DEFAULT_MIRROR_URL = )'[^']+'/,
    (_, start: string) => `${start}${JSON.stringify(mirror)}`,
  )
  if (patched === text) throw new Error(`${installed} is not as it was`)
  await writeFile(code, patched)
  const seed = Buffer.from(JSON.stringify(root)).toString('base64')
  const seeds = { [mirror]: { 'root.json': seed, targets: {} } }
  await writeFile(join(tuf, 'seeds.json'), JSON.stringify(seeds))
  return join(to, 'bin', 'npm-cli.js')
}
