import { createRequire } from 'node:module'
import { webcrypto } from 'node:crypto'
import type { LookupAddress } from 'node:dns'
import { inspect } from 'node:util'
import t from 'tap'
import {
  addressKind,
  guardedLookup,
  kindsOf,
  type AddressKind,
} from '../../lib/upstream/addresses.ts'
import { timeoutsOf } from '../../lib/upstream/options.ts'
import {
  maxRedirects,
  mayHoldCredentials,
  openRoute,
  redirectTarget,
  type Route,
} from '../../lib/upstream/route.ts'
import { openTransport } from '../../lib/upstream/transport.ts'
import {
  bodyOf,
  bytes,
  faulty,
  json,
  openFaultServer,
  upstreamOf,
  type Answer,
  type FaultServer,
} from './fault-server.ts'

const tgz = Buffer.from('the bytes of a tarball')
const to =
  (location: string, status = 302): Answer =>
  response =>
    response.writeHead(status, { location }).end('moved')

/** A second server: another origin, since the port differs. */
const other = async (t: Parameters<typeof faulty>[0]) => {
  const server = await openFaultServer()
  t.teardown(() => server.close())
  return server
}
const sentTo = (server: FaultServer) => server.asked.map(({ headers }) => headers.authorization)

t.test('kinds of address', async t => {
  const kinds: Record<AddressKind, string[]> = {
    public: [
      '1.1.1.1',
      '172.32.0.1',
      '192.167.1.1',
      '2606:4700::1111',
      '::ffff:1.1.1.1',
      '64:ff9b::1.1.1.1',
    ],
    loopback: [
      '127.0.0.1',
      '127.255.1.2',
      '::1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
    ],
    'link-local': [
      '169.254.169.254',
      'fe80::1',
      'fe80::1%eth0',
      '::ffff:169.254.169.254',
      '2002:a9fe:a9fe::1',
      '64:ff9b::a9fe:a9fe',
    ],
    private: [
      '10.1.2.3',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '100.64.0.1',
      'fd00::1',
      'fec0::1',
      '64:ff9b:1::1',
      '::ffff:10.0.0.1',
    ],
    reserved: [
      '0.0.0.0',
      '::',
      '224.0.0.1',
      '255.255.255.255',
      '192.0.2.1',
      '198.18.0.1',
      'ff02::1',
      '2001:db8::1',
      '::ffff:0.0.0.0',
    ],
  }
  for (const [kind, addresses] of Object.entries(kinds))
    for (const address of addresses) t.equal(addressKind(address), kind, address)
  t.strictSame([...(await kindsOf('127.0.0.1'))], ['loopback'])
  t.strictSame([...(await kindsOf('localhost'))], ['loopback'])
  t.strictSame([...(await kindsOf('name.invalid'))], [])
})

t.test('a guarded look-up gives no address of a kind that is not allowed', async t => {
  const look = (kinds: AddressKind[], all: boolean, host = 'localhost') =>
    new Promise<string | LookupAddress[]>((done, fail) =>
      guardedLookup(() => new Set(kinds))(host, { all }, (error, address) =>
        error ? fail(error) : done(address),
      ),
    )
  await t.rejects(look(['public'], true), { code: 'EUPSTREAMDATA' })
  await t.rejects(look(['public'], false), { code: 'EUPSTREAMDATA' })
  t.ok((await look(['loopback'], true)).length > 0)
  t.type(await look(['loopback'], false), 'string')
  await t.rejects(look(['public'], true, 'name.invalid'), { code: /ENOTFOUND|EAI_AGAIN/ })
})

t.test("credentials go below the upstream's own path only", async t => {
  const { server } = await faulty(t)
  const { upstream } = upstreamOf(t, {
    url: `${server.url}npm/`,
    username: 'u',
    password: 'p:w',
  })
  const basic = `Basic ${Buffer.from('u:p:w').toString('base64')}`
  for (const path of [
    'npm/a.tgz',
    'other/a.tgz',
    'npmx/a.tgz',
    'npm/..%2fother/a.tgz',
    'npm/%2e%2e/other/a.tgz',
    'npm/%zz',
  ])
    await upstream.tarball(`${server.url}${path}`)
  t.strictSame(sentTo(server), [basic, undefined, undefined, undefined, undefined, undefined])
  await upstream.packument('a')
  t.equal(sentTo(server).at(-1), basic)
})

