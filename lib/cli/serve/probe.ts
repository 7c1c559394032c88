import { setTimeout as pause } from 'node:timers/promises'
import type { Attestry } from '../../attestry.ts'
import type { Settings } from '../../config/settings.ts'
import { messageOf } from '../../errors.ts'
import type { Log } from '../../observe/log.ts'

/** A small package that npm itself depends on: whoever serves npm's packages has it. */
const PROBE = 'abbrev'

/** Milliseconds, so that what asking takes is loaded behind the first answers. */
const REST = 1_000

/** Asks the upstream for one package, so that a mirror that strips signatures is noticed at once. */
export const probe = async (
  { gate }: Pick<Attestry, 'gate'>,
  log: Pick<Log, 'debug' | 'info'>,
  settings: Settings,
  stopped: AbortSignal,
) => {
  const [first] = settings.upstreams
  if (!first || first.registryKeys.kind === 'none') return
  await pause(REST, undefined, { ref: false, signal: stopped }).catch(() => undefined)
  if (stopped.aborted) return
  try {
    await gate.packument(PROBE, 'abbreviated')
    log.debug({ event: 'probe', upstream: first.name }, 'the upstream answers')
  } catch (error) {
    // a private registry need not have it; a dead one will be heard of when somebody asks
    const message = `upstream ${first.name} was asked for ${PROBE}: ${messageOf(error)}`
    log.info({ event: 'probe', upstream: first.name }, message)
  }
}
