/** What the readers of all formats make their packages with. */
import { show, textAt, type Located, type Mapping, type Source, verbatim } from './located.ts'
import type { LockedKind, LockedPackage, Span } from './lockfile.ts'
import { isPackageName, isVersion, normalIntegrity } from './names.ts'

export type Found = {
  /** Where the key starts. */
  readonly at: number
  readonly key: string
  readonly kind: LockedKind
  readonly name: string
  readonly version: string | undefined
  readonly integrity?: string | undefined
  readonly checksum?: string | undefined
  readonly resolved?: string | undefined
  readonly resolvedAt?: readonly Span[]
  readonly dev?: boolean
  readonly optional?: boolean
  readonly alias?: string | undefined
}

/** Holds what comes from a registry to names and versions that a registry can have. */
export const packageOf = (source: Source, found: Found): LockedPackage => {
  const { at, key, kind, name, version, integrity, checksum, resolved, alias } = found
  if (kind === 'registry') {
    if (!isPackageName(name))
      throw source.complaint(at, `the package name ${show(name)}`, 'name or @scope/name')
    if (version === undefined || !isVersion(version)) {
      const what = version === undefined ? 'no version' : `the version ${show(version)}`
      throw source.complaint(at, what, 'an exact version, like 1.2.3')
    }
  }
  return {
    name,
    version: version ?? '',
    kind,
    ...(integrity ? { integrity: normalIntegrity(integrity) } : {}),
    ...(checksum ? { checksum } : {}),
    ...(resolved === undefined ? {} : { resolved }),
    resolvedAt: found.resolvedAt ?? [],
    dev: found.dev ?? false,
    optional: found.optional ?? false,
    line: source.line(at),
    key,
    ...(alias === undefined || alias === name ? {} : { alias }),
  }
}

/** A string and where it stands, for `resolved` and `resolvedAt`. */
export const addressAt = (source: Source, mapping: Mapping, key: string) => {
  const resolved = textAt(source, mapping, key)
  const node = mapping.entries.get(key)?.value
  return resolved === undefined
    ? {}
    : { resolved, resolvedAt: verbatim(source, node, resolved) }
}

/** A format version: digits, or digits with a point. */
export const versionText = (source: Source, node: Located | undefined, at: number): string => {
  if (
    node?.kind === 'scalar' &&
    node.style !== 'block' &&
    /^\d+(\.\d+)?$/.test(String(node.value))
  )
    return String(node.value)
  const found = node === undefined ? 'no version of the format' : 'an odd version of the format'
  throw source.complaint(node?.start ?? at, found, 'a number')
}

/** Whether an address is of a git repository, in the forms that npm, yarn and bun write. */
export const isGitAddress = (address: string): boolean =>
  /^(?:git|ssh|git\+[a-z]+|github|gitlab|bitbucket|gist):/i.test(address) ||
  /^[\w.-]+@[\w.-]+:/.test(address) ||
  /^https?:\/\/[^?#]*\.git(?:[?#]|$)/i.test(address) ||
  /^https?:\/\/codeload\.github\.com\//i.test(address) ||
  /^[\w.-]+\/[\w.-]+(?:#|$)/.test(address)

/** Whether an address is of a local file or folder: by its scheme, or a path of a tarball. */
export const isFileAddress = (address: string): boolean =>
  /^(?:file:|\.{0,2}\/)/.test(address) || /^[^:]+\.(?:tgz|tar\.gz|tar)(?:#|$)/i.test(address)

export const isHttp = (address: string): boolean => /^https?:\/\//i.test(address)

/** Whether a wanted version is one that is looked up in a registry: a range, a tag, an alias. */
export const isRegistrySpec = (spec: string): boolean =>
  spec.startsWith('npm:') || !/[:/]/.test(spec)
