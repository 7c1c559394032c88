/** The listening server: HTTP/1.1 (HTTP/2 has no reason phrase), bounded waits, an orderly end. */
import { once } from 'node:events'
import type { RequestListener, ServerOptions as ServerOptionsOfNode } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { AttestryError, messageOf } from '../errors.ts'

// an import asks for everything that the module exports, WebSocket as well, and so loads all of the
// client that stands behind fetch: a tenth of a server's start
const { createServer } = process.getBuiltinModule('node:http')

export type ServerOptions = {
  /** Makes what answers once the port is known. */
  readonly app: (port: number) => RequestListener
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  /** Milliseconds a client may take to send its request. */
  readonly requestTimeout: number
  /** Milliseconds it may take where it publishes packages; default the same. */
  readonly uploadTimeout?: number
  /** PEM; with it the server speaks HTTPS only. */
  readonly tls?: Certificate
}

export type Certificate = { readonly cert: string; readonly key: string }

export type RunningServer = {
  readonly port: number
  /** Connections from now on get this certificate. Throws what is wrong with it. */
  readonly renew: (certificate: Certificate) => void
  /** Takes no new requests, lets those under way end for up to `grace` milliseconds. */
  readonly close: (grace?: number) => Promise<void>
}

const createSecure = (tls: Certificate, bounds: ServerOptionsOfNode) => {
  try {
    // no h2: it has no reason phrase, and that is where some clients show a refusal
    return createTlsServer({ ...bounds, ...tls, ALPNProtocols: ['http/1.1'] })
  } catch (error) {
    const message = `server.tls: the certificate or its key cannot be used: ${messageOf(error)}.`
    throw new AttestryError('ECONFIG', message, { cause: error })
  }
}

const LISTENING: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it, or choose another address or port',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'this user may not listen on that port; choose one from 1024 on',
}

const cannotListen = (host: string, port: number, error: unknown): string => {
  const { code = '' } = error as NodeJS.ErrnoException
  const why = LISTENING[code]
  const found = why === undefined ? messageOf(error) : `${why} (${code})`
  return `listen: cannot listen on ${host}:${port}: ${found}`
}

export const listen = async (options: ServerOptions): Promise<RunningServer> => {
  const { app, host, port, requestTimeout, uploadTimeout = 0, tls } = options
  const bounds = {
    // the headers are what anybody can send slowly; bodies are read for those only who may send one
    requestTimeout: Math.max(requestTimeout, uploadTimeout),
    headersTimeout: requestTimeout,
    // clients keep connections for the length of an install
    keepAliveTimeout: 30_000,
    maxHeaderSize: 16 * 1024,
  }
  const secure = tls && createSecure(tls, bounds)
  const server = secure ?? createServer(bounds)
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw new AttestryError('ECONFIG', cannotListen(host, port, error), { cause: error })
  }
  const bound = (server.address() as AddressInfo).port
  server.on('request', app(bound))
  return {
    port: bound,
    renew: certificate => secure?.setSecureContext({ ...certificate }),
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
