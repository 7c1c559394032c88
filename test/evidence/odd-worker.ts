/** A worker that does what a verification worker must never do. */
import { parentPort, threadId, workerData } from 'node:worker_threads'
import { serve } from '../../lib/evidence/pool-messages.ts'

if (parentPort === null) throw new Error('a worker thread only')
if (workerData === 'broken') throw new Error('broken from the start')

const forever = () => {
  for (;;);
}

serve(parentPort, {
  calls: {
    echo: (input: unknown) => input,
    who: () => threadId,
    refuse: () => {
      throw new Error('no')
    },
    forever,
    crash: () => {
      setImmediate(() => {
        throw new Error('crashed')
      })
      return new Promise(() => {})
    },
    leave: () => process.exit(3),
    eat: () => {
      // bit by bit: where much is wanted at once V8 may end the process before it ends the thread
      let eaten: unknown
      for (;;) eaten = { eaten }
    },
  },
  streams: {
    count: async (_input: unknown, bytes) => {
      let size = 0
      for await (const chunk of bytes) size += (chunk as Uint8Array).length
      return size
    },
    first: async (_input: unknown, bytes) => {
      for await (const chunk of bytes) return (chunk as Uint8Array).length
      return 0
    },
    forever: async (_input: unknown, bytes) => {
      for await (const _chunk of bytes) forever()
    },
    stall: () => new Promise(() => {}),
  },
})
