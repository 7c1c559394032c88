/** The registry's HTTP side: routes, validators, compression, and faults on demand. */
import { createHash } from 'node:crypto'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

/** Switched at any time; all off at first. */
export type Faults = {
  /** Closes the connection without an answer. */
  down: boolean
  /** Takes the request and never answers. */
  hang: boolean
  /** Answers everything with this status. */
  status: number | undefined
  /** Milliseconds before each answer. */
  delay: number
  /** Sends half of each tarball under the full content-length. */
  cutTarballs: boolean
  /** Changes one byte in each tarball. */
  flipTarballs: boolean
  /** No content-length. */
  chunked: boolean
  /** Attestations are advertised; asking for them gives this status. */
  attestationsStatus: number | undefined
  /** Asking for the signing keys gives this status. */
  keysStatus: number | undefined
  stripSignatures: boolean
  stripAttestations: boolean
  /** Documents are not JSON. */
  garbage: boolean
  /** The faults above hold for these paths only. */
  only: RegExp | undefined
}

export const noFaults = (): Faults => ({
  down: false,
  hang: false,
  status: undefined,
  delay: 0,
  cutTarballs: false,
  flipTarballs: false,
  chunked: false,
  attestationsStatus: undefined,
  keysStatus: undefined,
  stripSignatures: false,
  stripAttestations: false,
  garbage: false,
  only: undefined,
})

export type SeenRequest = {
  readonly method: string
  /** Decoded, without the registry's own path prefix and without the query. */
  readonly path: string
  /** As it came. */
  readonly rawPath: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export type Answer =
  | { readonly kind: 'json'; readonly status: number; readonly body: string | Buffer }
  | { readonly kind: 'tarball'; readonly body: Buffer }

export const jsonAnswer = (status: number, value: unknown): Answer => ({
  kind: 'json',
  status,
  body: JSON.stringify(value),
})

export type ServerOptions = {
  /** Starts and ends with a slash. */
  readonly prefix: string
  /** When set, every request must bear this token. */
  readonly token: string | undefined
  readonly faults: Faults
  readonly requests: SeenRequest[]
  readonly route: (request: SeenRequest, faults: Faults) => Answer
}

const read = async (request: IncomingMessage) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

// digests and compressed forms of large bodies, which are served again and again
const made = new WeakMap<Buffer, { etag: string; gzip?: Buffer }>()

const formOf = (body: Buffer) => {
  let form = made.get(body)
  if (form === undefined) {
    form = { etag: `"${createHash('sha1').update(body).digest('base64url')}"` }
    made.set(body, form)
  }
  return form
}

const flipped = (tarball: Buffer) => {
  const copy = Buffer.from(tarball)
  const middle = copy.length >> 1
  copy[middle] = (copy[middle] ?? 0) ^ 1
  return copy
}

const send = (
  request: SeenRequest,
  answer: Answer,
  faults: Faults,
  response: ServerResponse,
) => {
  const tarball = answer.kind === 'tarball'
  let body = Buffer.isBuffer(answer.body) ? answer.body : Buffer.from(answer.body)
  if (tarball && faults.flipTarballs) body = flipped(body)
  if (!tarball && faults.garbage) body = Buffer.from('<html>not what you asked for</html>')
  const form = formOf(body)
  const status = tarball ? 200 : answer.status
  const headers: Record<string, string | number> = {
    'content-type': tarball ? 'application/octet-stream' : 'application/json',
    vary: 'accept-encoding, accept',
    ...(status === 200 ? { etag: form.etag, 'cache-control': 'public, max-age=300' } : {}),
  }
  if (status === 200 && request.headers['if-none-match'] === form.etag) {
    response.writeHead(304, headers).end()
    return
  }
  if (!tarball && /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) {
    form.gzip ??= gzipSync(body, { level: 1 })
    body = form.gzip
    headers['content-encoding'] = 'gzip'
  }
  if (!faults.chunked) headers['content-length'] = body.length
  response.writeHead(status, headers)
  if (request.method === 'HEAD') {
    response.end()
  } else if (tarball && faults.cutTarballs) {
    response.write(body.subarray(0, body.length >> 1), () => response.destroy())
  } else {
    if (faults.chunked) response.flushHeaders()
    response.end(body)
  }
}

export const listen = async (
  options: ServerOptions,
): Promise<{ server: Server; port: number }> => {
  const { prefix, faults: allFaults, requests, route, token } = options
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const rawPath = request.url ?? '/'
    const pathname = decodeURIComponent(rawPath.split('?')[0] ?? '/')
    const inside = pathname.startsWith(prefix)
    const seen: SeenRequest = {
      method: request.method ?? 'GET',
      path: inside ? pathname.slice(prefix.length - 1) : pathname,
      rawPath,
      headers: request.headers,
      body: await read(request),
    }
    requests.push(seen)
    const hit = allFaults.only?.test(seen.path) ?? true
    const faults = hit ? allFaults : noFaults()
    if (faults.delay > 0) await sleep(faults.delay, undefined, { ref: false })
    if (faults.down) return response.destroy()
    if (faults.hang) return undefined
    const answer = !inside
      ? jsonAnswer(404, { error: 'outside the registry' })
      : token !== undefined && request.headers.authorization !== `Bearer ${token}`
        ? jsonAnswer(401, { error: 'authentication is required' })
        : faults.status === undefined
          ? route(seen, faults)
          : jsonAnswer(faults.status, { error: `registry fault ${faults.status}` })
    return send(seen, answer, faults, response)
  }
  const server = createServer((request, response) => {
    // a client that went away is no concern of ours; anything else would be a defect here
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  return { server, port: (server.address() as AddressInfo).port }
}