t.test('tarballs come from the upstream and the origins it may name', async t => {
  const files = await other(t)
  files.on('/a.tgz', bytes(tgz))
  const { server, upstream } = await faulty(t, { token: 'T' })
  const refused = {
    code: 'EUPSTREAMDATA',
    details: { key: 'upstreams.npm.tarballOrigins', origin: new URL(files.url).origin },
  }
  await t.rejects(upstream.tarball(`${files.url}a.tgz`), refused)
  const metadata = 'http://169.254.169.254/latest/meta-data'
  await t.rejects(upstream.tarball(metadata), { code: 'EUPSTREAMDATA' })
  for (const url of [
    'file:///etc/passwd',
    'ftp://x/a.tgz',
    'a.tgz',
    '',
    'data:text/plain,x',
    server.url.replace('//', '//u:p@'),
  ])
    await t.rejects(upstream.tarball(url), { code: 'EUPSTREAMDATA' }, url)
  t.equal(files.asked.length, 0, 'nobody was asked')

  const allowed = upstreamOf(t, {
    url: server.url,
    token: 'T',
    tarballOrigins: [new URL(files.url).origin],
  })
  t.same(await bodyOf(await allowed.upstream.tarball(`${files.url}a.tgz`)), tgz)
  t.strictSame(sentTo(files), [undefined], 'without credentials')
})

t.test('redirects are followed without credentials, and these never come back', async t => {
  const cdn = await other(t)
  const { server, upstream } = await faulty(t, { token: 'T' })
  cdn.on('/a.tgz?sig=1', bytes(tgz))
  for (const status of [301, 302, 303, 307, 308]) {
    server.on(`/${status}.tgz`, to(`${cdn.url}a.tgz?sig=1`, status))
    t.same(
      await bodyOf(await upstream.tarball(`${server.url}${status}.tgz`)),
      tgz,
      String(status),
    )
  }
  t.strictSame(new Set(sentTo(server)), new Set(['Bearer T']))
  t.strictSame(new Set(sentTo(cdn)), new Set([undefined]))

  server.on('/out.tgz', to(`${cdn.url}back.tgz`))
  cdn.on('/back.tgz', to(`${server.url}home.tgz`))
  server.on('/home.tgz', bytes(tgz))
  t.same(await bodyOf(await upstream.tarball(`${server.url}out.tgz`)), tgz)
  t.equal(sentTo(server).at(-1), undefined, 'home again, without credentials')

  server.on('/here.tgz', to('sub/../home.tgz'))
  t.same(await bodyOf(await upstream.tarball(`${server.url}here.tgz`)), tgz)
  t.equal(sentTo(server).at(-1), 'Bearer T', 'never left')

  server.on('/a', to(`${cdn.url}a.json`))
  cdn.on('/a.json', json({ name: 'a' }))
  t.match(await upstream.packument('a'), { kind: 'found' }, 'documents as well')
  t.equal(sentTo(cdn).at(-1), undefined)
})

t.test('redirects that are not followed', async t => {
  const { server, upstream } = await faulty(t, { token: 'T' })
  const refused = { code: 'EUPSTREAMDATA' }
  server.on('/loop.tgz', to('loop.tgz'))
  await t.rejects(upstream.tarball(`${server.url}loop.tgz`), refused)
  t.equal(server.asked.length, maxRedirects + 1, 'an end to it')
  const places = [
    'http://169.254.169.254/latest/meta-data/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://2852039166/',
    'http://10.0.0.1/',
    'http://[fd00::1]/',
    'http://0.0.0.0:1/',
    'file:///etc/passwd',
    'http://u:p@127.0.0.1/',
    'http://',
  ]
  for (const [i, place] of places.entries()) {
    server.on(`/${i}.tgz`, to(place))
    await t.rejects(upstream.tarball(`${server.url}${i}.tgz`), refused, place)
    server.on(`/${i}`, to(place))
    await t.rejects(upstream.packument(String(i)), refused, place)
  }
  server.on('/nowhere.tgz', response => response.writeHead(302).end())
  await t.rejects(upstream.tarball(`${server.url}nowhere.tgz`), refused)
  const route = openRoute({
    upstream: 'npm',
    base: new URL('https://r.example/'),
    tarballOrigins: [],
  })
  const from = new URL('https://r.example/a.tgz')
  await t.rejects(
    redirectTarget(route, from, 'http://r.example/a.tgz'),
    refused,
    'https to http',
  )
  await t.rejects(redirectTarget(route, from, 'http://1.1.1.1/a.tgz'), refused)
  t.equal((await redirectTarget(route, from, 'https://1.1.1.1/a.tgz')).host, '1.1.1.1')
  t.ok(mayHoldCredentials(route, from))
  t.notOk(mayHoldCredentials(route, new URL('http://r.example/a.tgz')))
})

