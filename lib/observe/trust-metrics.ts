/** Numbers about trust. In a cluster every worker has them; together they count once. */
import { Counter, Gauge, type Registry } from './prom-client.ts'

export type TrustNumbers = {
  readonly sources: readonly {
    readonly name: string
    readonly failure?: object
    readonly metadata?: Readonly<Partial<Record<string, { readonly expires: string }>>>
  }[]
  readonly upstreams: readonly { readonly upstream: string; readonly digest: string }[]
  readonly warnings: readonly { readonly kind: string }[]
}

export type TrustMetrics = {
  readonly refresh: (outcome: 'renewed' | 'failed') => void
  /** What trust rests on from now on. */
  readonly status: (seen: TrustNumbers) => void
}

const warningKinds = ['failed', 'refused', 'expiring', 'expired']

export const openTrustMetrics = (registry: Registry): TrustMetrics => {
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[]) =>
    new Gauge({
      name: `attestry_trust_${name}`,
      help,
      labelNames,
      registers,
      aggregator: 'max',
    })
  const refreshes = new Counter({
    name: 'attestry_trust_refreshes_total',
    help: 'Trust sources asked anew.',
    labelNames: ['outcome'],
    registers,
  })
  const info = gauge('info', 'The trust in force.', ['upstream', 'digest'])
  const expires = gauge(
    'expires_timestamp_seconds',
    'When TUF metadata ends, in seconds since the epoch.',
    ['source', 'role'],
  )
  const failing = gauge(
    'failing',
    'Could a source not be renewed, and an older one is in force?',
    ['source'],
  )
  const warned = gauge('warnings', 'What is wrong with trust.', ['kind'])
  return {
    refresh: outcome => refreshes.inc({ outcome }),
    status: ({ sources, upstreams, warnings }) => {
      for (const one of [info, expires, failing]) one.reset()
      for (const { upstream, digest } of upstreams) info.set({ upstream, digest }, 1)
      for (const { name: source, failure, metadata = {} } of sources) {
        failing.set({ source }, failure ? 1 : 0)
        for (const [role, status] of Object.entries(metadata))
          if (status) expires.set({ source, role }, Date.parse(status.expires) / 1000)
      }
      for (const kind of warningKinds)
        warned.set({ kind }, warnings.filter(warning => warning.kind === kind).length)
    },
  }
}
