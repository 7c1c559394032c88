/** What of a lockfile is to be judged, what cannot be, and what would go past the proxy. */
import { bypasses, type Bypass, type BypassOptions } from '../../lockfile/bypass.ts'
import type { LockedPackage, Lockfile } from '../../lockfile/lockfile.ts'
import { patternMatches } from '../../policy/match.ts'
import type { PackagePattern } from '../../policy/policy.ts'
import type { Integrity } from '../../types.ts'
import type { Judged, NotJudged, PastProxy, Subject } from './result.ts'

export type Filter = {
  readonly omit: readonly ('dev' | 'optional')[]
  /** Any of them; none means all. */
  readonly only: readonly PackagePattern[]
  readonly exclude: readonly PackagePattern[]
}

export type SubjectsOptions = BypassOptions & {
  readonly filter: Filter
  /** Origins of the registries that we ask ourselves. */
  readonly origins: readonly string[]
}

export type Subjects = {
  readonly subjects: readonly Subject[]
  readonly notJudged: readonly NotJudged[]
  /** Told once it is known whose bytes the lockfile pins. */
  readonly pastProxy: (judged: readonly Judged[]) => readonly PastProxy[]
  /** Entries that the filter left out. */
  readonly filtered: number
}

const isWanted = (entry: LockedPackage, { omit, only, exclude }: Filter): boolean => {
  if (omit.includes('dev') && entry.dev) return false
  if (omit.includes('optional') && entry.optional) return false
  const matches = (patterns: readonly PackagePattern[]) =>
    patterns.some(pattern => patternMatches(pattern, entry))
  return (only.length === 0 || matches(only)) && !matches(exclude)
}

/** Exactly one sha512; of anything else a client may take another digest than we compared. */
const pinned = (integrity: string | undefined): Integrity | undefined =>
  integrity !== undefined && /^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity)
    ? (integrity as Integrity)
    : undefined

const subjectOf = (entries: readonly [LockedPackage, ...LockedPackage[]]): Subject => {
  const [first] = entries
  const integrity = pinned(first.integrity)
  return {
    name: first.name,
    version: first.version,
    ...(integrity && { integrity }),
    lines: entries.map(({ line }) => line),
    dev: entries.every(({ dev }) => dev),
    optional: entries.every(({ optional }) => optional),
  }
}

/** One for each name, version and pinned integrity: entries that pin other bytes stand apart. */
const uniqueOf = (entries: readonly LockedPackage[]): readonly Subject[] => {
  const groups = new Map<string, [LockedPackage, ...LockedPackage[]]>()
  for (const entry of entries) {
    const key = keyOf(entry.name, entry.version, pinned(entry.integrity))
    const group = groups.get(key)
    if (group) group.push(entry)
    else groups.set(key, [entry])
  }
  return [...groups.values()].map(subjectOf)
}

const keyOf = (name: string, version: string, integrity: string | undefined) =>
  JSON.stringify([name, version, integrity])

/** Addresses go into reports, which are kept and shown: what could be a secret does not. */
const withoutSecrets = (address: string): string =>
  address.replace(/\/\/[^/?#]*@/, '//').replace(/[?#].*$/s, '')

const originOf = (address: string | undefined) =>
  address === undefined ? undefined : URL.parse(address)?.origin

/** Of the judged, those whose verdict holds whoever sends the bytes: pinned, or refused anyway. */
const sureOf = (judged: readonly Judged[]): ReadonlySet<string> =>
  new Set(
    judged
      .filter(
        ({ pinned, outcome }) => outcome === 'refused' || (pinned && outcome === 'allowed'),
      )
      .map(({ name, version, integrity }) => keyOf(name, version, integrity)),
  )

const pastProxyOf = (bypass: Bypass, sure: ReadonlySet<string>, origins: readonly string[]) => {
  const { package: entry, line, reason, why, clients, fix } = bypass
  const { name, version, kind, resolved } = entry
  const origin = originOf(resolved)
  const isKnown = reason === 'foreign-host' && origin !== undefined && origins.includes(origin)
  const isSure = sure.has(keyOf(name, version, pinned(entry.integrity)))
  const told: PastProxy = {
    name,
    version,
    kind,
    line,
    reason,
    clients,
    ...(resolved !== undefined && { resolved: withoutSecrets(resolved) }),
    message: `${clients.join(' and ')} would not ask the proxy: ${why}.`,
    fixable: fix !== undefined,
    covered: kind === 'registry' && (isSure || isKnown),
  }
  return told
}

const placed = ({ name, version, kind, line }: LockedPackage): NotJudged => ({
  name,
  version,
  kind,
  line,
})

export const filtered = (lockfile: Lockfile, filter: Filter): Lockfile => ({
  ...lockfile,
  packages: lockfile.packages.filter(entry => isWanted(entry, filter)),
})

export const subjectsOf = (lockfile: Lockfile, options: SubjectsOptions): Subjects => {
  const left = filtered(lockfile, options.filter)
  const wanted = left.packages
  const past = bypasses(left, options)
  const passing = new Set(past.map(bypass => bypass.package))
  return {
    subjects: uniqueOf(wanted.filter(({ kind }) => kind === 'registry')),
    // what goes past the proxy is told there
    notJudged: wanted
      .filter(entry => entry.kind !== 'registry' && !passing.has(entry))
      .map(placed),
    pastProxy: judged => {
      const sure = sureOf(judged)
      return past.map(bypass => pastProxyOf(bypass, sure, options.origins))
    },
    filtered: lockfile.packages.length - wanted.length,
  }
}
