/**
 * What happens in the house, as log lines and numbers. `observe` gives the one object of callbacks
 * that the rooms are opened with.
 */
import { isAttestryError, messageOf } from '../errors.ts'
import type { AuditEntry, PackageId, Reason, RecordedVerdict } from '../types.ts'
import type { Log, LogLevel } from './log.ts'
import type { Metrics } from './metrics.ts'
import {
  logWatchEvent,
  sealerEvent,
  type LogWatchSeen,
  type SealerSeen,
  type SealerStateSeen,
} from './sealer-events.ts'

export type RequestSeen = {
  readonly method: string
  /** The kind of route; never the whole address. */
  readonly route: string
  readonly status: number
  /** Milliseconds. */
  readonly duration: number
  readonly client: AuditEntry['client']
  readonly requestId?: string
}

export type UpstreamSeen = {
  readonly upstream: string
  readonly request: string
  readonly outcome: string
  readonly milliseconds: number
  readonly attempts: number
}

export type StoreSeen = { readonly event: string }

export type PoliciesSeen = {
  /** Whose layers they are; absent for those of everybody. */
  readonly view?: string
  /** Over all of them, as verdicts bear it. */
  readonly digest: string
  /** Their names, in the order of the layers. */
  readonly names: readonly string[]
  /** Where they were published: which, by whom and for what. */
  readonly revision?: {
    readonly number: number
    readonly by: string
    readonly message?: string
  }
}

export type WithheldSeen = {
  readonly package: PackageId
  readonly tag: string
  readonly instead?: string
  readonly reasons: readonly Reason[]
  readonly view?: string
}

export type WaiverSeen = {
  readonly policy: string
  readonly rule: string
  readonly packages: readonly string[]
  readonly waiver: { readonly until: string; readonly reason: string; readonly by?: string }
  readonly ended: boolean
}

/** One line of the log. `event` is for machines and never changes its meaning. */
export type LogEvent = {
  readonly level: Exclude<LogLevel, 'silent'>
  readonly event: string
  readonly message: string
  readonly fields?: Readonly<Record<string, unknown>>
}

export const logEvent = (log: Log, { level, event, message, fields }: LogEvent): void => {
  log[level]({ event, ...fields }, message)
}

const rounded = (milliseconds: number) => Math.round(milliseconds * 10) / 10

/** `name` is for people elsewhere in the log; here it is who called. */
const clientFields = ({ name, ...rest }: AuditEntry['client']) => ({
  ...rest,
  ...(name !== undefined && { caller: name }),
})

export const requestEvent = (seen: RequestSeen): LogEvent => ({
  level: seen.status >= 500 ? 'warn' : 'debug',
  event: 'request',
  message: `${seen.method} ${seen.route} ${seen.status}`,
  fields: {
    method: seen.method,
    route: seen.route,
    status: seen.status,
    milliseconds: rounded(seen.duration),
    ...(seen.requestId !== undefined && { requestId: seen.requestId }),
    ...clientFields(seen.client),
  },
})

/** A verdict from memory is told at debug: it was told when it was made. */
export const verdictEvent = (
  entry: RecordedVerdict,
  client: AuditEntry['client'],
): LogEvent => {
  const { name, version } = entry.package
  const codes = [...new Set(entry.reasons.map(reason => reason.code))]
  const against = codes.length > 0
  const level = entry.decision === 'allow' && !against ? 'debug' : 'warn'
  const observed = entry.decision === 'allow' && against ? ' (observe mode)' : ''
  return {
    level: entry.fresh ? level : 'debug',
    event: 'verdict',
    message: `${entry.decision} ${name}@${version}${against ? `: ${codes.join(', ')}` : ''}${observed}`,
    fields: {
      package: `${name}@${version}`,
      decision: entry.decision,
      rule: entry.rule,
      ...clientFields(client),
      ...(against && { reasons: entry.reasons.map(r => `${r.code}: ${r.message}`) }),
    },
  }
}

