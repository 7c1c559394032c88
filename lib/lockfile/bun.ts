/**
 * bun.lock, the text lockfile of bun 1.2 and later. Each entry of `packages` is a list whose
 * first item is `name@source`; for registries the second is the tarball's address, empty for
 * npm's own, and the last the integrity. Keys are paths: `b/host` is the host that b gets.
 */
import { folderAt, lookup, namesIn, type Folder } from './bun-paths.ts'
import {
  asMapping,
  asText,
  entriesAt,
  field,
  show,
  textAt,
  verbatim,
  type List,
  type Mapping,
  type Source,
} from './located.ts'
import type { LockedKind, Lockfile } from './lockfile.ts'
import { isPackageName, isVersion, splitAt } from './names.ts'
import { isFileAddress, isGitAddress, packageOf, versionText, type Found } from './package.ts'
import { openReach, type Asks } from './reach.ts'

/** Names in one key: a longer path is nobody's node_modules. */
const MAX_PATH = 100
const MAX_KEY = MAX_PATH * 215

const kindOf = (rest: string): LockedKind => {
  if (rest.startsWith('workspace:')) return 'workspace'
  if (rest.startsWith('link:')) return 'link'
  if (isVersion(rest)) return 'registry'
  if (isFileAddress(rest)) return 'file'
  return isGitAddress(rest) ? 'git' : 'url'
}

const readEntry = (source: Source, key: string, at: number, list: List): Found => {
  const [first, second] = list.items
  if (first === undefined) throw source.complaint(list.start, 'an empty list', 'name@version')
  const id = asText(source, first, 'name@version')
  const split = splitAt(id)
  if (split === undefined) throw source.complaint(first.start, show(id), 'name@version')
  const { name, rest } = split
  const kind = kindOf(rest)
  const last = list.items.at(-1)
  const digest =
    last !== undefined && last !== first && last !== second && last.kind !== 'mapping'
      ? asText(source, last, 'the integrity')
      : undefined
  // of git the last may be the name of a folder
  const integrity = digest !== undefined && /^sha\d+-/.test(digest) ? digest : undefined
  const common = { at, key, kind, name, integrity, alias: namesIn(key).at(-1) }
  if (kind !== 'registry') {
    const resolvedAt = verbatim(source, first, rest)
    return { ...common, version: undefined, resolved: rest, resolvedAt }
  }
  if (second === undefined) throw source.complaint(list.start, 'no address', 'an address or ""')
  const resolved = asText(source, second, 'the address')
  const address =
    resolved === '' ? {} : { resolved, resolvedAt: verbatim(source, second, resolved) }
  return { ...common, ...address, version: rest }
}

export const readBun = (source: Source, root: Mapping): Lockfile => {
  const stated = field(root, 'lockfileVersion')
  const formatVersion = versionText(source, stated, root.start)
  if (!/^[012]$/.test(formatVersion))
    throw source.complaint(
      stated?.start ?? root.start,
      `lockfileVersion ${formatVersion}`,
      '0, 1 or 2',
    )
  const workspaces = Array.from(
    entriesAt(source, root, 'workspaces'),
    ([path, { value }]) => [path, asMapping(source, value, 'a workspace')] as const,
  )
  const versions = new Map(workspaces.map(([path, w]) => [path, textAt(source, w, 'version')]))

  const top: Folder = { key: undefined, above: undefined, below: new Map() }
  const folders = new Map<
    string,
    { readonly folder: Folder; readonly info: Mapping | undefined }
  >()
  const found: Found[] = []
  for (const [key, { at, value }] of entriesAt(source, root, 'packages')) {
    if (value.kind !== 'list')
      throw source.complaint(value.start, `a ${value.kind}`, 'a list for a package')
    const names = key.length > MAX_KEY ? [] : namesIn(key)
    if (names.length === 0 || names.length > MAX_PATH)
      throw source.complaint(at, show(key), `a path of at most ${MAX_PATH} names`)
    const folder = folderAt(top, names)
    folder.key = key
    folders.set(key, { folder, info: value.items.find(item => item.kind === 'mapping') })
    const entry = readEntry(source, key, at, value)
    // the project itself, where one of its dependencies asks for it
    if (entry.resolved === 'root:') continue
    const version =
      entry.kind === 'workspace'
        ? versions.get((entry.resolved ?? '').slice('workspace:'.length))
        : entry.version
    found.push({ ...entry, version })
  }

  const asks = (from: Folder, info: Mapping): Asks<string> => {
    const wanted = (group: string) =>
      Array.from(entriesAt(source, info, group).keys(), name => lookup(from, name) ?? []).flat()
    return {
      dependencies: [...wanted('dependencies'), ...wanted('peerDependencies')],
      optional: wanted('optionalDependencies'),
      dev: wanted('devDependencies'),
    }
  }
  const roots = workspaces.map(([path, workspace]) => {
    const name = path === '' ? undefined : textAt(source, workspace, 'name')
    const isNamed = name !== undefined && isPackageName(name)
    return asks(isNamed ? folderAt(top, namesIn(name)) : top, workspace)
  })
  const flags = openReach(roots, (key: string) => {
    const entry = folders.get(key)
    return entry?.info === undefined ? undefined : asks(entry.folder, entry.info)
  })
  const packages = found.map(entry => packageOf(source, { ...entry, ...flags(entry.key) }))
  return { file: source.file, format: 'bun', formatVersion, packages }
}
