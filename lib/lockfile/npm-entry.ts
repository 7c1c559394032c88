/** What entries of npm's lockfiles have in common, of all versions. */
import { field, type Mapping, type Source } from './located.ts'
import type { LockedKind } from './lockfile.ts'
import { isVersion, tarballAddress } from './names.ts'
import { addressAt, isFileAddress, isGitAddress, isHttp } from './package.ts'

/** What an address says of the source; `isAsked` tells those that a dependency asks for. */
export const kindOf = (
  address: string | undefined,
  isAsked: (address: string) => boolean,
): LockedKind => {
  if (address === undefined) return 'registry'
  if (isFileAddress(address)) return 'file'
  if (isGitAddress(address)) return 'git'
  return isHttp(address) && !isAsked(address) ? 'registry' : 'url'
}

/** `false` stands for an address in some files of npm 5 and 6. */
export const resolvedOf = (source: Source, entry: Mapping) => {
  const node = field(entry, 'resolved')
  const isNone = node?.kind === 'scalar' && node.value === false
  return isNone ? {} : addressAt(source, entry, 'resolved')
}

/** The version in the file name of a registry's tarball, for entries that state none. */
export const versionIn = (address: string | undefined, name: string): string | undefined => {
  const tarball = tarballAddress(address ?? '')
  const own = `${name.slice(name.indexOf('/') + 1)}-`
  if (tarball?.name !== name || !tarball.file.startsWith(own)) return undefined
  const version = tarball.file.slice(own.length)
  return isVersion(version) ? version : undefined
}
