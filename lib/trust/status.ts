/** What can be told of trust: where it is from, how old it is, when it ends, and what is wrong with it. */
import { createHash } from 'node:crypto'
import { json } from '@sigstore/core'
import type { RegistryKey, RootScope } from '../types.ts'
import type { RootPlace } from './source.ts'
import { roleOf, roles, type Role, type RoleStatus, type TufState } from './tuf-state.ts'

/** A key or an authority of a trusted root; ISO 8601, `until` is exclusive. */
export type Validated = {
  readonly kind: 'certificateAuthorities' | 'tlogs' | 'ctlogs' | 'timestampAuthorities'
  readonly name: string
  readonly from: string
  readonly until?: string
}

export type RefreshFailure = {
  readonly message: string
  /** ISO 8601: of the first of the failures since the last success. */
  readonly since: string
  /** The repository answered, and what it said was refused. */
  readonly refused: boolean
}

export type SourceStatus = {
  readonly kind: RootPlace['kind']
  /** For the log and for health: without folders. */
  readonly name: string
  /** With whole paths. */
  readonly label: string
  readonly scope: RootScope
  /** `shipped`: the copy in @sigstore/tuf. `kept`: from a TUF repository. */
  readonly origin: 'shipped' | 'kept' | 'file'
  /** sha256 over the trusted root's content. */
  readonly digest: string
  /** When the repository was last verified whole, or the files were read. */
  readonly checkedAt?: string
  /** Of a TUF repository: versions and ends of its metadata. */
  readonly metadata?: Readonly<Partial<Record<Role, RoleStatus>>>
  readonly keys: readonly Validated[]
  readonly failure?: RefreshFailure
}

export type UpstreamTrust = {
  readonly upstream: string
  /** As evidence bears it. */
  readonly digest: string
  readonly roots: readonly string[]
  readonly keysFrom: string
  readonly registryKeys: readonly RegistryKey[]
}

export type TrustWarning = {
  readonly source: string
  /** `failed`: it did not answer. `refused`: what it answered cannot be taken. */
  readonly kind: 'failed' | 'refused' | 'expiring' | 'expired'
  /** One sentence. */
  readonly message: string
}

export type TrustStatus = {
  readonly sources: readonly SourceStatus[]
  readonly upstreams: readonly UpstreamTrust[]
  readonly warnings: readonly TrustWarning[]
}

export const contentDigest = (document: unknown): string => {
  // through JSON, so that what is canonicalized holds JSON values only
  const content: unknown = JSON.parse(JSON.stringify(document))
  return createHash('sha256').update(json.canonicalize(content)).digest('hex')
}

type Period = { readonly start: string; readonly end?: string | null }
type RootDocument = Readonly<
  Record<
    Validated['kind'],
    | readonly {
        readonly baseUrl?: string
        readonly uri?: string
        readonly subject?: { readonly commonName?: string }
        readonly logId?: { readonly keyId?: string }
        readonly publicKey?: { readonly validFor: Period }
        readonly validFor?: Period
      }[]
    | undefined
  >
>

const kinds = ['certificateAuthorities', 'tlogs', 'ctlogs', 'timestampAuthorities'] as const

/** Of a document that was checked. */
export const validitiesOf = (document: object): readonly Validated[] =>
  kinds.flatMap(kind =>
    ((document as RootDocument)[kind] ?? []).map(entry => {
      const { start, end } = entry.publicKey?.validFor ?? entry.validFor ?? { start: '' }
      const name = [
        entry.baseUrl,
        entry.uri,
        entry.subject?.commonName,
        entry.logId?.keyId,
        kind,
      ].find(text => text !== undefined && text !== '')
      return { kind, name: name ?? kind, from: start, ...(end && { until: end }) }
    }),
  )

export const metadataOf = (state: TufState): SourceStatus['metadata'] =>
  Object.fromEntries(
    roles.flatMap(role => {
      const status = roleOf(state, role)
      return status === undefined ? [] : [[role, status]]
    }),
  )

const DAY = 86_400_000

/** Told so long before; the roles that are signed by machines every few days are told late. */
const EARLY: Readonly<Record<Role, number>> = {
  root: 14 * DAY,
  targets: 14 * DAY,
  snapshot: 2 * DAY,
  timestamp: DAY,
}
const EARLY_KEYS = 30 * DAY

const ending = (
  source: string,
  what: string,
  until: string,
  early: number,
  now: number,
): readonly TrustWarning[] => {
  const left = Date.parse(until) - now
  if (left > early) return []
  const kind = left > 0 ? ('expiring' as const) : ('expired' as const)
  const message = `${source}: ${what} ${left > 0 ? 'ends' : 'ended'} at ${until}.`
  return [{ source, kind, message }]
}

/** The last of a kind to end: older ones that are over are how keys are changed. */
const lastEnd = (ends: readonly (string | undefined)[]): string | undefined => {
  const times = ends.map(end => (end === undefined ? Infinity : Date.parse(end)))
  const last = Math.max(...times)
  return Number.isFinite(last) ? new Date(last).toISOString() : undefined
}

export const warningsOf = (
  sources: readonly SourceStatus[],
  upstreams: readonly UpstreamTrust[],
  now: Date,
): readonly TrustWarning[] => {
  const at = now.getTime()
  const ofSource = ({ name, origin, metadata = {}, keys, failure }: SourceStatus) => [
    ...(failure
      ? [
          {
            source: name,
            kind: failure.refused ? ('refused' as const) : ('failed' as const),
            message: `${name}: it could not be renewed since ${failure.since}, and what was in force stays${origin === 'shipped' ? ' (the copy shipped in @sigstore/tuf)' : ''}: ${failure.message}`,
          },
        ]
      : []),
    ...roles.flatMap(role => {
      const status = metadata[role]
      return status
        ? ending(name, `its TUF ${role} metadata`, status.expires, EARLY[role], at)
        : []
    }),
    ...kinds.flatMap(kind => {
      const until = lastEnd(keys.filter(key => key.kind === kind).map(key => key.until))
      return until === undefined
        ? []
        : ending(name, `the last of its ${kind}`, until, EARLY_KEYS, at)
    }),
  ]
  const ofUpstream = ({ upstream, registryKeys }: UpstreamTrust) =>
    ['npm:signatures', 'npm:attestations'].flatMap(usage => {
      const keys = registryKeys.filter(key => key.usage === usage)
      const until = lastEnd(keys.map(key => key.validUntil))
      const source = `registry keys of ${upstream}`
      return until === undefined
        ? []
        : ending(source, `the last key for ${usage}`, until, EARLY_KEYS, at)
    })
  return [...sources.flatMap(ofSource), ...upstreams.flatMap(ofUpstream)]
}
