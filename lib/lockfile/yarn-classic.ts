/**
 * yarn.lock of yarn 1. Keys are the patterns that are asked for, several on one line where they
 * got the same version. `resolved` decides where a package comes from, as it does for yarn.
 */
import { asMapping, show, textAt, type Mapping, type Source } from './located.ts'
import type { LockedKind, Lockfile } from './lockfile.ts'
import { splitAt } from './names.ts'
import {
  addressAt,
  isFileAddress,
  isGitAddress,
  isHttp,
  isRegistrySpec,
  packageOf,
} from './package.ts'

/** A pattern's name and, where it asks for another one by `npm:`, that one. */
const readPattern = (pattern: string) => {
  const { name, rest } = splitAt(pattern) ?? { name: pattern, rest: '' }
  const own = rest.startsWith('npm:') ? rest.slice(4) : undefined
  const target = own === undefined ? undefined : (splitAt(own)?.name ?? own)
  return { name: target ?? name, rest, alias: target === undefined ? undefined : name }
}

const kindOf = (specs: readonly string[], resolved: string | undefined): LockedKind => {
  const spec = specs.find(s => !isRegistrySpec(s))
  if (resolved === undefined) {
    if (spec === undefined) return 'registry'
    if (/^(?:link|portal):/.test(spec)) return 'link'
    return isFileAddress(spec) ? 'file' : isGitAddress(spec) ? 'git' : 'url'
  }
  // without a scheme it is a file of the offline mirror
  if (!/^[a-z][a-z+.-]*:/i.test(resolved) || isFileAddress(resolved)) return 'file'
  if (isGitAddress(resolved)) return 'git'
  if (!isHttp(resolved)) return 'url'
  if (spec === undefined) return 'registry'
  return isHttp(spec) && !isGitAddress(spec) ? 'url' : 'git'
}

/** SRI of the sha1 that yarn keeps behind `#`. */
const fromFragment = (resolved: string | undefined): string | undefined => {
  const hex = /#([0-9a-f]{40})$/.exec(resolved ?? '')?.[1]
  return hex === undefined ? undefined : `sha1-${Buffer.from(hex, 'hex').toString('base64')}`
}

export const readYarnClassic = (source: Source, root: Mapping): Lockfile => {
  // keys of one line share their value; yarn takes each pattern for itself, whatever its name
  const groups = new Map<Mapping, { pattern: string; at: number }[]>()
  for (const [pattern, { at, value }] of root.entries) {
    const fields = asMapping(source, value, show(pattern))
    const group = groups.get(fields)
    if (group === undefined) groups.set(fields, [{ pattern, at }])
    else group.push({ pattern, at })
  }
  const packages = Array.from(groups, ([fields, members]) => {
    const address = addressAt(source, fields, 'resolved')
    const integrity = textAt(source, fields, 'integrity') ?? fromFragment(address.resolved)
    const version = textAt(source, fields, 'version')
    const patterns = members.map(({ pattern, at }) => ({ ...readPattern(pattern), at }))
    const specs = patterns.map(({ rest }) => rest)
    const kind = kindOf(specs, address.resolved)
    const key = members.map(({ pattern }) => pattern).join(', ')
    const named = new Map<string, { at: number; alias: string | undefined }>()
    for (const { name, at, alias } of patterns) {
      const first = named.get(name)
      named.set(name, { at: first?.at ?? at, alias: first?.alias ?? alias })
    }
    const common = { key, kind, version, integrity, ...address }
    return Array.from(named, ([name, where]) =>
      packageOf(source, { ...common, name, ...where }),
    )
  }).flat()
  return { file: source.file, format: 'yarn-classic', formatVersion: '1', packages }
}
