/**
 * package-lock.json and npm-shrinkwrap.json, versions 1 to 3. Versions 2 and 3 are read as
 * @npmcli/arborist does (`packages`, by path); of version 2 also the `dependencies` that only
 * npm 6 looks at, as far as they say something else. Version 1 is `dependencies` alone.
 */
import {
  asMapping,
  asText,
  entriesAt,
  field,
  isTrueAt,
  show,
  textAt,
  type Entry,
  type Mapping,
  type Source,
} from './located.ts'
import type { LockedKind, LockedPackage, Lockfile, Span } from './lockfile.ts'
import { splitAt } from './names.ts'
import {
  addressAt,
  isFileAddress,
  isGitAddress,
  isHttp,
  packageOf,
  versionText,
} from './package.ts'

const groups = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']

/** Characters in one path, whatever its names. */
const MAX_PATH = 4096

/** What `resolved` or, in version 1, `version` says about the source. */
const kindOf = (
  address: string | undefined,
  asked: (address: string) => boolean,
): LockedKind => {
  if (address === undefined) return 'registry'
  if (isFileAddress(address)) return 'file'
  if (isGitAddress(address)) return 'git'
  return isHttp(address) && !asked(address) ? 'registry' : 'url'
}

/** `false` stands for an address in some files of npm 5 and 6. */
const resolvedOf = (source: Source, entry: Mapping) => {
  const node = field(entry, 'resolved')
  return node?.kind === 'scalar' && node.value === false
    ? {}
    : addressAt(source, entry, 'resolved')
}

const nameOfPath = (path: string): string => {
  const at = path.lastIndexOf('node_modules/')
  if (at !== -1) return path.slice(at + 'node_modules/'.length)
  return path.slice(path.lastIndexOf('/') + 1)
}

const readPackages = (
  source: Source,
  packages: ReadonlyMap<string, Entry>,
): LockedPackage[] => {
  const entries = Array.from(packages, ([path, { at, value }]) => ({
    path,
    at,
    entry: asMapping(source, value, path === '' ? 'the project' : 'a package'),
  }))
  // addresses that somebody asks for as such, and names that are asked for as folders
  const addresses = new Set<string>()
  const folders = new Set<string>()
  for (const { entry } of entries)
    for (const group of groups)
      for (const [name, { value }] of entriesAt(source, entry, group)) {
        const spec = asText(source, value, 'a wanted version')
        if (isHttp(spec)) addresses.add(spec)
        if (spec.startsWith('file:')) folders.add(name)
      }
  const found: LockedPackage[] = []
  const linked = new Set<string>()
  for (const { path, entry } of entries)
    if (isTrueAt(entry, 'link') && folders.has(nameOfPath(path)))
      linked.add(textAt(source, entry, 'resolved') ?? '')
  for (const { path, at, entry } of entries) {
    if (path === '') continue
    const installed = nameOfPath(path)
    const name = textAt(source, entry, 'name') ?? installed
    const version = textAt(source, entry, 'version')
    const integrity = textAt(source, entry, 'integrity')
    const base = { at, key: path, name, version, integrity }
    const flags = { dev: isTrueAt(entry, 'dev'), optional: isTrueAt(entry, 'optional') }
    if (isTrueAt(entry, 'link')) {
      const target = packages.get(textAt(source, entry, 'resolved') ?? '')?.value
      const to = target === undefined ? entry : asMapping(source, target, 'a package')
      const own = textAt(source, to, 'name') ?? installed
      const more = { version: textAt(source, to, 'version'), alias: installed }
      const address = addressAt(source, entry, 'resolved')
      found.push(
        packageOf(source, { ...base, ...flags, ...address, ...more, name: own, kind: 'link' }),
      )
    } else if (!/(?:^|\/)node_modules\//.test(path)) {
      const kind = linked.has(path) || path.startsWith('../') ? 'file' : 'workspace'
      found.push(packageOf(source, { ...base, ...flags, kind }))
    } else {
      const address = resolvedOf(source, entry)
      // npm drops these from its tree (arborist, reify.js: no idea what this thing is)
      if (address.resolved === undefined && version === undefined) continue
      const isInside = isTrueAt(entry, 'inBundle') && !address.resolved && !integrity
      const kind = isInside
        ? 'bundled'
        : kindOf(address.resolved, address => addresses.has(address))
      found.push(packageOf(source, { ...base, ...flags, ...address, alias: installed, kind }))
    }
  }
  return found
}

