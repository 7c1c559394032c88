/** A small proxy before an S3 server that does to requests what a fault says. */
import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export type S3Fault =
  /** Answered with this, whatever was asked. */
  | { readonly status: number; readonly code: string }
  /** Taken, and never answered. */
  | 'frozen'
  /** The body comes at one byte a second. */
  | 'dripping'
  /** The connection ends in the middle of the body. */
  | 'cut'
  /** Half of the body, as if that were all. */
  | 'short'
  /** The last byte is another. */
  | 'spoiled'

export type S3Faults = {
  readonly port: number
  /** Which requests are spoiled; set to change, undefined for none. */
  fault: { readonly what: S3Fault; readonly methods: readonly string[] } | undefined
  /** Requests since the start, by method. */
  readonly seen: Map<string, number>
  close(): void
}

const pass = async (asked: IncomingMessage, port: number): Promise<IncomingMessage> => {
  const { url, method, headers } = asked
  const passed = request({ port, host: '127.0.0.1', path: url, method, headers })
  asked.pipe(passed)
  const [answer] = (await once(passed, 'response')) as [IncomingMessage]
  return answer
}

const head = (answer: ServerResponse, from: IncomingMessage, length?: number) =>
  answer.writeHead(from.statusCode ?? 502, {
    ...from.headers,
    ...(length !== undefined && { 'content-length': length }),
  })

const spoil = async (what: S3Fault, from: IncomingMessage, answer: ServerResponse) => {
  const body = await buffer(from)
  const half = Math.floor(body.length / 2)
  if (what === 'short') return head(answer, from, half).end(body.subarray(0, half))
  head(answer, from)
  if (what === 'cut') return answer.write(body.subarray(0, half), () => answer.destroy())
  if (what === 'spoiled') {
    body[body.length - 1] = (body.at(-1) ?? 0) ^ 1
    return answer.end(body)
  }
  let sent = 0
  const timer = setInterval(() => answer.write(body.subarray(sent, ++sent)), 1000)
  answer.on('close', () => clearInterval(timer))
}

export const startS3Faults = async (target: number): Promise<S3Faults> => {
  const seen = new Map<string, number>()
  const faults: { fault: S3Faults['fault'] } = { fault: undefined }
  const serve = async (asked: IncomingMessage, answer: ServerResponse) => {
    const { method = '' } = asked
    seen.set(method, (seen.get(method) ?? 0) + 1)
    const { fault } = faults
    if (!fault?.methods.includes(method)) {
      const from = await pass(asked, target)
      head(answer, from)
      return from.pipe(answer)
    }
    const { what } = fault
    if (what === 'frozen') return
    if (typeof what === 'object') {
      asked.resume()
      await once(asked, 'end')
      const body = method === 'HEAD' ? '' : `<Error><Code>${what.code}</Code></Error>`
      return answer.writeHead(what.status).end(body)
    }
    return spoil(what, await pass(asked, target), answer)
  }
  const server = createServer((asked, answer) => {
    serve(asked, answer).catch(() => answer.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  const { port } = server.address() as AddressInfo
  return Object.assign(faults, { port, seen, close })
}
