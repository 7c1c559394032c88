/** One of the processes of a cluster: a whole server, told by the first process what is in force. */
import cluster from 'node:cluster'
import { setTimeout as pause } from 'node:timers/promises'
import { Registry } from '../../observe/prom-client.ts'
import { openAttestry, type Attestry } from '../../attestry.ts'
import type { Settings } from '../../config/settings.ts'
import { AttestryError } from '../../errors.ts'
import { inForce } from '../../policy/baseline.ts'
import { observe } from '../../observe/events.ts'
import { openLog } from '../../observe/log.ts'
import { openMetrics } from '../../observe/metrics.ts'
import { observeTrust } from '../../observe/trust-events.ts'
import { version } from '../../version.ts'
import type { FromWorker, PolicyTexts } from './messages.ts'
import { closeInTime } from './ending.ts'
import type { Inbox, Start } from './inbox.ts'
import { parseTexts } from './policy-texts.ts'
import { openPatience } from './patience.ts'
import { probe } from './probe.ts'
import { untilStopped } from './signals.ts'
import { openRolloutTeller } from './tell-rollout.ts'

const tell = (message: FromWorker): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

/** The share of one worker in what the settings give to the server. */
const shareOf = (settings: Settings): Settings => {
  const { workers } = settings.cluster
  const least = 1024 * 1024
  return {
    ...settings,
    storage: {
      ...settings.storage,
      memory: Math.max(least, Math.floor(settings.storage.memory / workers)),
    },
    verification: {
      ...settings.verification,
      workers: Math.max(1, Math.floor(settings.verification.workers / workers)),
    },
  }
}

/** Metrics of all workers, by way of the first process. */
const openScrape = () => {
  let last = 0
  const open = new Map<number, (answer: { type: string; text: string }) => void>()
  return {
    scrape: (): Promise<{ readonly type: string; readonly text: string }> =>
      new Promise(resolve => {
        const id = ++last
        open.set(id, resolve)
        tell({ kind: 'scrape', id })
      }),
    scraped: (id: number, answer: { type: string; text: string }) => {
      open.get(id)?.(answer)
      open.delete(id)
    },
  }
}

/** Lets the process end; without it the channel to the first process keeps it. */
export const leaveCluster = (): void => {
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true
  if (process.connected) process.disconnect()
}

export const serveWorker = async (
  whole: Settings,
  start: Start,
  inbox: Inbox,
): Promise<number> => {
  const settings = shareOf(whole)
  const upstreams = settings.upstreams.map(({ name }) => name)
  const log = openLog(settings.log).child({ worker: cluster.worker?.id })
  const registry = new Registry()
  const metrics = openMetrics({ registry, version })
  const seen = observe({ log, metrics })
  const teller = openRolloutTeller(seen, { waivers: start.worker === 1 })
  const { onRollout } = teller
  const observer = { ...seen, ...observeTrust({ log, registry }), onRollout }
  const texts = new Map(
    start.policies.flatMap(part => part.texts).map(({ file, text }) => [file, text]),
  )
  const { scrape, scraped } = openScrape()
  let attestry: Attestry | undefined
  /** Told while this one was still starting. */
  const early: PolicyTexts[] = []
  let leaving = false
  const drain = (): void => {
    leaving = true
    attestry?.drain()
  }
  let stop: () => void = () => undefined
  const stopped = new Promise<void>(resolve => (stop = resolve))

  const adopt = ({ view, texts }: PolicyTexts): void => {
    if (!attestry) return void early.push({ ...(view !== undefined && { view }), texts })
    const { gate, url } = attestry
    const judging = view === undefined ? gate : gate.view(view, url)
    judging.adopt(parseTexts(texts, upstreams))
  }

  inbox.listen(message => {
    switch (message.kind) {
      case 'adopt':
        return adopt(message.policies)
      case 'trust':
        return void attestry?.trust.renew()
      case 'collect':
        void registry
          .getMetricsAsJSON()
          .then(json => tell({ kind: 'collected', id: message.id, metrics: json }))
        return
      case 'scraped':
        return scraped(message.id, message)
      case 'drain':
        return drain()
      case 'stop':
        return stop()
      default:
    }
  })
  // without the first process nobody would ever end us
  process.once('disconnect', stop)
  // the first process reads the policies again, for all, and tells when to ask for trust
  process.on('SIGHUP', () => undefined)
  process.on('unhandledRejection', error =>
    log.error({ event: 'error', err: error }, 'unhandled'),
  )

  const signal = untilStopped()
  const patience = openPatience(log, Promise.race([stopped, signal]))
  attestry = await openAttestry({
    settings,
    patience,
    observer,
    metrics: scrape,
    instance: start.instance,
    worker: start.worker,
    policyText: async file => {
      const text = texts.get(file)
      if (text !== undefined) return text
      throw new AttestryError('EPOLICY', `${file}: the first process did not read it.`)
    },
  }).catch((error: unknown) => {
    if (patience.signal.aborted) return undefined
    throw error
  })
  if (!attestry) {
    metrics.close()
    return 0
  }
  for (const policies of early) adopt(policies)
  teller.serving(attestry)
  if (leaving) attestry.drain()
  const { url, policies, gate, store } = attestry
  metrics.storeBacklog(() => store.backlog?.() ?? {})
  tell({
    kind: 'serving',
    url,
    policies: inForce(policies).map(policy => `${policy.name} (${policy.mode})`),
    policyDigest: gate.policyDigest,
  })
  if (start.first) void probe(attestry, log, settings, patience.signal)
  const signalled = signal.then(async () => {
    // of this process alone, or of all of them at once, as service managers do
    drain()
    await Promise.race([
      pause(settings.server.drain, undefined, { ref: false }),
      untilStopped(),
    ])
  })
  await Promise.race([stopped, signalled])
  teller.close()
  await closeInTime(attestry.close())
  metrics.close()
  return 0
}
