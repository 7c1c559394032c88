/** A wire to a server that can be cut: what is under way breaks off, what is new is refused. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './free-port.ts'

export type Wire = {
  readonly port: number
  cut(): void
  /** To another server from now on, where one is named. */
  mend(target?: number): Promise<void>
  close(): void
}

export const startWire = async (first: number): Promise<Wire> => {
  let target = first
  const port = await freePort()
  const sockets = new Set<Socket>()
  let server: Server | undefined
  const hold = (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  }
  const mend = async (next = target) => {
    target = next
    server = createServer(inner => {
      const outer = connect(target, '127.0.0.1')
      hold(inner)
      hold(outer)
      inner.pipe(outer)
      outer.pipe(inner)
      inner.on('close', () => outer.destroy())
      outer.on('close', () => inner.destroy())
    }).listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const cut = () => {
    server?.close()
    for (const socket of sockets) socket.destroy()
  }
  await mend()
  return { port, cut, mend, close: cut }
}
