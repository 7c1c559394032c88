/** One process that does all. */
import { setTimeout as pause } from 'node:timers/promises'
import { openAttestry, type Attestry } from '../../attestry.ts'
import type { Settings } from '../../config/settings.ts'
import { observe } from '../../observe/events.ts'
import { openLog, type Log } from '../../observe/log.ts'
import { openMetrics, type Metrics } from '../../observe/metrics.ts'
import { Registry } from '../../observe/prom-client.ts'
import { observeTrust } from '../../observe/trust-events.ts'
import { version } from '../../version.ts'
import { followPolicies } from '../follow-policies.ts'
import { closeInTime } from './ending.ts'
import { openPatience } from './patience.ts'
import { probe } from './probe.ts'
import { untilStopped } from './signals.ts'
import { openRolloutTeller } from './tell-rollout.ts'

const announce = (attestry: Attestry, log: Log, settings: Settings) => {
  const { url, policies, gate } = attestry
  const names = policies.map(policy => `${policy.name} (${policy.mode})`)
  log.info(
    {
      event: 'listening',
      url,
      upstreams: settings.upstreams.map(upstream => `${upstream.name} ${upstream.url}`),
      policies: names.length > 0 ? names : ['built-in baseline (enforce)'],
      policyDigest: gate.policyDigest,
      trust: attestry.trust
        .status()
        .sources.map(({ name, origin }) => (origin === 'shipped' ? `${name} (shipped)` : name)),
      storage: settings.storage.path,
      version,
    },
    `serving at ${url}`,
  )
}

/** Told to stop before there was anything to stop. */
const gaveUp = (log: Log, metrics: Pick<Metrics, 'close'>): number => {
  metrics.close()
  log.info({ event: 'stopped' }, 'stopped while waiting for the store')
  return 0
}

/** Resolves to the exit code when it was told to stop. */
export const serveAlone = async (settings: Settings): Promise<number> => {
  const log = openLog(settings.log)
  const registry = new Registry()
  const metrics = openMetrics({ registry, version })
  const seen = observe({ log, metrics })
  const teller = openRolloutTeller(seen, { waivers: true })
  const { onRollout } = teller
  const observer = { ...seen, ...observeTrust({ log, registry }), onRollout }
  const stopped = untilStopped()
  const patience = openPatience(log, stopped)
  const given = { settings, observer, metrics: metrics.text, patience }
  const attestry = await openAttestry(given).catch((error: unknown) => {
    if (patience.signal.aborted) return undefined
    throw error
  })
  if (!attestry) return gaveUp(log, metrics)
  // a promise nobody waited for failed: told, not fatal; what it belonged to has failed by itself
  process.on('unhandledRejection', error =>
    log.error({ event: 'error', err: error }, 'unhandled'),
  )
  metrics.storeBacklog(() => attestry.store.backlog?.() ?? {})
  announce(attestry, log, settings)
  const { policies, views, gate, url } = attestry
  const judging = (view?: string) => (view === undefined ? gate : gate.view(view, url))
  teller.serving(attestry)
  const follower =
    settings.policySource === 'files'
      ? followPolicies({ policies, views, judging, settings, observer, log })
      : undefined
  const onHangup = () => void attestry.trust.renew()
  process.on('SIGHUP', onHangup)
  void probe(attestry, log, settings, patience.signal)
  const signal = await stopped
  log.info({ event: 'stopping', signal }, `${signal}: finishing what is under way`)
  process.off('SIGHUP', onHangup)
  attestry.drain()
  // so that balancers look elsewhere before the port closes; a second signal ends at once
  await Promise.race([pause(settings.server.drain), untilStopped()])
  await follower?.close()
  teller.close()
  const ended = await closeInTime(attestry.close())
  metrics.close()
  log.info({ event: 'stopped', ended }, 'stopped')
  return 0
}
