/** Large blobs sent piece by piece through memory that is used again. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { openPump, type Source } from '../../lib/http/pump.ts'
import { eventually } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const piece = 256 * 1024

const sourceOf = (bytes: Buffer, read?: Source['read']) => {
  const seen = { opened: 0, closed: 0 }
  /** One for each request, as a file is opened for each. */
  const open = (): Source => {
    seen.opened++
    return {
      read: async (into, position) => {
        if (read) return read(into, position)
        await sleep(0)
        return bytes.copy(into, 0, position, Math.min(bytes.length, position + into.length))
      },
      close: async () => {
        await sleep(1)
        seen.closed++
      },
    }
  }
  return { open, seen }
}

const serve = async (t: Test, listener: RequestListener) => {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** The bytes behind the headers of one answer, read at a pace. */
const readSlowly = async (socket: Socket, size: number): Promise<Buffer> => {
  const parts: Buffer[] = []
  let length = Number.POSITIVE_INFINITY
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    parts.push(chunk)
    if (length === Number.POSITIVE_INFINITY) {
      const at = Buffer.concat(parts).indexOf('\r\n\r\n')
      if (at > 0) length = at + 4 + size
    }
    if (parts.reduce((sum, part) => sum + part.length, 0) >= length) break
    if (Math.random() < 0.05) await sleep(3)
  }
  const all = Buffer.concat(parts)
  return all.subarray(all.indexOf('\r\n\r\n') + 4)
}

const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

t.test('everybody gets their own bytes, whatever the pace', async t => {
  const pump = openPump()
  const sizes = [1, piece - 1, piece, piece + 1, 3 * piece, 2_000_003, 5_000_000]
  const blobs = sizes.flatMap(size => [randomBytes(size), randomBytes(size)])
  const sources = blobs.map(bytes => sourceOf(bytes))
  const port = await serve(t, (request, response) => {
    const n = Number(request.url?.slice(1))
    const [size, source] = [blobs[n]?.length ?? 0, sources[n]?.open()]
    response.writeHead(200, { 'content-length': size })
    if (!source) throw new Error(`asked for ${request.url}`)
    pump(source, { start: 0, end: size - 1 }, response).catch((error: unknown) =>
      t.fail(String(error)),
    )
  })
  await Promise.all(
    blobs.map(async (bytes, n) => {
      const socket = connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      socket.write(get.replace('/', `/${n}`))
      t.ok((await readSlowly(socket, bytes.length)).equals(bytes), `${bytes.length} bytes`)
    }),
  )
  t.ok(await eventually(() => sources.every(({ seen }) => seen.closed === 1)))
})

t.test('answers that wait behind others on one connection', async t => {
  const pump = openPump()
  const bytes = randomBytes(3 * piece + 5)
  const { open, seen } = sourceOf(bytes)
  const port = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length })
    void pump(open(), { start: 0, end: bytes.length - 1 }, response)
  })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(get.repeat(3))
  let rest = Buffer.alloc(0)
  let found = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk])
    const at = rest.length < bytes.length ? -1 : rest.indexOf(bytes)
    if (at < 0) continue
    rest = rest.subarray(at + bytes.length)
    if (++found === 3) break
  }
  t.equal(found, 3)
  t.ok(await eventually(() => seen.closed === 3))
})

t.test('a part, and nothing', async t => {
  const pump = openPump()
  const bytes = randomBytes(3 * piece)
  const { open, seen } = sourceOf(bytes)
  let part = { start: 0, end: 0 }
  const port = await serve(t, (_, response) => {
    response.writeHead(206, { 'content-length': part.end - part.start + 1 })
    void pump(open(), part, response)
  })
  for (const [start, end] of [
    [0, 0],
    [5, 4],
    [piece - 1, piece],
    [piece + 7, 3 * piece - 1],
    [3 * piece - 1, 3 * piece - 1],
  ] as const) {
    part = { start, end }
    const answer = await request(`http://127.0.0.1:${port}/`)
    const body = Buffer.from(await answer.body.arrayBuffer())
    t.ok(body.equals(bytes.subarray(start, end + 1)), `${start} to ${end}`)
  }
  t.ok(await eventually(() => seen.closed === 5))
})

