/**
 * Entries that a client would fetch past the proxy, although the proxy is its registry: which,
 * by which clients, and which of them can be pointed at the proxy. What each client does with an
 * address in its lockfile was measured with the real ones; a test runs them again.
 */
import { show } from './located.ts'
import type { LockedPackage, Lockfile, LockfileFormat } from './lockfile.ts'
import { isTarballOf, tarballAddress } from './names.ts'

export type BypassReason =
  /** A tarball that the lockfile wants from a host that is not the proxy. */
  | 'foreign-host'
  /** Fetched from a repository, or from the repository's host. */
  | 'git'
  /** Asked for by its address, which is not the proxy's. */
  | 'url'
  /** The address names another package or version than the entry: what is judged is not what comes. */
  | 'other-package'

export type Bypass = {
  readonly package: LockedPackage
  readonly line: number
  readonly reason: BypassReason
  /**
   * Who would install it so. Others refuse: npm 12 before asking anybody, pnpm 11 and 12 after
   * they compared with the registry, by when they have asked the foreign host too.
   */
  readonly clients: readonly string[]
  /** One sentence. */
  readonly why: string
  /** `rewrite`: the same bytes, pinned by the lockfile, can be asked of the proxy. */
  readonly fix?: 'rewrite'
}

export type BypassOptions = {
  /** Our public URL, the one that clients have as their registry. */
  readonly registry: string
  /** npm's default registry: npm itself asks the proxy for what is locked there. */
  readonly npmRegistry: string
}

const all: Readonly<Record<LockfileFormat, readonly string[]>> = {
  npm: ['npm 11', 'npm 12'],
  pnpm: ['pnpm 10', 'pnpm 11', 'pnpm 12'],
  'yarn-classic': ['yarn 1'],
  'yarn-berry': ['yarn 4'],
  bun: ['bun'],
}

/** npm 12 wants to be told before it fetches from elsewhere; pnpm 11 compares with the registry. */
const fetching = (format: LockfileFormat, reason: BypassReason): readonly string[] => {
  if (reason === 'other-package') return all[format]
  if (format === 'npm') return ['npm 11']
  return format === 'pnpm' && reason === 'foreign-host' ? ['pnpm 10'] : all[format]
}

const withSlash = (url: string) => (url.endsWith('/') ? url : `${url}/`)

/** Below the URL, in the one spelling that every client's URL parser understands alike. */
const isBelow = (address: string, base: string): boolean => {
  const bare = address.replace(/#.*$/s, '')
  return (
    bare.startsWith(base) &&
    /^[\x21-\x7e]*$/.test(bare) &&
    !bare.includes('\\') &&
    URL.parse(bare)?.href === bare
  )
}

const hostOf = (address: string): string => {
  const url = URL.parse(address.replace(/^git\+/, ''))
  return url === null || url.host === '' ? show(address) : url.host
}

/** What stands between the entry and the proxy, or `undefined`. */
const reasonOf = (
  entry: LockedPackage,
  format: LockfileFormat,
  registry: string,
  npmHost: string,
): BypassReason | undefined => {
  const { kind, resolved } = entry
  if (kind === 'git') return 'git'
  if (resolved === undefined) return kind === 'url' ? 'url' : undefined
  if (kind !== 'url' && kind !== 'registry') return undefined
  // replace-registry-host=npmjs, npm's default, goes by the host alone
  const isReplaced = format === 'npm' && URL.parse(resolved)?.hostname === npmHost
  const isOurs = isBelow(resolved, registry)
  const address = tarballAddress(resolved)
  if (kind === 'registry' && address !== undefined && !isTarballOf(address, entry))
    return 'other-package'
  if (isOurs || isReplaced) return undefined
  return kind === 'url' ? 'url' : 'foreign-host'
}

const whyOf = (entry: LockedPackage, reason: BypassReason): string => {
  const { resolved } = entry
  const host = resolved === undefined ? 'an address of its own' : hostOf(resolved)
  const open = resolved !== undefined && /^http:/i.test(resolved) ? ', without encryption' : ''
  switch (reason) {
    case 'git':
      return `it is fetched from the repository at ${host}`
    case 'url':
      return `its tarball is fetched from ${host}${open}, as the project or a dependency asks`
    case 'other-package':
      return `its address at ${host} is that of another package or version`
    case 'foreign-host':
      return `the lockfile has it fetched from ${host}${open}, whatever the registry is`
  }
}

const isRewritable = (entry: LockedPackage): boolean => {
  const address = tarballAddress(entry.resolved ?? '')
  return (
    (entry.integrity ?? entry.checksum) !== undefined &&
    address !== undefined &&
    isTarballOf(address, entry) &&
    entry.resolvedAt.length > 0
  )
}

/** In the order of the lockfile. Folders, links, workspaces and local files are never fetched. */
export const bypasses = (lockfile: Lockfile, options: BypassOptions): readonly Bypass[] => {
  const registry = withSlash(new URL(options.registry).href)
  const npmHost = new URL(options.npmRegistry).hostname
  return lockfile.packages.flatMap(entry => {
    const reason = reasonOf(entry, lockfile.format, registry, npmHost)
    if (reason === undefined) return []
    return [
      {
        package: entry,
        line: entry.line,
        reason,
        clients: fetching(lockfile.format, reason),
        why: whyOf(entry, reason),
        ...(reason === 'foreign-host' && isRewritable(entry)
          ? { fix: 'rewrite' as const }
          : {}),
      },
    ]
  })
}

/**
 * The text with every entry that can be rewritten asking the proxy, and nothing else changed:
 * the host and what is before the package's name become the proxy's URL; of yarn 4 the
 * explicit address goes, because without it yarn derives the same one from its registry.
 * Safe because the lockfile itself pins the bytes. `text` is what `lockfile` was read from.
 */
export const fixBypasses = (
  text: string,
  lockfile: Lockfile,
  options: BypassOptions,
): { readonly text: string; readonly fixed: number; readonly left: readonly Bypass[] } => {
  const registry = withSlash(new URL(options.registry).href)
  const found = bypasses(lockfile, options)
  const changes: { start: number; end: number; text: string }[] = []
  for (const { package: entry, fix } of found) {
    const base = fix === undefined ? undefined : tarballAddress(entry.resolved ?? '')?.base
    if (base === undefined) continue
    for (const { start, end } of entry.resolvedAt)
      changes.push(
        lockfile.format === 'yarn-berry'
          ? { start, end, text: '' }
          : { start, end: start + base.length, text: registry },
      )
  }
  changes.sort((a, b) => a.start - b.start)
  const parts: string[] = []
  let done = 0
  for (const change of changes) {
    parts.push(text.slice(done, change.start), change.text)
    done = change.end
  }
  parts.push(text.slice(done))
  const left = found.filter(bypass => bypass.fix === undefined)
  return { text: parts.join(''), fixed: found.length - left.length, left }
}
