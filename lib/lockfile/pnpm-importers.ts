/** pnpm's `importers`: the project and its workspaces, who they ask for and under which name. */
import { join } from 'node:path/posix'
import {
  asMapping,
  asText,
  entriesAt,
  field,
  type Entry,
  type Located,
  type Mapping,
  type Source,
} from './located.ts'
import type { LockedPackage } from './lockfile.ts'
import { splitAt } from './names.ts'
import { packageOf } from './package.ts'
import { referredKey, withoutPeers } from './pnpm-keys.ts'
import { openReach, type Asks, type Flags } from './reach.ts'

export type Importers = {
  /** Of a key of `packages`, version 9. */
  readonly flags: (key: string) => Flags
  /** By key of `packages`: a name it is installed under that is not its own. */
  readonly aliases: ReadonlyMap<string, string>
  /** Workspaces, and folders that are linked to. */
  readonly local: readonly LockedPackage[]
}

const dependencyGroups = ['dependencies', 'optionalDependencies', 'devDependencies'] as const

export const readImporters = (
  source: Source,
  root: Mapping,
  snapshots: ReadonlyMap<string, Entry>,
  isSix: boolean,
): Importers => {
  const aliases = new Map<string, string>()

  /** In `importers` a dependency is `{ specifier, version }`, elsewhere the version alone. */
  const reference = (node: Located): string => {
    const version = node.kind === 'mapping' ? field(node, 'version') : node
    if (version === undefined) throw source.complaint(node.start, 'no version', 'a version')
    return asText(source, version, 'the version of a dependency')
  }

  const asksOf = (mapping: Mapping): Asks<string> => {
    const [dependencies, optional, dev] = dependencyGroups.map(group =>
      Array.from(entriesAt(source, mapping, group), ([name, { value }]) => {
        const key = referredKey(name, reference(value), isSix)
        if (key === undefined) return []
        const bare = withoutPeers(key)
        const own = splitAt(isSix ? bare.replace(/^\//, '') : bare)?.name
        const listed = isSix ? key : bare
        if (own !== undefined && own !== name && !aliases.has(listed)) aliases.set(listed, name)
        return [key]
      }).flat(),
    )
    return { dependencies: dependencies ?? [], optional: optional ?? [], dev: dev ?? [] }
  }

  // of a project without workspaces, version 6 has the root's groups at the top
  const importers = field(root, 'importers')
  const projects =
    importers === undefined
      ? [['.', root, root.start] as const]
      : Array.from(
          asMapping(source, importers, 'importers').entries,
          ([path, { at, value }]) =>
            [path, asMapping(source, value, 'an importer'), at] as const,
        )
  const roots = projects.map(([, project]) => asksOf(project))
  const asked = new Map<string, Asks<string>>()
  for (const [key, { value }] of snapshots)
    asked.set(key, asksOf(asMapping(source, value, 'a package')))

  const flags = openReach(roots, (key: string) => asked.get(key))
  /** A package is what its peer variants are together. */
  const combined = new Map<string, Flags>()
  for (const key of asked.keys()) {
    const bare = withoutPeers(key)
    const own = flags(key)
    const before = combined.get(bare)
    combined.set(bare, {
      dev: own.dev && before?.dev !== false,
      optional: own.optional && before?.optional !== false,
    })
  }

  const local: LockedPackage[] = []
  const names = new Map<string, string>()
  const links: { name: string; at: number; path: string; resolved: string; dev: boolean }[] = []
  for (const [from, project] of projects)
    for (const group of dependencyGroups)
      for (const [name, { at, value }] of entriesAt(source, project, group)) {
        const resolved = reference(value)
        if (!resolved.startsWith('link:')) continue
        const path = join(from, resolved.slice('link:'.length))
        names.set(path, name)
        links.push({ name, at, path, resolved, dev: group === 'devDependencies' })
      }
  const workspaces = new Set(projects.map(([path]) => join(path)))
  for (const [path, , at] of projects) {
    if (join(path) === '.') continue
    const name = names.get(join(path)) ?? path.slice(path.lastIndexOf('/') + 1)
    local.push(
      packageOf(source, { at, key: path, kind: 'workspace', name, version: undefined }),
    )
  }
  for (const { name, at, path, resolved, dev } of links) {
    if (workspaces.has(path)) continue
    local.push(
      packageOf(source, {
        at,
        key: name,
        kind: 'link',
        name,
        version: undefined,
        resolved,
        dev,
      }),
    )
  }
  return {
    flags: key => combined.get(withoutPeers(key)) ?? { dev: false, optional: false },
    aliases,
    local,
  }
}
