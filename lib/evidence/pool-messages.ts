/** What passes between the pool and its workers, and the worker's side of it. */
import { Readable } from 'node:stream'
import type { MessagePort } from 'node:worker_threads'
import { messageOf } from '../errors.ts'

export type ToWorker =
  | {
      readonly id: number
      readonly kind: 'call' | 'open'
      readonly name: string
      readonly input: unknown
    }
  | { readonly id: number; readonly kind: 'chunk'; readonly bytes: Uint8Array }
  | { readonly id: number; readonly kind: 'end' | 'stop' }

export type FromWorker =
  | { readonly id: number; readonly kind: 'done'; readonly result: unknown }
  | { readonly id: number; readonly kind: 'failed'; readonly reason: string }
  /** A chunk was taken; another may come. */
  | { readonly id: number; readonly kind: 'taken' }

export type Handlers = {
  readonly calls: Readonly<Record<string, (input: never) => unknown>>
  readonly streams: Readonly<
    Record<string, (input: never, bytes: Readable) => Promise<unknown>>
  >
}

/** Answers every message on `port` with these handlers. */
export const serve = (port: MessagePort, { calls, streams }: Handlers): void => {
  const send = (message: FromWorker) => port.postMessage(message)
  const open = new Map<number, { push(bytes: Uint8Array): void; end(error?: Error): void }>()

  const settle = async (id: number, work: () => unknown): Promise<void> => {
    try {
      send({ id, kind: 'done', result: await work() })
    } catch (error) {
      send({ id, kind: 'failed', reason: messageOf(error) })
    }
  }

  const stream = (id: number, name: string, input: unknown): void => {
    // each read that empties the buffer reports the chunk that was pushed for it
    let untaken = 0
    const bytes = new Readable({
      highWaterMark: 0,
      read: () => {
        for (; untaken > 0; untaken--) send({ id, kind: 'taken' })
      },
    })
    open.set(id, {
      push: chunk => {
        untaken++
        bytes.push(chunk)
      },
      end: error => {
        if (error) bytes.destroy(error)
        else bytes.push(null)
      },
    })
    const handler = streams[name] as
      ((input: unknown, bytes: Readable) => Promise<unknown>) | undefined
    void settle(id, async () => {
      try {
        return await handler?.(input, bytes)
      } finally {
        open.delete(id)
        bytes.destroy()
      }
    })
  }

  port.on('message', (message: ToWorker) => {
    const { id } = message
    switch (message.kind) {
      case 'call':
        return void settle(id, () =>
          (calls[message.name] as ((input: unknown) => unknown) | undefined)?.(message.input),
        )
      case 'open':
        return stream(id, message.name, message.input)
      case 'chunk':
        return open.get(id)?.push(message.bytes)
      case 'end':
        return open.get(id)?.end()
      case 'stop':
        return open.get(id)?.end(new Error('stopped'))
    }
  })
}
