/**
 * The first process of a cluster: starts the workers and keeps them up, reads the policy files for
 * all of them, puts their metrics together, and ends them in good order. It serves nothing itself.
 */
import type { Worker } from 'node:cluster'
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { Registry } from '../../observe/prom-client.ts'
import type { Settings } from '../../config/settings.ts'
import { readTextFile } from '../../config/text-file.ts'
import { openLayers } from '../../gate/layers.ts'
import { observe } from '../../observe/events.ts'
import { openLog } from '../../observe/log.ts'
import { openMetrics } from '../../observe/metrics.ts'
import { policyDigest } from '../../policy/digest.ts'
import type { Policy } from '../../policy/policy.ts'
import { version } from '../../version.ts'
import { followPolicies } from '../follow-policies.ts'
import { openCrew } from './crew.ts'
import type { PolicyText } from '../reload.ts'
import type { PolicyTexts, Serving, ToWorker } from './messages.ts'
import { parseTexts } from './policy-texts.ts'
import { openScrapes } from './scrapes.ts'
import { untilStopped } from './signals.ts'

const textsOf = (files: readonly string[]): Promise<readonly PolicyText[]> =>
  Promise.all(files.map(async file => ({ file, text: await readTextFile(file, 'EPOLICY') })))

/** Resolves to the exit code once all are gone. Throws EPOLICY, and then `first` is not needed. */
export const servePrimary = async (settings: Settings, first: Worker): Promise<number> => {
  const upstreams = settings.upstreams.map(({ name }) => name)
  const viewFiles = Object.entries(settings.views).map(
    ([view, { policies }]) => [view, policies] as const,
  )
  /** What is in force, as it was read; by view. */
  const inForce = new Map<string | undefined, PolicyTexts>([
    [undefined, { texts: await textsOf(settings.policies) }],
  ])
  for (const [view, files] of viewFiles)
    inForce.set(view, { view, texts: await textsOf(files) })
  const parsed = (view?: string) => parseTexts(inForce.get(view)?.texts ?? [], upstreams)
  const policies = parsed()
  const views = new Map<string, readonly Policy[]>(
    viewFiles.map(([view]) => [view, parsed(view)]),
  )
  const held = settings.file === undefined ? undefined : await readFile(settings.file, 'utf8')

  const log = openLog(settings.log)
  const registry = new Registry()
  const metrics = openMetrics({ registry, version })
  const observer = observe({ log, metrics })
  const instance = randomUUID()
  let announced = false

  const announce = ({ url, policies: names, policyDigest: digest }: Serving) => {
    announced = true
    const fields = {
      event: 'listening',
      url,
      workers: settings.cluster.workers,
      upstreams: settings.upstreams.map(upstream => `${upstream.name} ${upstream.url}`),
      policies: names,
      policyDigest: digest,
      storage: settings.storage.path,
      version,
    }
    log.info(fields, `serving at ${url}`)
  }

  const crew = openCrew({
    size: settings.cluster.workers,
    first,
    welcome: (worker, greets): ToWorker => ({
      kind: 'start',
      worker,
      instance,
      ...(held !== undefined && { settings: held }),
      policies: [...inForce.values()],
      first: greets,
    }),
    onServing: (worker, serving) => {
      metrics.workers(crew.workers().length)
      if (!announced) announce(serving)
      log.info({ event: 'worker-serving', worker }, `worker ${worker} serves`)
    },
    onEnded: ended => {
      metrics.workers(crew.workers().length)
      metrics.workerEnded()
      const { worker, code, signal, pause } = ended
      const how = signal ?? `code ${code}`
      const message = `worker ${worker} ended with ${how}; another one starts in ${pause} ms`
      log.error({ event: 'worker-ended', ...ended }, message)
    },
    onMessage: (worker, message) => {
      if (message.kind === 'collected') scrapes.collected(message.id, message.metrics)
      if (message.kind !== 'scrape') return
      const { id } = message
      void scrapes.scrape().then(({ type, text }) => {
        if (worker.isConnected()) worker.send({ kind: 'scraped', id, type, text })
      })
    },
  })
  const scrapes = openScrapes({
    registry,
    ask: id => {
      crew.tell({ kind: 'collect', id })
      return crew.workers().length
    },
  })

  const layers = openLayers(policies, views)
  const judging = (view?: string) => ({
    get policyDigest() {
      return policyDigest(layers.of(view)())
    },
    adopt: (next: readonly Policy[], texts: readonly PolicyText[]) => {
      layers.adopt(next, view)
      const told = { ...(view !== undefined && { view }), texts }
      inForce.set(view, told)
      crew.tell({ kind: 'adopt', policies: told })
    },
  })
  // what is published every worker reads, judges by and acknowledges by itself
  const follower =
    settings.policySource === 'files'
      ? followPolicies({ policies, views, judging, settings, observer, log })
      : undefined
  const onHangup = () => crew.tell({ kind: 'trust' })
  process.on('SIGHUP', onHangup)

  const ended = await Promise.race([untilStopped(), crew.failed])
  process.off('SIGHUP', onHangup)
  if (typeof ended === 'string') {
    log.info({ event: 'stopping', signal: ended }, `${ended}: finishing what is under way`)
    crew.drain()
    // so that balancers look elsewhere before the port closes; a second signal ends at once
    await Promise.race([
      pause(settings.server.drain, undefined, { ref: false }),
      untilStopped(),
    ])
  }
  await follower?.close()
  await crew.stop()
  metrics.close()
  if (typeof ended === 'number') return ended
  log.info({ event: 'stopped' }, 'stopped')
  return 0
}
