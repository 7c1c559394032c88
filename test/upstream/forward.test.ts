import { randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t from 'tap'
import { instanceHeader, viaHeader } from '../../lib/upstream/loop.ts'
import type { UpstreamOptions } from '../../lib/upstream/options.ts'
import type { ForwardAnswer, ForwardRequest } from '../../lib/upstream/upstream.ts'
import { json, openFaultServer, upstreamOf, type Answer } from './fault-server.ts'

type Tap = Parameters<typeof upstreamOf>[0]

type Taken = { method: string; path: string; headers: IncomingHttpHeaders; body: Buffer }

const read = async (stream: AsyncIterable<Buffer>) => {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Takes whole requests and answers 201 with what it got. */
const taking = async (t: Tap, options: Partial<UpstreamOptions> = {}) => {
  const taken: Taken[] = []
  const server = createServer((request, response) => {
    void read(request).then(
      body => {
        const { method = '', url: path = '', headers } = request
        taken.push({ method, path, headers, body })
        response.writeHead(201, {
          'content-type': 'application/json',
          'set-cookie': 'session=1',
          'npm-notice': 'hello',
          'x-internal': 'no',
        })
        response.end('{"ok":true}')
      },
      () => response.destroy(),
    )
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  t.teardown(
    () =>
      new Promise<void>(done => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  )
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/npm/`
  return { taken, url, ...upstreamOf(t, { url, token: 'OURS', ...options }) }
}

const faulty = async (t: Tap, options: Partial<UpstreamOptions> = {}) => {
  const server = await openFaultServer()
  t.teardown(() => server.close())
  return { server, ...upstreamOf(t, { url: server.url, token: 'OURS', ...options }) }
}

const limit = { bytes: 1_000_000, key: 'limits.publish' }
const get = (path: string, more: Partial<ForwardRequest> = {}): ForwardRequest => ({
  method: 'GET',
  path,
  credentials: 'none',
  limit,
  ...more,
})
const bodyOf = ({ body }: ForwardAnswer) => read(body)

t.test('a request is passed on as it is, below the upstream', async t => {
  const { taken, upstream, outcomes } = await taking(t, { self: 'me' })
  const answer = await upstream.forward({
    method: 'PUT',
    path: '@s%2fa/-rev/1-x?a=b',
    credentials: 'none',
    limit,
    headers: {
      'content-type': 'application/json',
      'npm-command': 'publish',
      authorization: 'Bearer CLIENT',
      'npm-otp': '123',
      cookie: 'c=1',
      connection: 'keep-alive',
      'x-forwarded-for': '10.0.0.1',
      'user-agent': 'npm',
    },
    body: Buffer.from('{"a":1}'),
  })
  t.equal((await bodyOf(answer)).toString(), '{"ok":true}')
  t.match(answer, { status: 201 })
  t.strictSame(
    answer.headers,
    { 'content-type': 'application/json', 'npm-notice': 'hello' },
    'no cookies, nothing else',
  )
  const { host: _, connection: __, ...headers } = taken[0]?.headers ?? {}
  t.strictSame(headers, {
    'content-type': 'application/json',
    'npm-command': 'publish',
    'accept-encoding': 'identity',
    'content-length': '7',
    'user-agent': 'attestry/1.2.3',
    [viaHeader]: 'me',
  })
  t.match(taken[0], { method: 'PUT', path: '/npm/@s%2fa/-rev/1-x?a=b' })
  t.match(outcomes, [{ request: 'forward', outcome: 'found', attempts: 1 }])
})

t.test('credentials go only as they are told to', async t => {
  const { taken, upstream } = await taking(t)
  const theirs = { authorization: 'Bearer CLIENT', otp: '123456' }
  const sent = async (request: ForwardRequest) => {
    await bodyOf(await upstream.forward(request))
    const { authorization, 'npm-otp': otp } = taken.at(-1)?.headers ?? {}
    return [authorization, otp]
  }
  t.same(await sent(get('a')), [undefined, undefined])
  t.same(await sent(get('a', { credentials: 'own' })), ['Bearer OURS', undefined])
  t.same(await sent(get('a', { credentials: theirs })), ['Bearer CLIENT', '123456'])
  t.same(
    await sent(get('a', { credentials: {} })),
    [undefined, undefined],
    'never ours instead',
  )
  const put = { method: 'PUT', body: Buffer.from('1') } as const
  t.same(await sent(get('a', put)), [undefined, undefined])
  t.same(await sent(get('a', { ...put, credentials: theirs })), ['Bearer CLIENT', '123456'])
})

t.test('a large body is streamed', async t => {
  const { taken, upstream } = await taking(t)
  const chunk = randomBytes(65_536)
  let made = 0
  const body = Readable.from(
    (function* () {
      for (; made < 320; made++) yield chunk
    })(),
    { objectMode: false },
  )
  const headers = { 'content-length': String(320 * chunk.length) }
  const put = { method: 'PUT', body, headers } as const
  const answer = await upstream.forward(get('big', put))
  await bodyOf(answer)
  t.equal(taken[0]?.body.length, 320 * chunk.length)
  t.equal(taken[0]?.headers['content-length'], headers['content-length'])
})

t.test('a body that fails fails the request', async t => {
  const { taken, upstream } = await taking(t)
  const broken = () =>
    Readable.from(
      (async function* () {
        yield Buffer.alloc(1000)
        throw new Error('the client is gone')
      })(),
      { objectMode: false },
    )
  await t.rejects(upstream.forward(get('a', { method: 'PUT', body: broken() })), {
    code: 'EUPSTREAM',
  })
  t.equal(taken.length, 0, 'half a package is no package')
})

t.test('the address stays below the upstream', async t => {
  const { taken, upstream } = await taking(t)
  for (const path of [
    '/a',
    '//evil.example/a',
    '../a',
    'a/../../b',
    'a/%2e%2e/%2e%2e/b',
    '..%2fb',
  ])
    await t.rejects(upstream.forward(get(path)), { code: 'EBADREQUEST' }, path)
  t.equal(taken.length, 0)
})

t.test('every status is an answer, asked once', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  for (const status of [401, 403, 404, 409, 500, 503]) {
    const headers = { 'www-authenticate': 'OTP', 'retry-after': '1' }
    server.on(`/${status}`, json({ status }, status, headers))
    const answer = await upstream.forward(get(String(status)))
    t.match(answer, { status, headers: { 'www-authenticate': 'OTP', 'retry-after': '1' } })
    t.same(JSON.parse((await bodyOf(answer)).toString()), { status })
  }
  t.equal(server.asked.length, 6)
  t.same(
    outcomes.map(o => o.outcome),
    ['found', 'found', 'missing', 'found', 'EUPSTREAM', 'EUPSTREAM'],
  )
})

t.test('redirects: followed for GET without credentials, never with a body', async t => {
  const { server, upstream } = await faulty(t)
  const other = await openFaultServer()
  t.teardown(() => other.close())
  const away: Answer = r => r.writeHead(307, { location: `${other.url}b` }).end()
  server.on('/a', away)
  other.on('/b', json({ there: true }))
  const credentials = { authorization: 'Bearer CLIENT', otp: '1' }
  const answer = await upstream.forward(get('a', { credentials }))
  t.same(JSON.parse((await bodyOf(answer)).toString()), { there: true })
  t.equal(server.asked[0]?.headers.authorization, 'Bearer CLIENT')
  t.equal(other.asked[0]?.headers.authorization, undefined)
  t.equal(other.asked[0]?.headers['npm-otp'], undefined)
  for (const method of ['POST', 'PUT', 'DELETE'] as const) {
    const moved = upstream.forward(get('a', { method, credentials, body: Buffer.from('x') }))
    await t.rejects(moved, { code: 'EUPSTREAMDATA' }, method)
  }
  t.equal(other.asked.length, 1, 'no body went elsewhere')
})

t.test('answers end at the limit, and in time', async t => {
  const { server, upstream } = await faulty(t, {
    timeouts: { write: 150, headers: 150, idle: 150, document: 400 },
  })
  const large = { code: 'EUPSTREAMSIZE', details: { key: 'limits.publish' } }
  server.on('/told', json('x'.repeat(2000), 200, { 'content-length': '2002' }))
  server.on('/untold', json('x'.repeat(200_000)))
  const small = { limit: { ...limit, bytes: 1000 } }
  await t.rejects(upstream.forward(get('told', small)), large)
  await t.rejects(upstream.forward(get('untold', small)).then(bodyOf), large)
  server.on('/mute', () => {})
  server.on('/half', r => r.writeHead(200, { 'content-length': '10' }).write('half'))
  server.on('/cut', r => {
    r.writeHead(200, { 'content-length': '10' })
    r.write('half', () => r.destroy())
  })
  const late = { code: 'EUPSTREAMTIMEOUT' }
  await t.rejects(upstream.forward(get('mute')), late)
  await t.rejects(
    upstream.forward(get('mute', { method: 'PUT', body: Buffer.from('1'), slow: true })),
    late,
  )
  await t.rejects(upstream.forward(get('half')).then(bodyOf), late)
  await t.rejects(upstream.forward(get('cut')).then(bodyOf), { code: 'EUPSTREAM' })
})

t.test('a client that goes away ends the request', async t => {
  const { server, upstream } = await faulty(t)
  server.on('/mute', () => {})
  const client = new AbortController()
  const asking = upstream.forward(get('mute', { signal: client.signal }))
  setTimeout(() => client.abort(), 50)
  await t.rejects(asking, { code: 'EUPSTREAM' })
})

t.test('an upstream that is this server, or is not there', async t => {
  const { server, upstream } = await faulty(t, { self: 'me' })
  server.on('/a', json({}, 200, { [instanceHeader]: 'me' }))
  await t.rejects(upstream.forward(get('a')), { code: 'ELOOP' })
  const nobody = upstreamOf(t, { url: 'http://127.0.0.1:1/' })
  await t.rejects(nobody.upstream.forward(get('a')), { code: 'EUPSTREAM' })
})
