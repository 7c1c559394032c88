/** A registry that writes down every request, whole, and answers as it is told. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Recorded = {
  readonly method: string
  /** As it came, with its query. */
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type RecorderAnswer = {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds before it. */
  readonly delay?: number
  /** A text or bytes as they are, anything else as JSON. */
  readonly body?: unknown
}

export type Recorder = {
  /** Ends with a slash. */
  readonly url: string
  readonly seen: Recorded[]
  /** The first whose pattern matches `METHOD /target` answers; a later one goes before. */
  on(pattern: RegExp, answer: RecorderAnswer | ((request: Recorded) => RecorderAnswer)): void
  /** `METHOD target` of every request. */
  asked(): readonly string[]
  /** Everything that arrived, as one text: to look for what must not have. */
  transcript(): string
  close(): Promise<void>
}

/** Without an answer it says 404. */
export const startRecorder = async (prefix = '/'): Promise<Recorder> => {
  const seen: Recorded[] = []
  const answers: {
    pattern: RegExp
    answer: RecorderAnswer | ((request: Recorded) => RecorderAnswer)
  }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => response.destroy())
    request.on('end', () => {
      const recorded = {
        method: request.method ?? '',
        target: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks),
      }
      seen.push(recorded)
      const line = `${recorded.method} ${recorded.target}`
      const found = answers.findLast(({ pattern }) => pattern.test(line))?.answer
      const {
        status = 200,
        headers = {},
        body,
        delay = 0,
      } = typeof found === 'function' ? found(recorded) : (found ?? { status: 404, body: {} })
      const bytes =
        typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body ?? {})
      setTimeout(() => {
        response
          .writeHead(status, { 'content-type': 'application/json', ...headers })
          .end(bytes)
      }, delay)
    })
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}${prefix}`,
    seen,
    on: (pattern, answer) => void answers.push({ pattern, answer }),
    asked: () => seen.map(({ method, target }) => `${method} ${target}`),
    transcript: () =>
      seen
        .map(({ method, target, headers, body }) =>
          [method, target, JSON.stringify(headers), body.toString('latin1')].join('\n'),
        )
        .join('\n\n'),
    close: () =>
      new Promise<void>(done => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
