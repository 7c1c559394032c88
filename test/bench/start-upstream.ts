/** Starts upstream.ts as a child process that ends with this one. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { MaterialOptions } from './material.ts'
import type { UpstreamReady } from './upstream.ts'

export type RunningUpstream = UpstreamReady & {
  readonly pid: number
  readonly stop: () => void
}

const longestStart = 300_000

export const startUpstream = async (options: MaterialOptions): Promise<RunningUpstream> => {
  const file = fileURLToPath(new URL('./upstream.ts', import.meta.url))
  const child = fork(file, [JSON.stringify(options)], { execArgv: [] })
  const ready = await new Promise<UpstreamReady>((resolve, reject) => {
    const late = () => {
      child.kill()
      reject(new Error('the upstream was not ready in time'))
    }
    const timer = setTimeout(late, longestStart)
    child.once('message', message => {
      clearTimeout(timer)
      resolve(message as UpstreamReady)
    })
    child.once('exit', code => {
      clearTimeout(timer)
      reject(new Error(`the upstream ended with ${code}`))
    })
  })
  return { ...ready, pid: child.pid ?? 0, stop: () => void child.kill() }
}
