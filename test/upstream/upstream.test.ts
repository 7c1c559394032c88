import { randomBytes } from 'node:crypto'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { AttestryError } from '../../lib/errors.ts'
import { faultOf, retryAfter } from '../../lib/upstream/faults.ts'
import { cameFrom, instanceHeader, viaHeader } from '../../lib/upstream/loop.ts'
import { timeoutsOf } from '../../lib/upstream/options.ts'
import { corpusPackages } from '../support/corpus.ts'
import { noReplica, startReplica } from '../support/replica.ts'
import { bodyOf, bytes, faulty, json, upstreamOf, type Answer } from './fault-server.ts'

const document = { name: 'a', versions: {} }
const text = JSON.stringify(document)
const tgz = gzipSync(randomBytes(60_000))

t.test('a packument is asked for as the protocol says', async t => {
  const { server, upstream, outcomes } = await faulty(t, { token: 'T', self: 'id-1' })
  server.on('/a', json(document, 200, { etag: '"1"', 'last-modified': 'yesterday' }))
  server.on('/@s%2fa', json({ name: '@s/a' }))
  const answer = await upstream.packument('a')
  t.match(answer, { kind: 'found', etag: '"1"', lastModified: 'yesterday' })
  t.equal((await bodyOf(answer)).toString(), text)
  t.match(await upstream.packument('@s/a'), { kind: 'found' })
  t.same(
    server.asked.map(a => a.path),
    ['/a', '/@s%2fa'],
  )
  const { host: _, connection: __, ...headers } = server.asked[0]?.headers ?? {}
  t.strictSame(headers, {
    accept: 'application/json',
    'accept-encoding': 'gzip, br, zstd',
    'user-agent': 'attestry/1.2.3',
    [viaHeader]: 'id-1',
    authorization: 'Bearer T',
  })
  t.match(outcomes, [{ upstream: 'npm', request: 'packument', outcome: 'found', attempts: 1 }])
})

t.test('attestations and keys have their addresses, below a path as well', async t => {
  const { server } = await faulty(t)
  const { upstream } = upstreamOf(t, { url: `${server.url}some/path` })
  t.equal(upstream.url, `${server.url}some/path/`)
  server.on('/some/path/-/npm/v1/attestations/@s%2fa@1.0.0-b%2Bc', json({ attestations: [] }))
  server.on('/some/path/-/npm/v1/keys', json({ keys: [] }))
  t.match(await upstream.attestations({ name: '@s/a', version: '1.0.0-b+c' }), {
    kind: 'found',
  })
  t.match(await upstream.keys(), { kind: 'found' })
  t.match(await upstream.attestations({ name: 'a', version: '1.0.0' }), { kind: 'missing' })
})

t.test('a name cannot leave its place in the path', async t => {
  const { server } = await faulty(t)
  const { upstream } = upstreamOf(t, { url: `${server.url}npm/`, token: 'T' })
  for (const name of ['..', '.', ''])
    await t.rejects(upstream.packument(name), { code: 'EBADREQUEST' }, JSON.stringify(name))
  for (const name of [
    '../x',
    '@s/../../x',
    'a/../../x',
    '%2e%2e',
    'a?b',
    'a#b',
    '//evil.example/x',
  ])
    t.match(await upstream.packument(name), { kind: 'missing' }, name)
  for (const { path } of server.asked) t.match(path, /^\/npm\/[^/?#]+$/)
})

t.test('conditional: only when asked to, and 304 only then', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  server.on('/a', (response, _, { headers }) => {
    const same = headers['if-none-match'] === '"1"' || headers['if-modified-since'] === 'then'
    response.writeHead(same ? 304 : 200, { etag: '"1"' }).end(same ? undefined : text)
  })
  t.match(await upstream.packument('a'), { kind: 'found', etag: '"1"' })
  t.match(await upstream.packument('a', { etag: '"1"' }), { kind: 'not-modified' })
  t.match(await upstream.packument('a', { lastModified: 'then' }), { kind: 'not-modified' })
  t.match(await upstream.packument('a', {}), { kind: 'found' })
  server.on('/b', response => response.writeHead(304).end())
  server.on('/b.tgz', response => response.writeHead(304).end())
  await t.rejects(upstream.packument('b'), { code: 'EUPSTREAM', details: { status: 304 } })
  await t.rejects(upstream.tarball(`${server.url}b.tgz`), {
    code: 'EUPSTREAM',
    details: { status: 304 },
  })
  t.equal(outcomes[1]?.outcome, 'not-modified')
})

t.test('404 and 410 are the upstream saying no', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  server.on('/gone', json({}, 410))
  t.match(await upstream.packument('never'), { kind: 'missing' })
  t.match(await upstream.packument('gone'), { kind: 'missing' })
  t.match(await upstream.tarball(`${server.url}a.tgz`), { kind: 'missing' })
  t.match(await upstream.keys(), { kind: 'missing' })
  t.equal(server.asked.length, 4, 'asked once each')
  t.same([...new Set(outcomes.map(o => o.outcome))], ['missing'])
})

