/** `attestry serve`: the proxy, until it is told to stop. */
import cluster from 'node:cluster'
import { setTimeout as pause } from 'node:timers/promises'
import { Registry } from '../observe/prom-client.ts'
import type { Attestry } from '../attestry.ts'
import type { Settings } from '../config/settings.ts'
import { observe } from '../observe/events.ts'
import { openLog, type Log } from '../observe/log.ts'
import { openMetrics, type Metrics } from '../observe/metrics.ts'
import { observeTrust } from '../observe/trust-events.ts'
import { version } from '../version.ts'
import type { Run } from './io.ts'
import { followPolicies } from './follow-policies.ts'
import { closeInTime } from './serve/ending.ts'
import { openPatience } from './serve/patience.ts'
import { probe } from './serve/probe.ts'
import { openRolloutTeller } from './serve/tell-rollout.ts'
import { untilStopped } from './serve/signals.ts'
import { sessionJack, sessionSettings } from './session.ts'

const options = () =>
  sessionJack(
    'attestry serve [options]',
    'Run the registry proxy. Without a settings file every setting has its default.',
  ).opt({
    listen: { short: 'l', hint: 'host:port', description: 'Where to listen.' },
    'public-url': { hint: 'url', description: 'What clients call this server.' },
    'log-level': {
      hint: 'level',
      description: 'fatal, error, warn, info, debug, trace, silent.',
    },
  })

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

/** One process that does all. */
const serveAlone = async (settings: Settings): Promise<number> => {
  // the first process of a cluster needs none of this
  const { openAttestry } = await import('../attestry.ts')
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

export const serve: Run = async (args, io) => {
  const command = options()
  const { values } = command.parse([...args])
  if (values.help) {
    io.stdout.write(command.usage())
    return 0
  }
  const { listen, 'public-url': publicUrl, 'log-level': logLevel } = values
  const overrides = {
    ...(listen !== undefined && { listen }),
    ...(publicUrl !== undefined && { publicUrl }),
    ...(logLevel !== undefined && { logLevel }),
  }
  if (cluster.isWorker) {
    const { welcomed, serveWorker, leaveCluster } = await import('./serve/worker.ts')
    try {
      const start = await welcomed()
      const settings = await sessionSettings(values, io, overrides, start.settings)
      return await serveWorker(settings, start)
    } finally {
      leaveCluster()
    }
  }
  const settings = await sessionSettings(values, io, overrides)
  if (settings.cluster.workers === 1) return serveAlone(settings)
  const { forkWorker } = await import('./serve/crew.ts')
  // it loads what it needs while this process does
  const first = forkWorker()
  try {
    const { servePrimary } = await import('./serve/primary.ts')
    return await servePrimary(settings, first)
  } finally {
    // only where the policies were refused is it still there
    first.process.kill('SIGKILL')
  }
}
