/** Processes that serve: started, asked until they answer, ended with all they started. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { openSync, closeSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { hasProc, treeOf } from './machine.ts'

export type Command = {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly cwd: string
  /** Where it will be; without a slash at its end. */
  readonly url: string
  /** File for what it prints. */
  readonly log: string
  /** With a channel for messages to it. */
  readonly ipc?: boolean
}

export type RunningServer = {
  readonly child: ChildProcess
  readonly pid: number
  /** Milliseconds from its start to the first answer. */
  readonly startup: number
  readonly stop: () => Promise<void>
}

const longestStart = 60_000
const longestEnd = 6_000

/** Free now; nobody else on a machine that measures is expected to take it. */
export const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await new Promise(done => server.close(done))
  return port
}

const kill = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(pid, signal)
  } catch {
    // gone already
  }
}

const answers = async (url: string): Promise<boolean> => {
  try {
    const response = await fetch(`${url}/-/ping`, { signal: AbortSignal.timeout(5_000) })
    await response.arrayBuffer()
    return response.status < 500
  } catch {
    return false
  }
}

/** The answer of probe.ts inside a server that was started with a channel. */
export const askServer = async (
  { child }: RunningServer,
  question: 'watch' | 'tell' | 'profile' | 'profiled',
): Promise<unknown> => {
  const answered = once(child, 'message', { signal: AbortSignal.timeout(30_000) })
  child.send(question)
  const [answer] = (await answered) as [unknown]
  return answer
}

export const startServer = async (options: Command): Promise<RunningServer> => {
  const log = openSync(options.log, 'a')
  const started = performance.now()
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log, ...(options.ipc === true ? (['ipc'] as const) : [])],
  })
  closeSync(log)
  const { pid } = child
  if (pid === undefined) throw new Error(`${options.command} cannot be started`)
  const forget = () => kill(pid, 'SIGKILL')
  process.once('exit', forget)
  const gone = once(child, 'exit').then(() => process.off('exit', forget))
  const over = () => child.exitCode !== null || child.signalCode !== null

  const stop = async (): Promise<void> => {
    if (over()) return
    const below = hasProc ? treeOf(pid) : [pid]
    child.kill('SIGTERM')
    await Promise.race([gone, sleep(longestEnd, undefined, { ref: false })])
    if (!over()) for (const each of below) kill(each, 'SIGKILL')
    await gone
  }

  while (!(await answers(options.url))) {
    if (over()) throw new Error(`${options.command} ended at its start: see ${options.log}`)
    if (performance.now() - started > longestStart) {
      await stop()
      throw new Error(`${options.command} did not answer: see ${options.log}`)
    }
    await sleep(2)
  }
  return { child, pid, startup: performance.now() - started, stop }
}