t.test('compressed documents are unpacked', async t => {
  const { server, upstream } = await faulty(t)
  const large = JSON.stringify({ name: 'a', readme: 'x'.repeat(90_000) })
  const packers = {
    gzip: gzipSync,
    'X-GZIP': gzipSync,
    br: brotliCompressSync,
    zstd: zstdCompressSync,
  }
  for (const [encoding, pack] of Object.entries(packers)) {
    server.on(`/${encoding}`, bytes(pack(large), { 'content-encoding': encoding }))
    t.equal((await bodyOf(await upstream.packument(encoding))).toString(), large, encoding)
  }
})

t.test('what is not a JSON object is EUPSTREAMDATA, asked once', async t => {
  const { server, upstream } = await faulty(t)
  const packed = gzipSync(text)
  const faults: Record<string, Answer> = {
    page: r => r.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>'),
    'page-as-json': r => r.writeHead(200, { 'content-type': 'application/json' }).end('<html>'),
    'json-as-page': r => r.writeHead(200, { 'content-type': 'text/html' }).end(text),
    list: r => r.end('[]'),
    empty: r => r.end(),
    blank: r => r.end(' \n '),
    'no-content': r => r.writeHead(204).end(),
    'not-gzip': bytes(Buffer.from(text), { 'content-encoding': 'gzip' }),
    'broken-gzip': bytes(Buffer.concat([packed.subarray(0, 15), Buffer.alloc(20, 7)]), {
      'content-encoding': 'gzip',
    }),
    'not-br': bytes(Buffer.alloc(99, 255), { 'content-encoding': 'br' }),
    'not-zstd': bytes(Buffer.from(text), { 'content-encoding': 'zstd' }),
    twice: bytes(gzipSync(packed), { 'content-encoding': 'gzip, gzip' }),
    deflate: bytes(packed, { 'content-encoding': 'deflate' }),
    proto: bytes(packed, { 'content-encoding': 'toString' }),
    'not-http': r => r.socket?.end('SSH-2.0-OpenSSH_9.2p1\r\n'),
    headers: r => r.writeHead(200, { x: 'y'.repeat(200_000) }).end(text),
  }
  for (const [name, answer] of Object.entries(faults)) {
    server.on(`/${name}`, answer)
    await t.rejects(upstream.packument(name), { code: 'EUPSTREAMDATA' }, name)
    t.equal(server.asked.filter(a => a.path === `/${name}`).length, 1, `${name}: asked once`)
  }
  server.on('/space', r => r.end(` \r\n\t${text}`))
  t.match(await upstream.packument('space'), { kind: 'found' })
})

t.test('what may pass is asked again, a bounded number of times', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  for (const status of [408, 429, 500, 502, 503, 504]) {
    const then: Answer = (r, n, a) => json(document, n < 2 ? status : 200)(r, n, a)
    server.on(`/${status}`, then)
    t.match(await upstream.packument(String(status)), { kind: 'found' }, String(status))
    t.equal(outcomes.at(-1)?.attempts, 3)
  }
  server.on('/down', json({}, 503))
  const down = { code: 'EUPSTREAM', details: { status: 503 } }
  await t.rejects(upstream.packument('down'), down)
  t.equal(server.asked.filter(a => a.path === '/down').length, 3)
  for (const status of [400, 402, 406, 451, 501]) {
    server.on(`/${status}`, json({}, status))
    await t.rejects(upstream.packument(String(status)), {
      code: 'EUPSTREAM',
      details: { status },
    })
    t.equal(
      server.asked.filter(a => a.path === `/${status}`).length,
      1,
      `${status}: asked once`,
    )
  }
})

