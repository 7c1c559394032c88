/** The listening server: HTTP/1.1 (HTTP/2 has no reason phrase), bounded waits, an orderly end. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type Koa from 'koa'
import { AttestryError, messageOf } from '../errors.ts'

export type ServerOptions = {
  /** Makes the application once the port is known. */
  readonly app: (port: number) => Koa
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  /** Milliseconds a client may take to send its request. */
  readonly requestTimeout: number
}

export type RunningServer = {
  readonly port: number
  /** Takes no new requests, lets those under way end for up to `grace` milliseconds. */
  readonly close: (grace?: number) => Promise<void>
}

export const listen = async (options: ServerOptions): Promise<RunningServer> => {
  const { app, host, port, requestTimeout } = options
  const server = createServer({
    requestTimeout,
    headersTimeout: requestTimeout,
    // clients keep connections for the length of an install
    keepAliveTimeout: 30_000,
    maxHeaderSize: 16 * 1024,
  })
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    const message = `Cannot listen on ${host}:${port}: ${messageOf(error)}.`
    throw new AttestryError('ECONFIG', message, { cause: error })
  }
  const bound = (server.address() as AddressInfo).port
  const answer = app(bound).callback()
  server.on('request', (request, response) => void answer(request, response))
  return {
    port: bound,
    close: async (grace = 5_000) => {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      const force = setTimeout(() => server.closeAllConnections(), grace)
      await closed
      clearTimeout(force)
    },
  }
}
