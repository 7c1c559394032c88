/**
 * Large blobs from the disk to a client, piece by piece through one buffer that is used again: new
 * memory for each piece, as streams take it, costs more than reading and sending it together.
 */
import type { ServerResponse } from 'node:http'
import { AttestryError } from '../errors.ts'

/** What is read from; a store's blob fits. */
export type Source = {
  readonly read: (into: Buffer, position: number) => Promise<number>
  readonly close: () => Promise<void>
}

/**
 * Sends the bytes `start` to `end` inclusive, ends the response and closes the source. Resolves also
 * when the client goes away; rejects when the bytes cannot be read, and then the connection is cut,
 * so that what was sent is no whole answer.
 */
export type Pump = (
  source: Source,
  part: { readonly start: number; readonly end: number },
  response: ServerResponse,
) => Promise<void>

/** Bytes read and sent at a time. */
const piece = 256 * 1024
/** Buffers kept for the next. */
const spares = 16

const endedEarly = (position: number, end: number) =>
  new AttestryError('ESTORE', `A blob ends at ${position}, not at ${end + 1}.`)

export const openPump = (): Pump => {
  const spare: Buffer[] = []
  const put = (buffer: Buffer) => {
    if (spare.length < spares) spare.push(buffer)
  }

  return (source, { start, end }, response) =>
    new Promise((resolve, reject) => {
      const { socket } = response.req
      let position = start
      let over = false
      const finish = (failure?: unknown): void => {
        if (over) return
        over = true
        socket.off('close', onClose)
        if (failure !== undefined) response.destroy()
        source.close().then(
          () => (failure === undefined ? resolve() : reject(failure)),
          (error: unknown) => reject(failure ?? error),
        )
      }
      const onClose = () => finish()

      const step = (buffer: Buffer): void => {
        const into = buffer.subarray(0, Math.min(piece, end + 1 - position))
        const read = source.read(into, position).then(count => {
          if (over) return put(buffer)
          if (count === 0) return finish(endedEarly(position, end))
          position += count
          send(buffer, into.subarray(0, count))
        })
        read.catch(finish)
      }

      /** Only when a piece has left may its memory hold another; where it never leaves, it is let go. */
      const send = (buffer: Buffer, bytes: Buffer): void => {
        response.write(bytes, error => {
          if (error) return finish()
          if (!over && position <= end) return step(buffer)
          put(buffer)
          if (over) return
          response.end()
          finish()
        })
      }

      if (socket.destroyed || response.destroyed) return finish()
      socket.once('close', onClose)
      if (position > end) {
        response.end()
        return finish()
      }
      step(spare.pop() ?? Buffer.allocUnsafeSlow(piece))
    })
}