t.test('Retry-After is kept to, and too long a wait is an answer', async t => {
  const { server, upstream } = await faulty(t, { timeouts: { document: 900 } })
  const once = async (path: string, wanted: object) => {
    await t.rejects(upstream.packument(path), { code: 'EUPSTREAM', details: wanted })
    t.equal(server.asked.filter(a => a.path === `/${path}`).length, 1, `${path}: asked once`)
  }
  server.on('/now', (r, n, a) =>
    json(document, n === 0 ? 429 : 200, { 'retry-after': '0' })(r, n, a),
  )
  t.match(await upstream.packument('now'), { kind: 'found' })
  server.on('/late', json({}, 429, { 'retry-after': '3600' }))
  await once('late', { status: 429, retryAfter: 3600 })
  // a second is less than the longest pause, but more than there is: not asked before its time
  server.on('/soon', json({}, 503, { 'retry-after': '1' }))
  await once('soon', { status: 503, retryAfter: 1 })
  server.on('/long', json({}, 503, { 'retry-after': '12' }))
  const patient = upstreamOf(t, { url: server.url, timeouts: { document: 60_000 } })
  const long = { code: 'EUPSTREAM', details: { retryAfter: 12 } }
  await t.rejects(patient.upstream.packument('long'), long, 'longer than the longest pause')
  t.equal(server.asked.filter(a => a.path === '/long').length, 1)
  t.equal(retryAfter('Thu, 01 Jan 1970 00:00:05 GMT', 2000), 3000)
  t.equal(retryAfter('soon', 0), undefined)
})

t.test('refused credentials are EUPSTREAMAUTH, asked once', async t => {
  const { server, upstream } = await faulty(t)
  for (const status of [401, 403, 407]) {
    server.on(`/${status}`, json({ error: 'no' }, status))
    const wanted = { code: 'EUPSTREAMAUTH', details: { status } }
    await t.rejects(upstream.packument(String(status)), wanted)
    await t.rejects(upstream.tarball(`${server.url}${status}`), wanted)
    t.equal(server.asked.filter(a => a.path === `/${status}`).length, 2)
  }
})

t.test('connections that fail', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  server.on('/reset', (r, n) => (n < 2 ? r.socket?.destroy() : r.end(text)))
  t.match(await upstream.packument('reset'), { kind: 'found' }, 'asked again')
  t.equal(outcomes[0]?.attempts, 3)
  server.on('/dead', r => r.socket?.destroy())
  await t.rejects(upstream.packument('dead'), { code: 'EUPSTREAM' })

  const gone = await faulty(t)
  await gone.server.close()
  const refused = { code: 'EUPSTREAM', details: { cause: 'ECONNREFUSED' } }
  await t.rejects(gone.upstream.packument('a'), refused)
  t.equal(gone.outcomes[0]?.attempts, 3)
  await t.rejects(gone.upstream.tarball(`${gone.upstream.url}a.tgz`), refused)

  const nowhere = upstreamOf(t, { url: 'http://name.invalid/', retries: 0 })
  await t.rejects(nowhere.upstream.packument('a'), { code: 'EUPSTREAM' })
})

t.test('an upstream that is silent', async t => {
  const { server } = await faulty(t)
  const quick = (timeouts: object) => upstreamOf(t, { url: server.url, timeouts }).upstream
  const late = { code: 'EUPSTREAMTIMEOUT' }
  server.on('/mute', () => {})
  server.on('/half', r => r.write('{"a":'))
  server.on('/drip', r => {
    const timer = setInterval(() => r.write('{'), 20)
    r.on('close', () => clearInterval(timer))
  })
  server.on('/tired', json({}, 503))
  const tired = upstreamOf(t, {
    url: server.url,
    retries: 10,
    retryPause: 100,
    timeouts: { document: 250 },
  })
  const tarball = async (timeouts: object, path: string) =>
    bodyOf(await quick(timeouts).tarball(`${server.url}${path}`))
  await Promise.all([
    t.rejects(quick({ headers: 100 }).packument('mute'), late, 'before the answer'),
    t.rejects(quick({ headers: 100 }).tarball(`${server.url}mute`), late),
    t.rejects(quick({ idle: 100 }).packument('half'), late, 'inside the answer'),
    t.rejects(quick({ document: 300 }).packument('drip'), late, 'dripping without end'),
    t.rejects(tarball({ tarball: 300 }, 'drip'), late, 'dripping inside a tarball'),
    t.rejects(tarball({ idle: 100 }, 'half'), late, 'a tarball that stops'),
    t.rejects(tired.upstream.packument('tired'), { code: 'EUPSTREAM' }, 'attempts together'),
  ])
  t.ok((tired.outcomes[0]?.attempts ?? 99) < 5, 'retries end at the deadline')
  const silent = server.asked.filter(a => a.path !== '/tired')
  t.equal(silent.length, 6, 'silence is not asked again')
})