const answered = new Set(['found', 'missing', 'not-modified'])

export const upstreamEvent = (seen: UpstreamSeen): LogEvent => ({
  level: answered.has(seen.outcome) ? 'debug' : 'warn',
  event: 'upstream',
  message: `upstream ${seen.upstream}: ${seen.request} ${seen.outcome}`,
  fields: { ...seen, milliseconds: rounded(seen.milliseconds) },
})

const quietStoreEvents = new Set([
  'reachable',
  'taking',
  'blobs-evicted',
  'leftovers-removed',
  'blobs-repaired',
])

export const storeEvent = (seen: StoreSeen): LogEvent => ({
  level: quietStoreEvents.has(seen.event) ? 'info' : 'error',
  event: `store-${seen.event}`,
  message: `store: ${seen.event.replaceAll('-', ' ')}`,
  fields: Object.fromEntries(Object.entries(seen).filter(([key]) => key !== 'event')),
})

/** What refuses already is worse than what soon will. */
export const waiverEvent = (seen: WaiverSeen): LogEvent => {
  const { policy, rule, packages, waiver, ended } = seen
  const when = ended ? 'ended' : 'ends'
  return {
    level: 'warn',
    event: ended ? 'waiver-ended' : 'waiver-ending',
    message: `${policy}: the waiver of rule ${rule} ${when} at ${waiver.until}`,
    fields: { policy, rule, packages, ...waiver },
  }
}

const whose = (view: string | undefined) => (view === undefined ? '' : ` of view ${view}`)
const viewField = (view: string | undefined) => (view === undefined ? {} : { view })

export const refusedPolicyEvent = (error: Error, view?: string): LogEvent => ({
  level: 'error',
  event: 'policy-refused',
  message: `the changed policy${whose(view)} is refused, and what was in force stays:\n${error.message}`,
  fields: {
    ...viewField(view),
    ...(isAttestryError(error) ? { code: error.code, ...error.details } : { err: error }),
  },
})

/** What is only too young comes by itself; anything else somebody should look at. */
export const withheldEvent = ({
  package: id,
  tag,
  instead,
  reasons,
  view,
}: WithheldSeen): LogEvent => {
  const shown = `${id.name}@${id.version}`
  const codes = [...new Set(reasons.map(({ code }) => code))]
  const gets = instead === undefined ? 'without it' : `with ${instead} in its place`
  return {
    level: codes.every(code => code === 'TOO_NEW') ? 'info' : 'warn',
    event: 'withheld',
    message: `${shown} is not shown${view === undefined ? '' : ` in view ${view}`}, and ${tag} goes ${gets}: ${codes.join(', ')}`,
    fields: {
      package: shown,
      tag,
      ...(instead !== undefined && { instead }),
      ...viewField(view),
      reasons: reasons.map(r => `${r.code}: ${r.message}`),
    },
  }
}

/** Errors raised on purpose need no stack: their message says it all. */
export const errorEvent = (what: string, error: unknown): LogEvent => ({
  level: 'error',
  event: 'error',
  message: `${what}: ${messageOf(error)}`,
  fields: isAttestryError(error) ? { code: error.code, ...error.details } : { err: error },
})

/** Milliseconds between two checkpoints of the audit log that are told at info. */
const CHECKPOINTS = 600_000

const onSealer = (log: Log, metrics: Metrics | undefined) => {
  let told = Number.NEGATIVE_INFINITY
  return (seen: SealerSeen, state: SealerStateSeen) => {
    const loud = performance.now() - told >= CHECKPOINTS
    if (loud && seen.event === 'checkpoint') told = performance.now()
    logEvent(log, sealerEvent(seen, loud))
    metrics?.auditLog(state)
  }
}

