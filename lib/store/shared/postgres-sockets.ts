import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/** What the client knows when it wants a socket; hosts and ports are of one length. */
type Wanted = {
  readonly host: readonly string[]
  readonly port: readonly number[]
  /** Of a socket of the file system. */
  readonly path?: string | false
}

export type SocketsOptions = {
  /** Connections that may be made at once. */
  readonly burst: number
}

export type Sockets = {
  /** For the client's option `socket`; each client has its own. `ended`: nobody wants it any more. */
  readonly maker: (ended: () => boolean) => (wanted: Wanted) => Promise<Socket>
}

/** Connections a second, beyond the burst. */
const rate = 10
/** Milliseconds: a connection that ends sooner was to a server that is none, or not the one we want. */
const short = 1_000

/**
 * Sockets for the client of PostgreSQL, at a pace. When a server takes a connection and ends it
 * (a proxy without a server behind it, a server that is starting), the client makes the next one in
 * the same moment, hundreds a second (postgres 3.4). Of several hosts the one that works is kept.
 */
export const openSockets = ({ burst }: SocketsOptions): Sockets => {
  let left = burst
  let filled = performance.now()
  const turn = async (): Promise<void> => {
    const now = performance.now()
    left = Math.min(burst, left + ((now - filled) * rate) / 1000) - 1
    filled = now
    if (left < 0) await pause((-left / rate) * 1000)
  }

  return {
    maker: ended => {
      let current = 0
      return async ({ host, port, path }) => {
        await turn()
        const mine = current
        const at = { host: host[mine] ?? 'localhost', port: port[mine] ?? 5432 }
        const made = performance.now()
        const socket = connect(typeof path === 'string' && path !== '' ? { path } : at)
        socket.once('close', () => {
          if (performance.now() - made < short && current === mine)
            current = (mine + 1) % host.length
        })
        // the client does so itself where it makes them; TLS is told the name
        Object.assign(socket, at)
        if (ended()) setImmediate(() => socket.destroy())
        return socket
      }
    },
  }
}
