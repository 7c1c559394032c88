/**
 * package-lock.json and npm-shrinkwrap.json, versions 1 to 3. Version 3 is `packages`, version 1
 * `dependencies`; version 2 has both, of which only npm 6 looks at the latter: from there come
 * the entries that say something else than `packages`.
 */
import { entriesAt, field, type Mapping, type Source } from './located.ts'
import type { LockedPackage, Lockfile, Span } from './lockfile.ts'
import { readDependencies } from './npm-dependencies.ts'
import { readPackages } from './npm-packages.ts'
import { versionText } from './package.ts'

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
    const version = entry.kind === 'registry' ? entry.version : (there?.version ?? '')
    const isSame = there !== undefined && contentOf({ ...entry, version }) === contentOf(there)
    const same = isFolder || isSame ? there : byContent.get(contentOf(entry))
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
