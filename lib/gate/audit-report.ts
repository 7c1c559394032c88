/**
 * The audit of older clients (`/-/npm/v1/security/audits`: npm 6, yarn 1, pnpm before 11): a tree
 * goes in, a report with paths comes out. It is made here from the advisories of today's endpoint,
 * so that nothing of the tree but names and versions travels on.
 */
import semver from 'semver'
import { AttestryError } from '../errors.ts'
import { record, type Manifest } from './claims.ts'
import type { Inventory } from './findings.ts'

/** Every place of a package in the tree: name → version → paths (`a>b>name`). */
export type Tree = {
  readonly places: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>
  readonly count: number
}

/** Trees larger than this are no lockfile's. */
const MAX_NODES = 200_000
const MAX_DEPTH = 200
/** Paths told of one version. */
const MAX_PATHS = 100

const SEVERITIES = ['info', 'low', 'moderate', 'high', 'critical'] as const
type Severity = (typeof SEVERITIES)[number]

/**
 * `body` is the client's. A key that is no package's name (pnpm puts importers there), or that has
 * no version, is gone through and not counted. Throws EBADREQUEST for what is no such tree.
 */
export const readTree = (body: unknown, isName: (text: string) => boolean): Tree => {
  const places = new Map<string, Map<string, string[]>>()
  let count = 0
  const bad = (what: string): never => {
    throw new AttestryError('EBADREQUEST', `This is no tree of dependencies: ${what}.`)
  }
  const visit = (dependencies: Manifest, path: readonly string[], depth = 0): void => {
    if (depth > MAX_DEPTH) bad(`it is deeper than ${MAX_DEPTH}`)
    for (const [name, value] of Object.entries(dependencies)) {
      if (++count > MAX_NODES) bad(`it has more than ${MAX_NODES} places`)
      const { version, dependencies: inner } = record(value)
      const known =
        isName(name) && typeof version === 'string' && semver.valid(version) !== null
      const here = known ? [...path, name] : path
      if (known) {
        const versions = places.get(name) ?? new Map<string, string[]>()
        places.set(name, versions)
        const paths = versions.get(version) ?? []
        versions.set(version, paths)
        if (paths.length < MAX_PATHS) paths.push(here.join('>'))
      }
      visit(record(inner), here, depth + 1)
    }
  }
  const { dependencies } = record(body)
  if (dependencies !== undefined && record(dependencies) !== dependencies)
    bad('dependencies is no mapping')
  visit(record(dependencies), [])
  return { places, count }
}

export const inventoryOf = ({ places }: Tree): Inventory =>
  new Map([...places].map(([name, versions]) => [name, [...versions.keys()]]))

const textOf = (value: unknown, fallback = ''): string =>
  typeof value === 'string' ? value : fallback

const severityOf = (value: unknown): Severity => SEVERITIES.find(s => s === value) ?? 'high'

/** Older clients read more of an advisory than the bulk endpoint tells. */
const oldAdvisory = (name: string, advisory: Manifest, findings: readonly object[]) => ({
  findings,
  id: advisory['id'],
  title: textOf(advisory['title']),
  module_name: name,
  severity: severityOf(advisory['severity']),
  vulnerable_versions: textOf(advisory['vulnerable_versions'], '*'),
  // nobody says which; this is how npm's registry says that there is none
  patched_versions: '<0.0.0',
  overview: textOf(advisory['title']),
  recommendation: 'None',
  references: textOf(advisory['url']),
  url: textOf(advisory['url']),
  cwe: Array.isArray(advisory['cwe']) ? advisory['cwe'] : [],
  cves: [],
  access: 'public',
  deleted: null,
  found_by: null,
  reported_by: null,
  metadata: null,
})

export const auditReport = (
  { places, count }: Tree,
  byName: ReadonlyMap<string, readonly unknown[]>,
): Readonly<Record<string, unknown>> => {
  const advisories = new Map<string, ReturnType<typeof oldAdvisory>>()
  const actions: object[] = []
  const vulnerabilities = Object.fromEntries(SEVERITIES.map(s => [s, 0])) as Record<
    Severity,
    number
  >
  for (const [name, list] of byName) {
    for (const item of list) {
      const advisory = record(item)
      const { id } = advisory
      if (typeof id !== 'number' && typeof id !== 'string') continue
      const range = textOf(advisory['vulnerable_versions'], '*')
      const found = [...(places.get(name) ?? [])]
        .filter(([version]) => semver.satisfies(version, range, { includePrerelease: true }))
        .map(([version, paths]) => ({ version, paths }))
      if (found.length === 0) continue
      const old = oldAdvisory(name, advisory, found)
      const paths = found.flatMap(finding => finding.paths)
      advisories.set(String(id), old)
      vulnerabilities[old.severity] += paths.length
      actions.push({
        action: 'review',
        module: name,
        resolves: paths.map(path => ({
          id,
          path,
          dev: false,
          optional: false,
          bundled: false,
        })),
      })
    }
  }
  return {
    actions,
    advisories: Object.fromEntries(advisories),
    muted: [],
    metadata: {
      vulnerabilities,
      dependencies: count,
      devDependencies: 0,
      optionalDependencies: 0,
      totalDependencies: count,
    },
  }
}