export const observe = ({
  log,
  metrics,
}: {
  readonly log: Log
  readonly metrics?: Metrics
}) => ({
  onRequest: (seen: RequestSeen) => {
    // thousands a second: nothing is made of them that nobody reads
    if (seen.status >= 500 || log.isLevelEnabled('debug')) logEvent(log, requestEvent(seen))
    metrics?.request(seen)
  },
  onVerdict: (verdict: RecordedVerdict, client: AuditEntry['client']) => {
    if (verdict.fresh || log.isLevelEnabled('debug'))
      logEvent(log, verdictEvent(verdict, client))
    metrics?.verdict(verdict)
  },
  onUpstream: (seen: UpstreamSeen) => {
    logEvent(log, upstreamEvent(seen))
    metrics?.upstream(seen)
  },
  onExamined: (milliseconds: number) => metrics?.verification(milliseconds),
  onStale: (name: string, upstream: string, error: unknown) => {
    const message = `upstream ${upstream} does not answer; ${name} is served from what was stored`
    logEvent(log, {
      level: 'warn',
      event: 'stale',
      message,
      fields: { upstream, package: name, cause: messageOf(error) },
    })
    metrics?.stale(upstream)
  },
  onWithheld: (seen: WithheldSeen) => {
    logEvent(log, withheldEvent(seen))
    metrics?.withheld(seen.reasons.map(({ code }) => code))
  },
  onStripping: (upstream: string) => {
    const message = `upstream ${upstream} serves packages without signatures; does it strip them?`
    logEvent(log, { level: 'warn', event: 'stripping', message, fields: { upstream } })
  },
  onSigned: (
    { name, version }: PackageId,
    upstream: string,
    { keyid, because }: { readonly keyid: string; readonly because: string },
  ) => {
    const message = `signed ${name}@${version} of upstream ${upstream}`
    const fields = { package: `${name}@${version}`, upstream, keyid, because }
    logEvent(log, { level: 'info', event: 'signed', message, fields })
  },
  onUnsigned: (id: string, upstream: string, why: string) => {
    const message = `${id} was published to upstream ${upstream} and is not signed: ${why}`
    const fields = { package: id, upstream, why }
    logEvent(log, { level: 'error', event: 'not-signed', message, fields })
  },
  /** All that are in force now, and those that have changed. */
  onPolicies: (all: readonly PoliciesSeen[], changed?: PoliciesSeen) => {
    metrics?.policies(all)
    if (changed === undefined) return
    const { view, names, digest, revision } = changed
    metrics?.policyReload('adopted', view)
    const message = `the changed policy${whose(view)} is in force: ${names.join(', ')}`
    const fields = {
      ...viewField(view),
      policies: names,
      policyDigest: digest,
      ...(revision && { revision: revision.number, by: revision.by, why: revision.message }),
    }
    logEvent(log, { level: 'info', event: 'policy-adopted', message, fields })
  },
  onPolicyRefused: (error: Error, view?: string) => {
    logEvent(log, refusedPolicyEvent(error, view))
    metrics?.policyReload('refused', view)
  },
  onPolicyRestored: (view?: string) => {
    const message = `the policy${whose(view)} says again what is in force`
    const fields = viewField(view)
    logEvent(log, { level: 'info', event: 'policy-restored', message, fields })
    metrics?.policyReload('restored', view)
  },
  /** All waivers at their end; an empty list is news as well. */
  onWaivers: (seen: readonly WaiverSeen[]) => {
    for (const waiver of seen) logEvent(log, waiverEvent(waiver))
    metrics?.waivers(seen)
  },
  onSealer: onSealer(log, metrics),
  onLogWatch: (seen: LogWatchSeen) => {
    logEvent(log, logWatchEvent(seen))
    metrics?.logWatch(seen.event)
  },
  onStoreCall: (seen: Parameters<Metrics['storeCall']>[0]) => metrics?.storeCall(seen),
  onStoreEvent: (seen: StoreSeen) => {
    logEvent(log, storeEvent(seen))
    metrics?.storeEvent(seen.event)
  },
  onError: (what: string, error: unknown) => {
    logEvent(log, errorEvent(what, error))
    metrics?.error(isAttestryError(error) ? error.code : 'EINTERNAL')
  },
})
