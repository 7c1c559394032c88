/** Numbers for Prometheus. Labels are drawn from small fixed sets: no package name, no address. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, type Registry } from './prom-client.ts'
import type { AuditEntry } from '../types.ts'
import { openTally } from './tally.ts'

export type Metrics = {
  /** `duration` in milliseconds. */
  readonly request: (seen: {
    readonly method: string
    readonly route: string
    readonly status: number
    readonly duration: number
  }) => void
  readonly verdict: (seen: Pick<AuditEntry, 'decision' | 'reasons' | 'fresh'>) => void
  readonly upstream: (seen: {
    readonly upstream: string
    readonly request: string
    readonly outcome: string
    readonly milliseconds: number
    readonly attempts: number
  }) => void
  readonly cache: (cache: string, hit: boolean) => void
  readonly verification: (milliseconds: number) => void
  readonly stale: (upstream: string) => void
  /** By the codes of its reasons. */
  readonly withheld: (codes: readonly string[]) => void
  readonly storeEvent: (event: string) => void
  /** A call to a server of a shared store. */
  readonly storeCall: (seen: {
    readonly part: string
    readonly outcome: string
    readonly milliseconds: number
  }) => void
  /** Asked at each reading: how much waits for the servers of a shared store, by what it is. */
  readonly storeBacklog: (read: () => Readonly<Record<string, number>>) => void
  readonly error: (code: string) => void
  /** All that are in force from now on. */
  readonly policies: (
    seen: readonly {
      readonly view?: string
      readonly digest: string
      readonly names: readonly string[]
      readonly revision?: { readonly number: number }
    }[],
  ) => void
  /** `restored`: the files say again what is in force, after something was refused. */
  readonly policyReload: (result: 'adopted' | 'refused' | 'restored', view?: string) => void
  /** A transparency log was asked: `consistent`, `fork`, … */
  readonly logWatch: (result: string) => void
  /** Entries of the audit log, those under a checkpoint, and whether something speaks against it. */
  readonly auditLog: (seen: {
    readonly size: number
    readonly signed: number
    readonly fault?: string
  }) => void
  readonly waivers: (seen: readonly { readonly ended: boolean }[]) => void
  /** Of a cluster, as its first process sees it. */
  readonly workers: (running: number) => void
  readonly workerEnded: () => void
  /** What `GET /-/attestry/metrics` answers. */
  readonly text: () => Promise<{ readonly type: string; readonly text: string }>
  /** Ends the measuring of the event loop. */
  readonly close: () => void
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])

const fast = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

const quantiles = [0.5, 0.9, 0.99] as const