t.test('a public upstream cannot lead into this network, by name or number', async t => {
  const inside = await other(t)
  inside.on('/a.tgz', bytes(tgz))
  const { port } = new URL(inside.url)
  const outside = await other(t)
  // what a route looks like for an upstream whose own address is public
  const route: Route = {
    upstream: 'npm',
    base: new URL(outside.url),
    tarballOrigins: [],
    kinds: () => new Set(['public']),
    learnKinds: async () => {},
  }
  const transport = openTransport({
    route,
    timeouts: timeoutsOf(2000),
    connections: 2,
    userAgent: 'x',
  })
  t.teardown(() => transport.close())
  for (const host of ['localhost', '127.0.0.1', '[::1]', '127.1', '0x7f000001']) {
    outside.on('/a.tgz', to(`http://${host}:${port}/a.tgz`))
    const url = new URL('/a.tgz', outside.url)
    const { signal } = new AbortController()
    await t.rejects(transport.get(url, {}, signal), { code: 'EUPSTREAMDATA' }, host)
  }
  t.equal(inside.open(), 0)
  t.equal(inside.asked.length, 0, 'nobody was asked')
})

t.test('TLS: an unknown authority is refused, a named one is trusted', async t => {
  const fromMock = createRequire(createRequire(import.meta.url).resolve('@sigstore/mock'))
  fromMock('reflect-metadata')
  const x509 = fromMock('@peculiar/x509') as typeof import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto)
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=127.0.0.1',
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 3_600_000),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true),
      new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
    ],
  })
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`
  const cert = certificate.toString('pem')
  const server = await openFaultServer({ key, cert })
  t.teardown(() => server.close())
  server.on('/a', json({ name: 'a' }))
  const stranger = upstreamOf(t, { url: server.url, token: 'T' })
  await t.rejects(stranger.upstream.packument('a'), {
    code: 'EUPSTREAM',
    details: { cause: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
  })
  t.equal(stranger.outcomes[0]?.attempts, 1, 'not asked again')
  t.equal(server.asked.length, 0, 'no token was sent')
  const known = upstreamOf(t, { url: server.url, token: 'T', ca: cert })
  t.match(await known.upstream.packument('a'), { kind: 'found' })
})

t.test('credentials and signed URLs do not show in errors', async t => {
  const cdn = await other(t)
  const secret = 'hunter2hunter2'
  const basic = Buffer.from(`me:${secret}`).toString('base64')
  const echo: Answer = (response, _, { headers }) => {
    response.socket?.end(`${headers.authorization}\r\n\r\n`)
  }
  for (const credentials of [{ token: secret }, { username: 'me', password: secret }]) {
    const { server, upstream } = await faulty(t, { ...credentials, timeouts: { headers: 100 } })
    server.on('/echo', echo)
    server.on('/401', (r, _, { headers }) => r.writeHead(401).end(headers.authorization))
    server.on('/500', (r, _, { headers }) => r.writeHead(500).end(headers.authorization))
    server.on('/page', (r, _, { headers }) => r.end(headers.authorization))
    server.on('/mute', () => {})
    server.on('/reset', r => r.socket?.destroy())
    server.on('/signed', to(`${cdn.url}x?token=${secret}`))
    server.on('/within', to(`http://me:${secret}@127.0.0.1/`))
    cdn.on(`/x?token=${secret}`, r => r.writeHead(403).end())
    const names = ['echo', '401', '500', 'page', 'mute', 'reset', 'signed', 'within']
    const check = async (what: string, call: Promise<unknown>) => {
      const error: unknown = await call.then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      t.type(error, Error, `${what} fails`)
      const shown = `${inspect(error, { depth: 9, showHidden: true })}${JSON.stringify(error)}`
      t.notOk(shown.includes(secret) || shown.includes(basic), what)
    }
    await Promise.all([
      ...names.map(name => check(`packument ${name}`, upstream.packument(name))),
      ...names
        .filter(name => name !== 'page')
        .map(name =>
          check(`tarball ${name}`, upstream.tarball(`${server.url}${name}`).then(bodyOf)),
        ),
    ])
  }
})
