/** What is told of trust: other trust in force, sources that cannot be renewed, what will end soon. */
import type { Registry } from './prom-client.ts'
import { logEvent } from './events.ts'
import type { Log } from './log.ts'
import { openTrustMetrics, type TrustNumbers } from './trust-metrics.ts'

/** What trust rests on; lib/trust/status.ts has more of it. */
export type TrustSeen = Omit<TrustNumbers, 'warnings'> & {
  readonly warnings: readonly {
    readonly source: string
    readonly kind: 'failed' | 'refused' | 'expiring' | 'expired'
    readonly message: string
  }[]
}

export type TrustAdopted = {
  readonly upstream: string
  readonly material: { readonly digest: string; readonly sources: readonly string[] }
}

/** Each warning once, and again when it was gone and came back. */
const openWatch = (log: Log) => {
  let told: TrustSeen['warnings'] = []
  return ({ warnings }: TrustSeen): void => {
    const known = new Set(told.map(({ kind, message }) => `${kind} ${message}`))
    for (const { source, kind, message } of warnings) {
      if (known.has(`${kind} ${message}`)) continue
      const level = kind === 'expiring' || kind === 'failed' ? 'warn' : 'error'
      logEvent(log, { level, event: `trust-${kind}`, message, fields: { source } })
    }
    const failing = ({ kind }: TrustSeen['warnings'][number]) =>
      kind === 'failed' || kind === 'refused'
    const still = new Set(warnings.filter(failing).map(({ source }) => source))
    for (const source of new Set(told.filter(failing).map(warning => warning.source))) {
      if (still.has(source)) continue
      const message = `${source}: it could be renewed again`
      logEvent(log, { level: 'info', event: 'trust-restored', message, fields: { source } })
    }
    told = warnings
  }
}

/** The numbers live in `registry`, which is the caller's. */
export const observeTrust = ({ log, registry }: { log: Log; registry: Registry }) => {
  const watch = openWatch(log)
  const metrics = openTrustMetrics(registry)
  return {
    onTrust: ({ upstream, material }: TrustAdopted) => {
      const { digest, sources } = material
      const message = `upstream ${upstream}: other trust is in force`
      const fields = { upstream, trustDigest: digest, sources }
      logEvent(log, { level: 'info', event: 'trust-adopted', message, fields })
    },
    onRefresh: (source: string, outcome: 'renewed' | 'failed') => {
      const message = `trust: ${source} ${outcome}`
      logEvent(log, { level: 'debug', event: 'trust-refresh', message, fields: { source } })
      metrics.refresh(outcome)
    },
    onStatus: (seen: TrustSeen) => {
      watch(seen)
      metrics.status(seen)
    },
  }
}
