/**
 * pnpm-lock.yaml, versions 6 (pnpm 8) and 9 (pnpm 9 to 12). In 9, `packages` are the tarballs,
 * `snapshots` what each gets beside its peers; in 6 both are one. The first of two documents is
 * what pnpm 11 and later install for themselves (configuration dependencies, package manager).
 */
import {
  asMapping,
  entriesAt,
  field,
  isTrueAt,
  show,
  textAt,
  verbatim,
  type Entry,
  type Located,
  type Mapping,
  type Source,
} from './located.ts'
import type { LockedKind, LockedPackage, Lockfile } from './lockfile.ts'
import { isVersion, splitAt } from './names.ts'
import { isFileAddress, isGitAddress, packageOf, versionText } from './package.ts'
import { readImporters } from './pnpm-importers.ts'
import { withoutPeers } from './pnpm-keys.ts'

/** What a `resolution` says: where from, and where that stands. */
const readResolution = (source: Source, resolution: Mapping, isSemver: boolean) => {
  const type = textAt(source, resolution, 'type')
  const integrity = textAt(source, resolution, 'integrity')
  const [key, kind] = ((): readonly [string, LockedKind] => {
    if (type === 'directory') return ['directory', 'file']
    if (type === 'git') return ['repo', 'git']
    // a runtime (node, deno, bun) for each platform, from its own download page
    if (type === 'binary') return ['url', 'url']
    const tarball = textAt(source, resolution, 'tarball')
    if (tarball === undefined)
      return ['tarball', type === undefined && isSemver ? 'registry' : 'url']
    if (isFileAddress(tarball)) return ['tarball', 'file']
    if (isTrueAt(resolution, 'gitHosted') || isGitAddress(tarball)) return ['tarball', 'git']
    return ['tarball', isSemver ? 'registry' : 'url']
  })()
  const written = textAt(source, resolution, key)
  if (written === undefined) return { kind, integrity }
  const commit = kind === 'git' ? textAt(source, resolution, 'commit') : undefined
  const resolved = commit === undefined ? written : `${written}#${commit}`
  const resolvedAt = verbatim(source, resolution.entries.get(key)?.value, resolved)
  return { kind, integrity, resolved, resolvedAt }
}

/** Name and version out of a key and, where the key is an address, out of the entry. */
const identityOf = (source: Source, key: string, entry: Mapping, isSix: boolean) => {
  const bare = withoutPeers(key)
  const split =
    isSix && !bare.startsWith('/') ? undefined : splitAt(isSix ? bare.slice(1) : bare)
  const version = textAt(source, entry, 'version')
  if (split !== undefined && isVersion(split.rest))
    return { name: split.name, version: split.rest, isSemver: true }
  const name = textAt(source, entry, 'name') ?? split?.name ?? bare
  return { name, version, isSemver: false }
}

const readDocument = (source: Source, root: Mapping, isSix: boolean): LockedPackage[] => {
  const packages = entriesAt(source, root, 'packages')
  const snapshots = entriesAt(source, root, isSix ? 'packages' : 'snapshots')
  if (!isSix)
    for (const [key, { at }] of snapshots)
      if (!packages.has(key) && !packages.has(withoutPeers(key)))
        throw source.complaint(at, `${show(key)} in snapshots alone`, 'its entry in packages')
  const { flags, aliases, local } = readImporters(source, root, snapshots, isSix)
  const read = ([key, { at, value }]: readonly [string, Entry]): LockedPackage => {
    const entry = asMapping(source, value, 'a package')
    const { isSemver, ...identity } = identityOf(source, key, entry, isSix)
    const resolution = field(entry, 'resolution')
    if (resolution === undefined)
      throw source.complaint(at, `${show(key)} without resolution`, 'a resolution')
    return packageOf(source, {
      at,
      key,
      ...identity,
      ...readResolution(source, asMapping(source, resolution, 'a resolution'), isSemver),
      alias: aliases.get(isSix ? key : withoutPeers(key)),
      ...(isSix
        ? { dev: isTrueAt(entry, 'dev'), optional: isTrueAt(entry, 'optional') }
        : flags(key)),
    })
  }
  return [...local, ...Array.from(packages, read)]
}

export const readPnpm = (source: Source, documents: readonly Located[]): Lockfile => {
  const roots = documents.map(document => asMapping(source, document, 'the lockfile'))
  const versions = roots.map(root => {
    const stated = field(root, 'lockfileVersion')
    const version = versionText(source, stated, root.start)
    if (!/^(?:6|9)\.\d+$/.test(version)) {
      const wanted = '6.0 or 9.0 (pnpm 8 and later)'
      throw source.complaint(stated?.start ?? root.start, `lockfileVersion ${version}`, wanted)
    }
    return version
  })
  const packages = roots.flatMap((root, index) =>
    readDocument(source, root, versions[index]?.startsWith('6') === true),
  )
  const formatVersion = versions.at(-1)
  if (formatVersion === undefined) throw source.complaint(0, 'an empty file', 'lockfileVersion')
  return { file: source.file, format: 'pnpm', formatVersion, packages }
}