const readDependencies = (
  source: Source,
  parent: Mapping,
  path: string,
  found: LockedPackage[],
) => {
  for (const [installed, { at, value }] of entriesAt(source, parent, 'dependencies')) {
    const entry = asMapping(source, value, 'a dependency')
    const key = `${path}${path === '' ? '' : '/'}node_modules/${installed}`
    if (key.length > MAX_PATH)
      throw source.complaint(at, show(key), `a path of at most ${MAX_PATH} characters`)
    const written = textAt(source, entry, 'version')
    const alias = written?.startsWith('npm:') ? splitAt(written.slice(4)) : undefined
    const address = resolvedOf(source, entry)
    const integrity = textAt(source, entry, 'integrity')
    const isAddress = written !== undefined && alias === undefined && /[:/]/.test(written)
    const isInside = isTrueAt(entry, 'bundled') && !address.resolved && !integrity
    const common = {
      at,
      key,
      name: alias?.name ?? installed,
      integrity,
      alias: installed,
      dev: isTrueAt(entry, 'dev'),
      optional: isTrueAt(entry, 'optional'),
    }
    if (isInside)
      found.push(packageOf(source, { ...common, version: written, kind: 'bundled' }))
    else if (isAddress) {
      const more =
        address.resolved === undefined ? addressAt(source, entry, 'version') : address
      const kind = kindOf(written, () => true)
      found.push(packageOf(source, { ...common, ...more, version: undefined, kind }))
    } else if (written !== undefined || address.resolved !== undefined) {
      const kind = kindOf(address.resolved, () => false)
      const version = alias?.rest ?? written
      found.push(packageOf(source, { ...common, ...address, version, kind }))
    }
    readDependencies(source, entry, key, found)
  }
}

/** What is fetched, whatever the path it is put at. */
const contentOf = (p: LockedPackage) =>
  JSON.stringify([p.name, p.version, p.kind, p.integrity, p.resolved])

/** One list of version 2's two: where both say the same, the place of both addresses is kept. */
const merge = (packages: readonly LockedPackage[], old: readonly LockedPackage[]) => {
  const byKey = new Map(packages.map(p => [p.key, p]))
  const byContent = new Map(packages.map(p => [contentOf(p), p]))
  const places = new Map<LockedPackage, Span[]>()
  const more: LockedPackage[] = []
  for (const entry of old) {
    const there = byKey.get(entry.key)
    // links are folders there, and what is not from a registry has no version
    const isFolder = there?.kind === 'link' && entry.kind === 'file'
    const isAddress =
      there !== undefined &&
      entry.kind !== 'registry' &&
      contentOf({ ...entry, version: there.version }) === contentOf(there)
    const same = isFolder || isAddress ? there : byContent.get(contentOf(entry))
    if (same === undefined) more.push(entry)
    else if (!isFolder) {
      const known = places.get(same)
      if (known === undefined) places.set(same, [...entry.resolvedAt])
      else known.push(...entry.resolvedAt)
    }
  }
  const merged = packages.map(p => {
    const also = places.get(p)
    return also === undefined ? p : { ...p, resolvedAt: [...p.resolvedAt, ...also] }
  })
  return [...merged, ...more]
}

export const readNpm = (source: Source, root: Mapping): Lockfile => {
  const stated = field(root, 'lockfileVersion')
  // npm 4's shrinkwrap states none and is read as version 1
  const formatVersion = stated === undefined ? '1' : versionText(source, stated, root.start)
  if (!/^[123]$/.test(formatVersion))
    throw source.complaint(
      stated?.start ?? root.start,
      `lockfileVersion ${formatVersion}`,
      '1, 2 or 3',
    )
  const old: LockedPackage[] = []
  readDependencies(source, root, '', old)
  const packages = merge(readPackages(source, entriesAt(source, root, 'packages')), old)
  return { file: source.file, format: 'npm', formatVersion, packages }
}