t.test('a connection that is never made', async t => {
  // takes the connection and says nothing: the TLS handshake waits
  const mute = createServer(socket => socket.resume())
  await new Promise<void>(done => mute.listen(0, '127.0.0.1', done))
  t.teardown(() => new Promise<void>(done => mute.close(() => done())))
  const { port } = mute.address() as AddressInfo
  const { upstream } = upstreamOf(t, {
    url: `https://127.0.0.1:${port}/`,
    retries: 0,
    timeouts: { connect: 100 },
  })
  await t.rejects(upstream.packument('a'), { code: 'EUPSTREAMTIMEOUT' })
  await upstream.close()
})

t.test('sizes end at the limit', async t => {
  const { server, upstream } = await faulty(t)
  const large = { code: 'EUPSTREAMSIZE' }
  let sent = 0
  const endless: Answer = r => {
    const more = () => {
      while (!r.destroyed && sent < 50_000_000) {
        sent += 65_536
        if (!r.write(Buffer.alloc(65_536, 32))) break
      }
    }
    r.on('drain', more)
    more()
  }
  server.on('/endless', endless)
  await t.rejects(upstream.packument('endless'), {
    ...large,
    details: { key: 'limits.packument' },
  })
  t.ok(sent < 20_000_000, 'reading stopped')
  server.on('/told', bytes(Buffer.alloc(100_001, 32)))
  await t.rejects(upstream.packument('told'), large, 'told by content-length')
  server.on('/exact', bytes(Buffer.from(text.padEnd(100_000))))
  t.match(await upstream.packument('exact'), { kind: 'found' }, 'the limit itself is allowed')

  const zeros = Buffer.alloc(64 * 1024 * 1024, 32)
  const bombs = {
    gzip: gzipSync(zeros),
    br: brotliCompressSync(zeros),
    zstd: zstdCompressSync(zeros),
  }
  for (const [encoding, bomb] of Object.entries(bombs)) {
    t.ok(bomb.length < 100_000)
    server.on(`/${encoding}`, bytes(bomb, { 'content-encoding': encoding }))
    await t.rejects(upstream.packument(encoding), large, `${encoding} bomb`)
  }
  // a gzip that goes on for ever and unpacks to nothing: empty stored blocks
  const nothing = Buffer.concat([
    gzipSync('').subarray(0, 10),
    ...Array.from({ length: 40_000 }, () => Buffer.from([0, 0, 0, 0xff, 0xff])),
  ])
  server.on('/nothing', r => {
    r.writeHead(200, { 'content-encoding': 'gzip' })
    r.end(nothing)
  })
  await t.rejects(upstream.packument('nothing'), large, 'compressed bytes count too')

  server.on('/-/npm/v1/keys', json({ keys: 'x'.repeat(2000) }))
  await t.rejects(upstream.keys(), { ...large, details: { key: 'limits.keys' } })
  server.on('/-/npm/v1/attestations/a@1.0.0', json({ attestations: 'x'.repeat(6000) }))
  await t.rejects(upstream.attestations({ name: 'a', version: '1.0.0' }), large)

  server.on('/told.tgz', bytes(Buffer.alloc(200_001)))
  await t.rejects(upstream.tarball(`${server.url}told.tgz`), large)
  sent = 0
  server.on('/endless.tgz', endless)
  await t.rejects(bodyOf(await upstream.tarball(`${server.url}endless.tgz`)), large)
  t.ok(sent < 20_000_000, 'reading stopped')
})

