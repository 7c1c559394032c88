/** `attestry serve`: the proxy, until it is told to stop. */
import { Registry } from 'prom-client'
import { openAttestry, type Attestry } from '../attestry.ts'
import type { Settings } from '../config/settings.ts'
import { messageOf } from '../errors.ts'
import { observe } from '../observe/events.ts'
import { openLog, type Log } from '../observe/log.ts'
import { openMetrics } from '../observe/metrics.ts'
import { version } from '../version.ts'
import type { Run } from './io.ts'
import { followPolicies } from './follow-policies.ts'
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

/** A small package that npm itself depends on: whoever serves npm's packages has it. */
const PROBE = 'abbrev'

/** Asks the upstream for one package, so that a mirror that strips signatures is noticed at once. */
const probe = async ({ gate }: Attestry, log: Log, settings: Settings) => {
  const [first] = settings.upstreams
  if (!first || first.registryKeys.kind === 'none') return
  try {
    const { standing } = await gate.packument(PROBE, 'abbreviated')
    log.debug({ event: 'probe', upstream: standing.index.upstream }, 'the upstream answers')
  } catch (error) {
    // a private registry need not have it; a dead one will be heard of when somebody asks
    const message = `upstream ${first.name} was asked for ${PROBE}: ${messageOf(error)}`
    log.info({ event: 'probe', upstream: first.name }, message)
  }
}

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
      storage: settings.storage.path,
      version,
    },
    `serving at ${url}`,
  )
}

const untilStopped = async (): Promise<NodeJS.Signals> =>
  new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => resolve(signal))
    }
  })

export const serve: Run = async (args, io) => {
  const command = options()
  const { values } = command.parse([...args])
  if (values.help) {
    io.stdout.write(command.usage())
    return 0
  }
  const { listen, 'public-url': publicUrl, 'log-level': logLevel } = values
  const settings = await sessionSettings(values, io, {
    ...(listen !== undefined && { listen }),
    ...(publicUrl !== undefined && { publicUrl }),
    ...(logLevel !== undefined && { logLevel }),
  })
  const log = openLog(settings.log)
  const metrics = openMetrics({ registry: new Registry(), version })
  const observer = observe({ log, metrics })
  const attestry = await openAttestry({ settings, observer, metrics: metrics.text })
  // a promise nobody waited for failed: told, not fatal; what it belonged to has failed by itself
  process.on('unhandledRejection', error =>
    log.error({ event: 'error', err: error }, 'unhandled'),
  )
  announce(attestry, log, settings)
  const follower = followPolicies({ attestry, settings, observer, log })
  void probe(attestry, log, settings)
  const signal = await untilStopped()
  log.info({ event: 'stopping', signal }, `${signal}: finishing what is under way`)
  await follower.close()
  await attestry.close()
  metrics.close()
  log.info({ event: 'stopped' }, 'stopped')
  return 0
}
