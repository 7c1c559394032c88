/**
 * Loaded into a server that is measured (`--import`): looks into it when its parent says so, and is
 * idle otherwise. `watch` and `tell`: the delay of the event loop in between. `profile` and
 * `profiled`: where the processor's time goes in between.
 */
import cluster from 'node:cluster'
import { Session } from 'node:inspector/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { CpuProfile } from './cpu-profile.ts'

/** Milliseconds beyond the one between two looks. */
export type LoopDelay = { readonly p50: number; readonly p99: number; readonly most: number }

const resolution = 1
const delay = monitorEventLoopDelay({ resolution })
const beyond = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution)
const session = new Session()

const handlers: Readonly<Record<string, () => unknown>> = {
  watch: () => {
    delay.reset()
    delay.enable()
    return 'watching'
  },
  tell: (): LoopDelay => {
    delay.disable()
    return {
      p50: beyond(delay.percentile(50)),
      p99: beyond(delay.percentile(99)),
      most: beyond(delay.max),
    }
  },
  profile: async () => {
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.start')
    return 'profiling'
  },
  profiled: async (): Promise<CpuProfile> => {
    const { profile } = await session.post('Profiler.stop')
    session.disconnect()
    const { samples = [], timeDeltas = [] } = profile
    const nodes = profile.nodes.map(({ children = [], ...node }) => ({ ...node, children }))
    return { nodes, samples, timeDeltas }
  },
}

// the processes of a cluster have channels of their own
if (process.send !== undefined && cluster.isPrimary) {
  process.on('message', message => {
    const handler = handlers[String(message)]
    if (handler === undefined) return
    const answer = async () => handler()
    void answer().then(told => process.send?.(told))
  })
  // the channel must not keep the server from ending
  process.channel?.unref()
}