t.test('a document that breaks off is fetched again, a tarball is not', async t => {
  const { server, upstream, outcomes } = await faulty(t)
  const cut =
    (body: Buffer, headers: Record<string, string | number>): Answer =>
    r => {
      r.writeHead(200, headers)
      r.write(body.subarray(0, body.length >> 1), () => r.socket?.destroy())
    }
  const packed = gzipSync(text)
  const kinds = {
    length: cut(Buffer.from(text), { 'content-length': text.length }),
    chunked: cut(Buffer.from(text), {}),
    gzip: (r => {
      r.writeHead(200, { 'content-encoding': 'gzip' }).end(packed.subarray(0, -9))
    }) satisfies Answer as Answer,
  }
  for (const [name, answer] of Object.entries(kinds)) {
    server.on(`/${name}`, (r, n, a) => (n < 1 ? answer(r, n, a) : json(document)(r, n, a)))
    t.equal((await bodyOf(await upstream.packument(name))).toString(), text, name)
    t.equal(outcomes.at(-1)?.attempts, 2)
  }
  server.on('/cut', kinds.length)
  await t.rejects(upstream.packument('cut'), {
    code: 'EUPSTREAM',
    details: { truncated: true },
  })

  for (const headers of [{ 'content-length': tgz.length }, {}]) {
    server.on('/cut.tgz', cut(tgz, headers))
    const before = server.asked.length
    const answer = await upstream.tarball(`${server.url}cut.tgz`)
    await t.rejects(bodyOf(answer), { code: 'EUPSTREAM', details: { truncated: true } })
    t.equal(server.asked.length, before + 1)
  }
  server.on('/again.tgz', (r, n, a) => (n < 1 ? r.socket?.destroy() : bytes(tgz)(r, n, a)))
  const again = await upstream.tarball(`${server.url}again.tgz`)
  t.same(await bodyOf(again), tgz, 'before its first byte it is')
})

t.test('tarballs come as they are', async t => {
  const { server, upstream } = await faulty(t, { token: 'T' })
  server.on('/a/-/a-1.0.0.tgz', bytes(tgz))
  const answer = await upstream.tarball(`${server.url}a/-/a-1.0.0.tgz`)
  t.match(answer, { kind: 'found', size: tgz.length })
  t.same(await bodyOf(answer), tgz)
  t.match(server.asked[0]?.headers, {
    accept: '*/*',
    'accept-encoding': 'identity',
    authorization: 'Bearer T',
  })
  server.on('/chunked.tgz', r => r.end(tgz))
  const chunked = await upstream.tarball(`${server.url}chunked.tgz`)
  t.same(await bodyOf(chunked), tgz)

  const odd = { 'content-encoding': 'gzip' }
  const twice = gzipSync(tgz)
  for (const [name, sent] of [['mislabelled', tgz] as const, ['wrapped', twice] as const]) {
    server.on(`/${name}.tgz`, bytes(sent, odd))
    const found = await upstream.tarball(`${server.url}${name}.tgz`)
    t.same(await bodyOf(found), tgz, name)
  }
  const tiny = gzipSync('x')
  server.on('/tiny.tgz', bytes(tiny, odd))
  t.same(await bodyOf(await upstream.tarball(`${server.url}tiny.tgz`)), tiny)
  server.on('/broken.tgz', bytes(twice.subarray(0, 2000), odd))
  const broken = await upstream.tarball(`${server.url}broken.tgz`)
  await t.rejects(bodyOf(broken), { code: 'EUPSTREAM', details: { truncated: true } })
  server.on('/bomb.tgz', bytes(gzipSync(gzipSync(Buffer.alloc(1e6), { level: 0 })), odd))
  const bomb = await upstream.tarball(`${server.url}bomb.tgz`)
  await t.rejects(bodyOf(bomb), { code: 'EUPSTREAMSIZE' }, 'unwrapped bytes count')
  server.on('/br.tgz', bytes(brotliCompressSync(tgz), { 'content-encoding': 'br' }))
  await t.rejects(upstream.tarball(`${server.url}br.tgz`), { code: 'EUPSTREAMDATA' })
})

