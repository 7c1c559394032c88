/**
 * Where the browser comes back to after a login: a loopback redirect (RFC 8252, 7.3) at a port that
 * the system chooses. One answer is taken, whatever it says; what comes later is turned away.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AttestryError, messageOf } from '../errors.ts'

export type Callback = {
  /** `http://127.0.0.1:<port>/auth/callback` */
  readonly url: string
  /** The query of the one answer. Throws ESIGNIDENTITY when nobody came within `wait` milliseconds. */
  answer(wait: number): Promise<URLSearchParams>
  close(): Promise<void>
}

const PATH = '/auth/callback'
const TAKEN =
  'The answer of the issuer has arrived. Go back to the terminal: it says the rest.\n'

const headers = {
  'content-type': 'text/plain; charset=utf-8',
  'content-security-policy': "default-src 'none'",
  'x-content-type-options': 'nosniff',
  // the code stands in the address of this page
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  connection: 'close',
}

const listen = async (server: Server): Promise<string> => {
  server.listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (error) {
    throw new AttestryError(
      'ESIGNIDENTITY',
      `The login found no port of this machine to listen on: ${messageOf(error)}`,
      { cause: error },
    )
  }
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${PATH}`
}

export const openCallback = async (): Promise<Callback> => {
  const came = Promise.withResolvers<URLSearchParams>()
  let taken = false
  const server = createServer((request, response) => {
    const say = (status: number, text: string) => response.writeHead(status, headers).end(text)
    const asked = URL.parse(request.url ?? '', url)
    if (request.method !== 'GET' || asked?.pathname !== PATH) say(404, 'Nothing is here.\n')
    else if (taken) say(410, 'An answer was taken already.\n')
    else {
      taken = true
      // whether or not the browser stays to read the page
      response.once('close', () => came.resolve(asked.searchParams))
      say(200, TAKEN)
    }
  })
  server.maxConnections = 16
  const url = await listen(server)
  return {
    url,
    answer: async wait => {
      const timer = setTimeout(
        () =>
          came.reject(
            new AttestryError(
              'ESIGNIDENTITY',
              `Nobody logged in within ${Math.round(wait / 1000)} s.`,
            ),
          ),
        wait,
      )
      try {
        return await came.promise
      } finally {
        clearTimeout(timer)
      }
    },
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
