/**
 * The listening server before there is anything behind it: while the store is away an instance
 * that starts answers 503, says that it lives and is not ready, and goes on to serve on the same
 * socket.
 */
import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import type { AttestryError } from '../errors.ts'
import { errorAnswer } from './refusal.ts'
import { listen, type RunningServer, type ServerOptions } from './server.ts'

export type Front = {
  /** Puts `app` behind the socket; listens where nobody does yet. Throws ECONFIG. */
  readonly serve: (app: ServerOptions['app']) => Promise<RunningServer>
  /** Answers everybody with this; listens where nobody does yet. Throws ECONFIG. */
  readonly wait: (error: AttestryError) => Promise<void>
  readonly close: () => Promise<void>
}

const live = '/-/attestry/health/live'

/** Whatever is asked for: nobody was let in yet, and so nothing is told but that. */
export const refuseAll =
  (error: AttestryError): RequestListener =>
  (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? ''
    // below the path of the public URL, or without it
    const alive = path.endsWith(live)
    const answer = alive
      ? { status: 200, phrase: 'OK', headers: {}, body: { status: 'live' } }
      : errorAnswer(error)
    const body = JSON.stringify(answer.body)
    response.writeHead(answer.status, answer.phrase, {
      ...answer.headers,
      'cache-control': 'no-store',
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'x-request-id': randomUUID(),
      // what is sent is not read here, and the next request may be for another instance
      connection: 'close',
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }

export const openFront = (options: Omit<ServerOptions, 'app'>): Front => {
  let server: RunningServer | undefined
  let handler: RequestListener
  const put = async (app: ServerOptions['app']): Promise<RunningServer> => {
    if (server) {
      handler = app(server.port)
      return server
    }
    const opened = await listen({
      ...options,
      app: port => {
        handler = app(port)
        return (request, response) => handler(request, response)
      },
    })
    server = opened
    return opened
  }
  return {
    serve: put,
    wait: async error => void (await put(() => refuseAll(error))),
    close: async () => {
      const opened = server
      server = undefined
      await opened?.close()
    },
  }
}