t.test('a reader that goes away lets go of the connection', async t => {
  // no timeout of ours may do it
  const { server, upstream } = await faulty(t, { timeout: 60_000 })
  const gone = new Promise<boolean>(done => {
    server.on('/long.tgz', r => {
      r.on('close', () => done(true))
      r.write(tgz)
    })
    setTimeout(() => done(false), 5000).unref()
  })
  const answer = await upstream.tarball(`${server.url}long.tgz`)
  if (answer.kind !== 'found') throw new Error('wanted found')
  answer.body.destroy()
  t.ok(await gone, 'the server saw it')
})

t.test('connections to one origin are bounded', async t => {
  const { server, upstream } = await faulty(t, { connections: 3 })
  server.on('/a', r => setTimeout(() => r.end(text), 20))
  await Promise.all(Array.from({ length: 20 }, () => upstream.packument('a')))
  t.equal(server.asked.length, 20)
  t.equal(server.peak(), 3)
})

t.test('an upstream that is this server', async t => {
  const { server, upstream, outcomes } = await faulty(t, { self: 'id-1' })
  server.on('/a', json({ code: 'ELOOP', error: 'this request came back' }, 508))
  await t.rejects(upstream.packument('a'), { code: 'ELOOP', details: { upstream: 'npm' } })
  server.on('/b', json(document, 200, { [instanceHeader]: 'id-1' }))
  await t.rejects(upstream.packument('b'), { code: 'ELOOP' })
  await t.rejects(upstream.tarball(`${server.url}b`), { code: 'ELOOP' })
  t.equal(server.asked.length, 3, 'asked once each')
  t.equal(outcomes[0]?.outcome, 'ELOOP')
  server.on('/c', json(document, 200, { [instanceHeader]: 'id-2' }))
  t.match(await upstream.packument('c'), { kind: 'found' }, 'another instance is no loop')
  server.on('/d', json({ error: 'some other loop' }, 508))
  await t.rejects(upstream.packument('d'), { code: 'EUPSTREAM', details: { status: 508 } })
  t.ok(cameFrom('id-1', 'id-0, id-1'))
  t.notOk(cameFrom('id-1', 'id-10'))
  t.notOk(cameFrom('id-1', undefined))
})

t.test('after close nothing is asked and nothing hangs', async t => {
  const { server, upstream } = await faulty(t)
  server.on('/a', r => r.write('{'))
  const waiting = t.rejects(upstream.packument('a'), AttestryError)
  await new Promise(done => setTimeout(done, 30))
  await upstream.close()
  await waiting
  await t.rejects(upstream.packument('a'), { code: 'EUPSTREAM' })
})

t.test('what was thrown', async t => {
  const asked = { upstream: 'npm', url: new URL('http://x/') }
  const of = (error: unknown, begun = false) => faultOf(error, asked, { begun, late: false })
  const several = new AggregateError([Object.assign(new Error('no'), { code: 'ECONNREFUSED' })])
  t.match(of(several), { again: true, error: { code: 'EUPSTREAM' } })
  t.match(of('a string'), { again: false, error: { code: 'EUPSTREAM' } })
  t.match(of(new AttestryError('ELOOP', 'x'), true), { again: false, error: { code: 'ELOOP' } })
  t.equal(timeoutsOf(1000).document, 4000)
  t.equal(timeoutsOf(60_000).connect, 10_000)
})

t.test('real packages from the replica registry', { skip: noReplica }, async t => {
  const replica = await startReplica()
  t.teardown(() => replica.close())
  const limits = { packument: 1e8, tarball: 1e8, attestations: 1e7, keys: 1e6 }
  const { upstream } = upstreamOf(t, { url: replica.url, limits })
  const some = corpusPackages().filter(
    p => p.tarball && p.attestations && p.facts.class === 'valid',
  )
  t.ok(some.length > 0)
  for (const { facts, tarball, attestations } of some.slice(0, 4)) {
    const body = await bodyOf(await upstream.packument(facts.name))
    const { versions } = JSON.parse(body.toString()) as {
      versions: Record<string, { dist: { tarball: string } }>
    }
    const url = versions[facts.version]?.dist.tarball ?? ''
    t.same(await bodyOf(await upstream.tarball(url)), tarball)
    t.same(await bodyOf(await upstream.attestations(facts)), attestations)
  }
  t.match(await upstream.keys(), { kind: 'found' })
})
