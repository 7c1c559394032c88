/** `packages` of package-lock versions 2 and 3: one entry for each path, as arborist reads it. */
import { asMapping, asText, entriesAt, isTrueAt, textAt } from './located.ts'
import type { Entry, Mapping, Source } from './located.ts'
import type { LockedPackage } from './lockfile.ts'
import { kindOf, resolvedOf, versionIn } from './npm-entry.ts'
import { addressAt, isHttp, packageOf } from './package.ts'

type PathEntry = { readonly path: string; readonly at: number; readonly entry: Mapping }

const groups = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']

const isInstalledPath = (path: string) => /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/]+$/.test(path)

const nameOfPath = (path: string): string => {
  const folder = path.lastIndexOf('node_modules/')
  if (folder !== -1 && isInstalledPath(path)) return path.slice(folder + 'node_modules/'.length)
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Addresses that somebody asks for as such, and names that are asked for as folders. */
const wantedBy = (source: Source, entries: readonly PathEntry[]) => {
  const addresses = new Set<string>()
  const folders = new Set<string>()
  for (const { entry } of entries)
    for (const group of groups)
      for (const [name, { value }] of entriesAt(source, entry, group)) {
        const wanted = asText(source, value, 'a wanted version')
        if (isHttp(wanted)) addresses.add(wanted)
        if (wanted.startsWith('file:')) folders.add(name)
      }
  return { addresses, folders }
}

export const readPackages = (
  source: Source,
  packages: ReadonlyMap<string, Entry>,
): LockedPackage[] => {
  const entries: PathEntry[] = Array.from(packages, ([path, { at, value }]) => ({
    path,
    at,
    entry: asMapping(source, value, path === '' ? 'the project' : 'a package'),
  }))
  const { addresses, folders } = wantedBy(source, entries)
  const linkedFolders = new Set(
    entries
      .filter(({ path, entry }) => isTrueAt(entry, 'link') && folders.has(nameOfPath(path)))
      .map(({ entry }) => textAt(source, entry, 'resolved')),
  )

  const read = ({ path, at, entry }: PathEntry): LockedPackage | undefined => {
    const installed = nameOfPath(path)
    const name = textAt(source, entry, 'name') ?? installed
    const stated = textAt(source, entry, 'version')
    const integrity = textAt(source, entry, 'integrity')
    const address = resolvedOf(source, entry)
    const common = {
      at,
      key: path,
      name,
      version: stated,
      integrity,
      dev: isTrueAt(entry, 'dev'),
      optional: isTrueAt(entry, 'optional'),
    }
    if (isTrueAt(entry, 'link')) {
      const target = packages.get(address.resolved ?? '')?.value
      const to = target === undefined ? entry : asMapping(source, target, 'a package')
      return packageOf(source, {
        ...common,
        ...addressAt(source, entry, 'resolved'),
        name: textAt(source, to, 'name') ?? installed,
        version: textAt(source, to, 'version'),
        alias: installed,
        kind: 'link',
      })
    }
    if (!isInstalledPath(path) && address.resolved === undefined) {
      const isWorkspace = !linkedFolders.has(path) && !path.startsWith('../')
      return packageOf(source, { ...common, kind: isWorkspace ? 'workspace' : 'file' })
    }
    // npm drops these from its tree (arborist, reify.js: no idea what this thing is)
    if (address.resolved === undefined && stated === undefined) return undefined
    const isInside = isTrueAt(entry, 'inBundle') && address.resolved === undefined && !integrity
    return packageOf(source, {
      ...common,
      ...address,
      version: stated ?? versionIn(address.resolved, name),
      alias: installed,
      kind: isInside ? 'bundled' : kindOf(address.resolved, wanted => addresses.has(wanted)),
    })
  }
  return entries.flatMap(entry => (entry.path === '' ? [] : (read(entry) ?? [])))
}
