/**
 * `dependencies` of package-lock versions 1 and 2: nested as node_modules is. What is not from
 * a registry has its address as `version`, aliases have `npm:name@1.0.0` there.
 */
import { asMapping, entriesAt, isTrueAt, show, textAt } from './located.ts'
import type { Mapping, Source } from './located.ts'
import type { LockedPackage } from './lockfile.ts'
import { splitAt } from './names.ts'
import { kindOf, resolvedOf, versionIn } from './npm-entry.ts'
import { addressAt, packageOf } from './package.ts'

/** Characters in one path, whatever its names. */
const MAX_PATH = 4096

const readDependency = (
  source: Source,
  where: { readonly at: number; readonly key: string; readonly installed: string },
  entry: Mapping,
): LockedPackage | undefined => {
  const { installed } = where
  const stated = textAt(source, entry, 'version')
  const address = resolvedOf(source, entry)
  const integrity = textAt(source, entry, 'integrity')
  const alias = stated?.startsWith('npm:') ? splitAt(stated.slice(4)) : undefined
  const common = {
    at: where.at,
    key: where.key,
    name: alias?.name ?? installed,
    integrity,
    alias: installed,
    dev: isTrueAt(entry, 'dev'),
    optional: isTrueAt(entry, 'optional'),
  }
  if (isTrueAt(entry, 'bundled') && address.resolved === undefined && !integrity)
    return packageOf(source, { ...common, version: stated, kind: 'bundled' })
  if (stated !== undefined && alias === undefined && /[:/]/.test(stated)) {
    const more = address.resolved === undefined ? addressAt(source, entry, 'version') : address
    const kind = kindOf(stated, () => true)
    return packageOf(source, { ...common, ...more, version: undefined, kind })
  }
  const version = alias?.rest ?? stated ?? versionIn(address.resolved, installed)
  if (version === undefined && address.resolved === undefined) return undefined
  const kind = kindOf(address.resolved, () => false)
  return packageOf(source, { ...common, ...address, version, kind })
}

/** Adds what is in `parent`, and below that, to `found`. */
export const readDependencies = (
  source: Source,
  parent: Mapping,
  path: string,
  found: LockedPackage[],
): void => {
  for (const [installed, { at, value }] of entriesAt(source, parent, 'dependencies')) {
    const entry = asMapping(source, value, 'a dependency')
    const key = `${path}${path === '' ? '' : '/'}node_modules/${installed}`
    if (key.length > MAX_PATH)
      throw source.complaint(at, show(key), `a path of at most ${MAX_PATH} characters`)
    const read = readDependency(source, { at, key, installed }, entry)
    if (read !== undefined) found.push(read)
    readDependencies(source, entry, key, found)
  }
}
