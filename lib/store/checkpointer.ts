import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

/** About 6 MiB of write-ahead log, a little above SQLite's own default of 1,000 pages. */
const pagesBetween = 1500

export type Checkpointer = {
  /** Tells roughly how many pages a write added; starts a checkpoint when enough have gathered. */
  wrote(pages: number): void
  close(): Promise<void>
}

/** Runs checkpoints in a thread that is started at the first need and keeps no process alive. */
export const openCheckpointer = (
  path: string,
  failed: (detail: string) => void,
): Checkpointer => {
  let worker: Worker | undefined
  let pages = 0
  let running = false
  let closing = false

  const start = (): Worker => {
    // The compiled program has .js files beside each other, the checkout .ts files.
    const source = new URL(`./checkpoint-worker${extname(import.meta.url)}`, import.meta.url)
    const started = new Worker(source, { workerData: { path } })
    started.unref()
    started.on('message', ({ failure }: { readonly failure?: string }) => {
      running = false
      if (failure !== undefined) failed(failure)
    })
    started.on('error', error => failed(error.message))
    started.on('exit', () => {
      running = false
      if (worker === started) worker = undefined
    })
    return started
  }

  return {
    wrote: count => {
      pages += count
      if (pages < pagesBetween || running || closing) return
      pages = 0
      running = true
      worker ??= start()
      worker.postMessage('checkpoint')
    },
    close: async () => {
      closing = true
      const last = worker
      if (last === undefined) return
      await new Promise<void>(resolve => {
        last.once('exit', () => resolve())
        last.ref()
        last.postMessage('close')
      })
    },
  }
}