t.test('a client that goes away', async t => {
  const pump = openPump()
  const bytes = randomBytes(40 * piece)
  const { open, seen } = sourceOf(bytes)
  const outcomes: unknown[] = []
  const port = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length })
    pump(open(), { start: 0, end: bytes.length - 1 }, response).then(
      () => outcomes.push('ended'),
      (error: unknown) => outcomes.push(error),
    )
  })
  for (const wait of [0, 5, 30]) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(get)
    if (wait > 0) await once(socket, 'data')
    // one that does not read, so that the server waits for it
    socket.pause()
    await sleep(wait)
    socket.destroy()
  }
  const gone = connect(port, '127.0.0.1')
  gone.on('error', () => undefined)
  // of several that wait behind each other, too
  gone.write(get.repeat(3))
  await once(gone, 'data')
  gone.destroy()
  t.ok(await eventually(() => seen.opened >= 5 && outcomes.length === seen.opened))
  t.same([...new Set(outcomes)], ['ended'], 'is no error')
  t.equal(seen.closed, seen.opened, 'and what it was read from is closed')
})

t.test('what cannot be read is no whole answer', async t => {
  const pump = openPump()
  const bytes = randomBytes(4 * piece)
  const reads: Record<string, Source['read']> = {
    short: async (into, position) => (position >= 2 * piece ? 0 : into.length),
    broken: async (into, position) => {
      if (position >= piece) throw new Error('EIO')
      return into.length
    },
  }
  const outcomes = new Map<string, unknown>()
  const port = await serve(t, (incoming: IncomingMessage, response) => {
    const name = incoming.url?.slice(1) ?? ''
    const { open, seen } = sourceOf(bytes, reads[name])
    response.writeHead(200, { 'content-length': bytes.length })
    pump(open(), { start: 0, end: bytes.length - 1 }, response).catch((error: unknown) =>
      outcomes.set(name, { error, closed: seen.closed }),
    )
  })
  for (const name of Object.keys(reads)) {
    const answer = await request(`http://127.0.0.1:${port}/${name}`)
    await t.rejects(answer.body.arrayBuffer(), name)
  }
  t.match(outcomes.get('short'), { error: { code: 'ESTORE' }, closed: 1 })
  t.match(outcomes.get('broken'), { error: { message: 'EIO' }, closed: 1 })
})

t.test('from the store, through the whole server', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  const size = 3_000_000
  const { tarball } = await registry.publish({ name: 'big', version: '1.0.0', size })
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    // with little memory it is a large one
    storageSettings: ['memory: 4MiB'],
  })
  t.teardown(async () => {
    await proxy.close()
    await registry.close()
    await sigstore.close()
  })
  const path = `${proxy.url}big/-/big-1.0.0.tgz`
  const ask = async (headers: Record<string, string> = {}, method: 'GET' | 'HEAD' = 'GET') => {
    const answer = await request(path, { headers, method })
    const body = Buffer.from(await answer.body.arrayBuffer())
    return { status: answer.statusCode, headers: answer.headers, body }
  }
  const whole = await ask()
  t.ok(whole.body.equals(tarball))
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
  const said = {
    'content-length': String(tarball.length),
    etag: `"${integrity}"`,
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
  }
  t.match(whole.headers, said)
  t.equal(whole.headers['transfer-encoding'], undefined)
  t.match(await ask({}, 'HEAD'), { status: 200, headers: said, body: { length: 0 } })
  t.match(await ask({ 'if-none-match': `"${integrity}"` }), { status: 304 })
  const part = await ask({ range: 'bytes=1000000-2000000' })
  t.match(part, {
    status: 206,
    headers: { 'content-range': `bytes 1000000-2000000/${tarball.length}` },
  })
  t.ok(part.body.equals(tarball.subarray(1_000_000, 2_000_001)))
  t.equal((await ask({ range: `bytes=${tarball.length}-` })).status, 416)

  // removed while it is sent: what is open is read on, and the next brings it again
  const socket = connect(proxy.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET /big/-/big-1.0.0.tgz HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(socket, 'readable')
  await proxy.store.blobs.delete(integrity as `sha512-${string}`)
  t.ok((await readSlowly(socket, tarball.length)).equals(tarball))
  const before = registry.asked(/big-1\.0\.0\.tgz$/).length
  t.ok((await ask()).body.equals(tarball))
  t.equal(registry.asked(/big-1\.0\.0\.tgz$/).length, before + 1)
})
