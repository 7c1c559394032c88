/** A registry on loopback that misbehaves as told, and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { openUpstream } from '../../lib/upstream/open-upstream.ts'
import type { UpstreamOptions, UpstreamOutcome } from '../../lib/upstream/options.ts'

export type Asked = { readonly path: string; readonly headers: IncomingHttpHeaders }

/** `n` counts the requests for this path from 0. */
export type Answer = (response: ServerResponse, n: number, asked: Asked) => void

export type FaultServer = {
  /** Ends with a slash. */
  readonly url: string
  readonly asked: Asked[]
  /** The most connections that were open at once. */
  readonly peak: () => number
  readonly open: () => number
  on(path: string, answer: Answer): void
  close(): Promise<void>
}

export const openFaultServer = async (tls?: {
  key: string
  cert: string
}): Promise<FaultServer> => {
  const answers = new Map<string, Answer>()
  const counts = new Map<string, number>()
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  let peak = 0
  const listener: Parameters<typeof createServer>[1] = (request, response) => {
    const path = request.url ?? '/'
    const seen = { path, headers: request.headers }
    asked.push(seen)
    const n = counts.get(path) ?? 0
    counts.set(path, n + 1)
    const answer = answers.get(path)
    if (answer) answer(response, n, seen)
    else response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"no"}')
  }
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    peak = Math.max(peak, sockets.size)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`,
    asked,
    peak: () => peak,
    open: () => sockets.size,
    on: (path, answer) => answers.set(path, answer),
    close: async () => {
      const closed = new Promise(done => server.close(done))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Answers with JSON. */
export const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  response => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(value))
  }

export const bytes =
  (body: Buffer, headers: Record<string, string> = {}): Answer =>
  response => {
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': body.length,
      ...headers,
    })
    response.end(body)
  }

type Tap = { teardown: (end: () => Promise<void> | void) => void }

/** A server and an upstream that asks it, both closed with the test. */
export const faulty = async (t: Tap, options: Partial<UpstreamOptions> = {}) => {
  const server = await openFaultServer()
  t.teardown(() => server.close())
  const { upstream, outcomes } = upstreamOf(t, { url: server.url, ...options })
  return { server, upstream, outcomes }
}

export const upstreamOf = (t: Tap, options: Partial<UpstreamOptions> & { url: string }) => {
  const outcomes: UpstreamOutcome[] = []
  const upstream = openUpstream({
    name: 'npm',
    limits: { packument: 100_000, tarball: 200_000, attestations: 5000, keys: 1000 },
    timeout: 5000,
    connections: 4,
    retries: 2,
    retryPause: 1,
    userAgent: 'attestry/1.2.3',
    onOutcome: outcome => outcomes.push(outcome),
    ...options,
  })
  t.teardown(() => upstream.close())
  return { upstream, outcomes }
}

export const bodyOf = async (answer: {
  kind: string
  body?: AsyncIterable<Buffer> | Buffer
}) => {
  if (answer.kind !== 'found' || !answer.body)
    throw new Error(`wanted found, not ${answer.kind}`)
  if (Buffer.isBuffer(answer.body)) return answer.body
  const chunks: Buffer[] = []
  for await (const chunk of answer.body) chunks.push(chunk)
  return Buffer.concat(chunks)
}
