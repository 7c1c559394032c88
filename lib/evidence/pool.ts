/**
 * Worker threads that answer requests. A worker that crashes, hangs or runs out of memory fails
 * what it was doing, and nothing else: another one takes its place. Started when first needed;
 * an idle one does not keep the process alive.
 */
import { Worker, type TransferListItem } from 'node:worker_threads'
import type { Readable } from 'node:stream'
import type { FromWorker, ToWorker } from './pool-messages.ts'
import { messageOf } from '../errors.ts'

export type PoolOptions = {
  /** The worker's file; it answers by `serve` of pool-messages.ts. */
  readonly url: URL
  readonly workerData: unknown
  readonly size: number
  /** Milliseconds from when a worker takes a request up. */
  readonly timeout: number
  /** MiB of heap for each worker. */
  readonly memory: number
  /** Requests that may wait for a worker. */
  readonly queue: number
}

export type Pool = {
  /** Rejects with an Error when no worker could answer. */
  readonly call: (
    name: string,
    input: unknown,
    transfer?: readonly TransferListItem[],
  ) => Promise<unknown>
  /** The same with bytes: read as fast as the worker takes them, and destroyed in the end. */
  readonly stream: (name: string, input: unknown, bytes: Readable) => Promise<unknown>
  readonly close: () => Promise<void>
}

/** A worker does one of each at a time: a long stream does not hold up the short calls. */
type Lane = 'call' | 'stream'

type Job = {
  readonly id: number
  readonly lane: Lane
  readonly start: (worker: Worker) => void
  readonly settle: (error: Error | undefined, result?: unknown) => void
  /** Resolves the next wait for room; streams only. */
  taken: () => void
  /** Has the worker all been given and taken? Then slowness is not its fault. */
  readonly waiting: () => boolean
  timer?: NodeJS.Timeout
}

type Slot = { worker: Worker | undefined; readonly jobs: Map<number, Job> }

/** Chunks given to a worker and not yet taken by it. */
const window = 4

export const openPool = (options: PoolOptions): Pool => {
  const slots: Slot[] = Array.from({ length: options.size }, () => ({
    worker: undefined,
    jobs: new Map(),
  }))
  const waiting: Job[] = []
  let lastId = 0
  let closed = false

  const startWorker = (slot: Slot): Worker => {
    const worker = new Worker(options.url, {
      workerData: options.workerData,
      // hooks of a test runner or debugger are for the main thread
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: options.memory },
    })
    const gone = (reason: string) => {
      if (slot.worker === worker) retire(slot, reason)
    }
    worker.on('message', (message: FromWorker) => answer(slot, message))
    worker.on('error', error => gone(`The verification worker failed: ${messageOf(error)}.`))
    worker.on('exit', code => gone(`The verification worker ended with code ${code}.`))
    // while a request is under way its timer keeps the process alive
    worker.unref()
    slot.worker = worker
    return worker
  }

  /** Ends the slot's worker; its jobs fail and the next one starts another worker. */
  const retire = (slot: Slot, reason: string): void => {
    const { worker } = slot
    slot.worker = undefined
    for (const job of slot.jobs.values()) finish(slot, job, new Error(reason))
    void worker?.terminate()
    dispatch()
  }

  const finish = (slot: Slot, job: Job, error: Error | undefined, result?: unknown): void => {
    if (!slot.jobs.delete(job.id)) return
    clearTimeout(job.timer)
    job.settle(error, result)
  }

  const answer = (slot: Slot, message: FromWorker): void => {
    const job = slot.jobs.get(message.id)
    if (job === undefined) return
    if (message.kind === 'taken') return job.taken()
    if (message.kind === 'failed') finish(slot, job, new Error(message.reason))
    else finish(slot, job, undefined, message.result)
    dispatch()
  }

  const late = (slot: Slot, job: Job): void => {
    const reason = `Verification took longer than ${options.timeout} ms.`
    if (!job.waiting()) return retire(slot, reason)
    slot.worker?.postMessage({ id: job.id, kind: 'stop' } satisfies ToWorker)
    finish(slot, job, new Error(reason))
    dispatch()
  }

  const free = (slot: Slot, lane: Lane) =>
    ![...slot.jobs.values()].some(job => job.lane === lane)

  const dispatch = (): void => {
    for (const lane of ['call', 'stream'] as const) {
      for (;;) {
        const index = waiting.findIndex(job => job.lane === lane)
        const job = waiting[index]
        const able = slots.filter(slot => free(slot, lane))
        const slot = able.find(({ worker }) => worker !== undefined) ?? able[0]
        if (job === undefined || slot === undefined) break
        waiting.splice(index, 1)
        slot.jobs.set(job.id, job)
        const worker = slot.worker ?? startWorker(slot)
        job.timer = setTimeout(() => late(slot, job), options.timeout)
        try {
          job.start(worker)
        } catch (error) {
          // what cannot be sent to a thread
          finish(slot, job, new Error(messageOf(error)))
        }
      }
    }
  }

  const submit = (job: Job): void => {
    if (closed) return job.settle(new Error('The verification workers are closed.'))
    if (waiting.length >= options.queue)
      return job.settle(new Error('Too many verifications are waiting.'))
    waiting.push(job)
    dispatch()
  }

  const call: Pool['call'] = (name, input, transfer = []) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      submit({
        id,
        lane: 'call',
        start: worker =>
          worker.postMessage({ id, kind: 'call', name, input } satisfies ToWorker, transfer),
        settle: (error, result) => (error ? reject(error) : resolve(result)),
        taken: () => undefined,
        waiting: () => false,
      })
    })

  const stream: Pool['stream'] = (name, input, bytes) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      let given = 0
      let ended = false
      let over = false
      let wake = () => {}
      const post = (worker: Worker, message: ToWorker, transfer: TransferListItem[] = []) => {
        if (!over) worker.postMessage(message, transfer)
      }
      const pump = async (worker: Worker): Promise<void> => {
        for await (const chunk of bytes) {
          while (given >= window && !over) await new Promise<void>(done => (wake = done))
          if (over) return
          // a copy: the chunk's memory may be shared with other buffers, and is given away
          const copy = Uint8Array.from(chunk as Uint8Array)
          given++
          post(worker, { id, kind: 'chunk', bytes: copy }, [copy.buffer])
        }
        ended = true
        post(worker, { id, kind: 'end' })
      }
      const job: Job = {
        id,
        lane: 'stream',
        start: worker => {
          worker.postMessage({ id, kind: 'open', name, input } satisfies ToWorker)
          pump(worker).catch((error: unknown) => {
            post(worker, { id, kind: 'stop' })
            const slot = slots.find(({ jobs }) => jobs.has(id))
            if (slot) finish(slot, job, new Error(`The bytes broke off: ${messageOf(error)}.`))
            dispatch()
          })
        },
        settle: (error, result) => {
          over = true
          wake()
          bytes.destroy()
          if (error) reject(error)
          else resolve(result)
        },
        taken: () => {
          given--
          wake()
        },
        waiting: () => given === 0 && !ended,
      }
      // an error nobody reads yet must not end the process
      bytes.on('error', () => {})
      submit(job)
    })

  return {
    call,
    stream,
    close: async () => {
      closed = true
      const reason = 'The verification workers are closed.'
      for (const job of waiting.splice(0)) job.settle(new Error(reason))
      const workers = slots.map(slot => slot.worker)
      for (const slot of slots) {
        slot.worker = undefined
        for (const job of slot.jobs.values()) finish(slot, job, new Error(reason))
      }
      await Promise.all(workers.map(async worker => worker?.terminate()))
    },
  }
}
