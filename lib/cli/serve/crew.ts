/**
 * The workers of a cluster: as many as are wanted, each a whole server on the same store and port.
 * One that ends is replaced, after a pause that grows while they keep ending; when none can be
 * started to begin with, the crew gives up with that one's exit code.
 */
import cluster, { type Worker } from 'node:cluster'
import { isMessage, type FromWorker, type Serving, type ToWorker } from './messages.ts'

export type Ended = {
  readonly worker: number
  readonly code: number | null
  readonly signal: string | null
  /** Milliseconds until another one is started. */
  readonly pause: number
}

export type CrewOptions = {
  readonly size: number
  /** Forked already, and waiting for its welcome: it starts while this process is still starting. */
  readonly first: Worker
  /** What a worker is told at its start. */
  readonly welcome: (worker: number, first: boolean) => ToWorker
  readonly onMessage: (worker: Worker, message: FromWorker) => void
  /** One more serves. */
  readonly onServing: (worker: number, serving: Serving) => void
  readonly onEnded: (ended: Ended) => void
}

export type Crew = {
  /** Resolves with the exit code when the first worker could not be started; else never. */
  readonly failed: Promise<number>
  readonly workers: () => readonly Worker[]
  readonly tell: (message: ToWorker) => void
  /** All say that they are not ready, and none is replaced any more. */
  readonly drain: () => void
  /** Lets all finish what is under way; resolves when they are gone. */
  readonly stop: (grace?: number) => Promise<void>
}

/** Milliseconds. */
const pauses = {
  least: 100,
  most: 30_000,
  /** A life this long starts counting afresh. */ life: 60_000,
}
const GRACE = 30_000

/**
 * V8 lets the space for new objects grow to 128 MB on a large machine, and keeps it. An eighth of
 * that costs a server no time that could be measured. Whoever names the flag has the last word.
 */
const youngSpace = '--max-semi-space-size'
const flagsOf = (given: readonly string[], options = process.env['NODE_OPTIONS'] ?? '') =>
  [...given, options].some(flag => flag.includes(youngSpace))
    ? [...given]
    : [...given, `${youngSpace}=8`]

export const forkWorker = (): Worker => {
  cluster.setupPrimary({ serialization: 'advanced', execArgv: flagsOf(process.execArgv) })
  // glibc gives every thread an arena of its own, and much that was freed stays in them: a fifth of
  // the memory of a worker
  return cluster.fork({ MALLOC_ARENA_MAX: process.env['MALLOC_ARENA_MAX'] ?? '2' })
}

const kinds = ['serving', 'collected', 'scrape'] as const

export const openCrew = (options: CrewOptions): Crew => {
  const { size, welcome } = options
  const alive = new Map<number, Worker>()
  const timers = new Set<NodeJS.Timeout>()
  let stopping = false
  let served = false
  let fail: (code: number) => void = () => undefined
  const failed = new Promise<number>(resolve => (fail = resolve))

  const send = (worker: Worker, message: ToWorker): void => {
    // it may have ended a moment ago, and that is told by its exit
    if (worker.isConnected()) worker.send(message, () => undefined)
  }

  const start = (seat: number, pause: number, worker = forkWorker()): void => {
    const begun = performance.now()
    alive.set(seat, worker)
    send(worker, welcome(seat, !served))
    worker.on('message', (message: unknown) => {
      if (!isMessage<FromWorker>(message, kinds)) return
      if (message.kind === 'serving') onServing(seat, message)
      else options.onMessage(worker, message)
    })
    // what cannot be sent to it any more is told by its exit
    worker.on('error', () => undefined)
    worker.once('exit', (code: number | null, signal: string | null) => {
      alive.delete(seat)
      if (stopping) return
      if (!served) return fail(code === null || code === 0 ? 1 : code)
      const short = performance.now() - begun < pauses.life
      const next = short
        ? Math.min(Math.max(pause * 2, pauses.least), pauses.most)
        : pauses.least
      options.onEnded({ worker: seat, code, signal, pause: next })
      const timer = setTimeout(() => {
        timers.delete(timer)
        start(seat, next)
      }, next)
      timers.add(timer)
    })
  }

  const onServing = (seat: number, serving: Serving): void => {
    options.onServing(seat, serving)
    if (served) return
    served = true
    // one after the other: the first has made the store, and found what is wrong with the settings
    for (let other = 2; other <= size; other++) start(other, 0)
  }

  const drain = (): void => {
    stopping = true
    for (const timer of timers) clearTimeout(timer)
    for (const worker of alive.values()) send(worker, { kind: 'drain' })
  }

  start(1, 0, options.first)

  return {
    failed,
    workers: () => [...alive.values()],
    tell: message => {
      for (const worker of alive.values()) send(worker, message)
    },
    drain,
    stop: async (grace = GRACE) => {
      drain()
      const gone = [...alive.values()].map(
        worker => new Promise<void>(resolve => worker.once('exit', () => resolve())),
      )
      for (const worker of alive.values()) send(worker, { kind: 'stop' })
      const force = setTimeout(() => {
        for (const worker of alive.values()) worker.process.kill('SIGKILL')
      }, grace)
      await Promise.all(gone)
      clearTimeout(force)
    },
  }
}