/** Counters live in `registry`, which is the caller's: two servers in one process need two. */
export const openMetrics = (options: {
  readonly registry: Registry
  readonly version: string
}): Metrics => {
  const { registry, version } = options
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({
      name: `attestry_${name}_total`,
      help,
      labelNames: [...labelNames],
      registers,
    })
  const seconds = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Histogram({
      name: `attestry_${name}_seconds`,
      help,
      labelNames: [...labelNames],
      buckets: fast,
      registers,
    })

  const tally = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    labels: (one: string, other: string | number) => Record<L, string | number>,
  ) => openTally({ name: `attestry_${name}_total`, help, labelNames, registers }, labels)

  const requests = tally(
    'requests',
    'Requests of clients.',
    ['route', 'method', 'status'],
    (route, status) => ({ route, method: 'GET', status }),
  )
  const requestTime = seconds('request_duration', 'Until the answer was ready.', ['route'])
  const verdicts = tally('verdicts', 'Verdicts given.', ['decision'], decision => ({
    decision,
  }))
  const reasons = counter('verdict_reasons', 'What verdicts held against packages.', [
    'decision',
    'code',
  ])
  const upstreamRequests = counter('upstream_requests', 'Calls to upstreams by outcome.', [
    'upstream',
    'request',
    'outcome',
  ])
  const upstreamRetries = counter('upstream_retries', 'Requests that were made again.', [
    'upstream',
  ])
  const upstreamTime = seconds('upstream_request_duration', 'Until an upstream answered.', [
    'upstream',
    'request',
  ])
  const caches = tally(
    'cache',
    'Questions that a cache could or could not answer.',
    ['cache', 'result'],
    (name, result) => ({ cache: name, result }),
  )
  const verificationTime = seconds(
    'verification_duration',
    'Verifying one package version.',
    [],
  )
  const withhelds = counter(
    'withheld',
    'Versions that a dist-tag names and that are not shown.',
    ['code'],
  )
  const stales = counter('stale', 'Packuments served past their time.', ['upstream'])
  const storeEvents = counter('store_events', 'What the store had to repair or remove.', [
    'event',
  ])
  const storeTime = seconds('store_call_duration', 'Calls to PostgreSQL and S3.', [
    'part',
    'outcome',
  ])
  const errors = counter('errors', 'Errors that reached the log.', ['code'])

  const delay = monitorEventLoopDelay({ resolution: 20 })
  delay.enable()
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    collect: (gauge: Gauge) => void,
    /** How the values of several processes become one. */
    aggregator: 'max' | 'sum' = 'max',
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      aggregator,
      collect() {
        collect(this)
      },
    })
  gauge('attestry_event_loop_delay_seconds', 'Since the last reading.', ['quantile'], g => {
    for (const q of quantiles)
      g.set({ quantile: String(q) }, (delay.percentile(q * 100) || 0) / 1e9)
    g.set({ quantile: '1' }, delay.max / 1e9)
    delay.reset()
  })
  gauge(
    'process_resident_memory_bytes',
    'Memory in use.',
    [],
    g => g.set(process.memoryUsage.rss()),
    'sum',
  )
  gauge(
    'process_cpu_seconds',
    'Processor time since the start.',
    [],
    g => {
      const { user, system } = process.cpuUsage()
      g.set((user + system) / 1e6)
    },
    'sum',
  )
  gauge('attestry_info', 'The version that runs.', ['version'], g => g.set({ version }, 1))
  let backlog: () => Readonly<Record<string, number>> = () => ({})
  gauge(
    'attestry_store_backlog',
    'On this machine only, until PostgreSQL (audit) and S3 (blobs) take it.',
    ['what'],
    g => {
      for (const [what, count] of Object.entries(backlog())) g.set({ what }, count)
    },
    'sum',
  )
  const set = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers, aggregator: 'max' })
  const policyInfo = set('attestry_policy_info', 'The policies in force.', [
    'digest',
    'policy',
    'view',
  ])
  const policyRevision = new Gauge({
    name: 'attestry_policy_revision',
    help: 'The published policy in force; of several processes the oldest.',
    registers,
    aggregator: 'min',
  })
  // nothing where policies come from files, and in the first process of a cluster
  policyRevision.remove()
  const policyRefused = set(
    'attestry_policy_refused',
    'Is the policy on disk refused, and an older one in force?',
    ['view'],
  )
  const reloads = counter('policy_reloads', 'Changed policies, by what became of them.', [
    'result',
  ])
  const waiversEnding = set('attestry_waivers_ending', 'Waivers that end within 14 days.')
  const workersServing = set('attestry_workers', 'Processes of the cluster that run.')
  const workerEnds = counter(
    'worker_ends',
    'Processes of the cluster that ended by themselves.',
    [],
  )
  const waiversEnded = set('attestry_waivers_ended', 'Waivers that are over and refuse.')

  const logWatches = counter('transparency_log_checks', 'Transparency logs asked, by result.', [
    'result',
  ])
  const auditEntries = set('attestry_audit_log_entries', 'Entries in the audit log.')
  const auditSigned = set('attestry_audit_log_signed_entries', 'Entries under a checkpoint.')
  const auditFault = set('attestry_audit_log_fault', 'Is no checkpoint signed any more?')

  const cache = (name: string, hit: boolean) => caches.add(name, hit ? 'hit' : 'miss')
  return {
    request: ({ method, route, status, duration }) => {
      if (method === 'GET') requests.add(route, status)
      else requests.inc({ route, method: methods.has(method) ? method : 'other', status })
      requestTime.observe({ route }, duration / 1000)
    },
    verdict: ({ decision, reasons: found, fresh }) => {
      verdicts.add(decision, '')
      if (found.length > 0)
        for (const code of new Set(found.map(reason => reason.code)))
          reasons.inc({ decision, code })
      cache('verdict', !fresh)
    },
    upstream: ({ upstream, request, outcome, milliseconds, attempts }) => {
      upstreamRequests.inc({ upstream, request, outcome })
      if (attempts > 1) upstreamRetries.inc({ upstream }, attempts - 1)
      upstreamTime.observe({ upstream, request }, milliseconds / 1000)
    },
    cache,
    verification: milliseconds => verificationTime.observe(milliseconds / 1000),
    stale: upstream => stales.inc({ upstream }),
    withheld: codes => {
      for (const code of new Set(codes)) withhelds.inc({ code })
    },
    storeEvent: event => storeEvents.inc({ event }),
    storeCall: ({ part, outcome, milliseconds }) =>
      storeTime.observe({ part, outcome }, milliseconds / 1000),
    storeBacklog: read => (backlog = read),
    error: code => errors.inc({ code }),
    policies: seen => {
      // one digest at a time: those that were in force before are told by the log
      policyInfo.reset()
      for (const { revision } of seen) if (revision) policyRevision.set(revision.number)
      for (const { view, digest, names } of seen)
        for (const policy of names)
          policyInfo.set({ digest, policy, ...(view !== undefined && { view }) }, 1)
    },
    policyReload: (result, view) => {
      reloads.inc({ result })
      policyRefused.set(view === undefined ? {} : { view }, result === 'refused' ? 1 : 0)
    },
    logWatch: result => logWatches.inc({ result }),
    auditLog: ({ size, signed, fault }) => {
      auditEntries.set(size)
      auditSigned.set(signed)
      auditFault.set(fault === undefined ? 0 : 1)
    },
    waivers: seen => {
      const ended = seen.filter(waiver => waiver.ended).length
      waiversEnded.set(ended)
      waiversEnding.set(seen.length - ended)
    },
    workers: running => workersServing.set(running),
    workerEnded: () => workerEnds.inc(),
    text: async () => ({ type: registry.contentType, text: await registry.metrics() }),
    close: () => {
      delay.disable()
    },
  }
}
