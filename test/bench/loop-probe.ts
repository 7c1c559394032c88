/**
 * Loaded into a server that is measured (`--import`): watches the delay of its event loop from when
 * its parent says `watch` until it says `tell`. Idle otherwise.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

/** Milliseconds beyond the one between two looks. */
export type LoopDelay = { readonly p50: number; readonly p99: number; readonly most: number }

const resolution = 1
const delay = monitorEventLoopDelay({ resolution })
const beyond = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution)

if (process.send !== undefined) {
  process.on('message', message => {
    if (message === 'watch') {
      delay.reset()
      delay.enable()
      process.send?.('watching')
    }
    if (message === 'tell') {
      delay.disable()
      process.send?.({
        p50: beyond(delay.percentile(50)),
        p99: beyond(delay.percentile(99)),
        most: beyond(delay.max),
      } satisfies LoopDelay)
    }
  })
  // the channel must not keep the server from ending
  process.channel?.unref()
}
