/** How the server is reached: below a path, behind proxies, over TLS. */
import { appendFile, copyFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as askHttp, type IncomingMessage } from 'node:http'
import { request as askHttps } from 'node:https'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import Koa from 'koa'
import t, { type Test } from 'tap'
import { openProxies, readClient } from '../../lib/http/client.ts'
import { watchCertificate } from '../../lib/http/certificate-files.ts'
import { placeOf } from '../../lib/http/place.ts'
import { listen } from '../../lib/http/server.ts'
import { installClients, openProject } from '../support/clients.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { freePort, nginxProgram, startFront, startNginx } from './front.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
await registry.publish({ name: 'app', version: '1.0.0', provenance: true })
await registry.publish({ name: '@acme/lib', version: '1.0.0', dependencies: { app: '^1.0.0' } })
await registry.publish({ name: 'bad', version: '1.0.0' })
const policy = `version: 1
rules: [{ name: no, packages: [bad], deny: { reason: it is bad } }]
`

type Json = Record<string, any> // eslint-disable-line typescript/no-explicit-any

const open = async (t: Test, settings: string) => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policy],
    settings,
  })
  t.teardown(() => proxy.close())
  return proxy
}

t.test('where a target lies', t => {
  const at = (target: string, prefix = '/a/npm/') =>
    placeOf(target, { prefix, views: new Set(['mobile']) })
  for (const [target, wanted] of [
    ['/a/npm/lodash', '/lodash'],
    ['/a/npm/@s%2fn/-/n-1.0.0.tgz?x=/a/npm/', '/@s%2fn/-/n-1.0.0.tgz?x=/a/npm/'],
    ['/lodash', '/lodash'],
    ['/a/npm/', '/'],
    ['/a/npm', '/a/npm'],
    ['//lodash', '/lodash'],
    ['/a/npmx', '/a/npmx'],
    ['/a/npm/a/npm/x', '/a/npm/x'],
  ] as const)
    t.same(at(target), { target: wanted }, target)
  t.same(at('/npm', '/npm/'), { target: '/npm' }, 'the packument of npm itself')
  t.same(at('/npm/-/npm-10.0.0.tgz', '/npm/'), { target: '/npm/-/npm-10.0.0.tgz' })
  t.same(at('/npm/-/npm/v1/keys', '/npm/'), { target: '/-/npm/v1/keys' })
  t.same(at('/npm/npm/-/npm-10.0.0.tgz', '/npm/'), { target: '/npm/-/npm-10.0.0.tgz' })
  for (const target of ['/a/npm/v/mobile/lodash', '/v/mobile/lodash'])
    t.same(at(target), { view: 'mobile', target: '/lodash' })
  t.same(at('/v/mobile'), { view: 'mobile', target: '/' })
  t.same(at('/v/other/lodash'), { target: '/v/other/lodash' })
  t.same(at('/v/mobile-x/lodash'), { target: '/v/mobile-x/lodash' })
  t.same(at('/v'), { target: '/v' })
  t.end()
})

t.test('whose word is taken for the address', t => {
  const proxies = openProxies(['10.0.0.0/8', '::1', '192.0.2.7'])
  const address = (remote: string, forwarded?: string | string[]) =>
    readClient(
      {
        socket: { remoteAddress: remote },
        headers: { 'x-forwarded-for': forwarded },
      } as unknown as IncomingMessage,
      proxies,
    ).address
  t.equal(address('203.0.113.1', '198.51.100.1'), '203.0.113.1', 'anybody may write it')
  t.equal(address('10.1.2.3', '198.51.100.1'), '198.51.100.1')
  t.equal(address('::ffff:10.1.2.3', '198.51.100.1'), '198.51.100.1')
  t.equal(address('::1', '198.51.100.1, 10.0.0.9'), '198.51.100.1', 'through two proxies')
  t.equal(
    address('::1', '1.1.1.1, 198.51.100.1, 192.0.2.7'),
    '198.51.100.1',
    'the first is a lie',
  )
  t.equal(address('::1', '198.51.100.1:4711'), '198.51.100.1')
  t.equal(address('::1', '[2001:db8::1]:80'), '2001:db8::1')
  t.equal(address('::1', ['198.51.100.1', '10.0.0.9']), '198.51.100.1')
  for (const odd of [undefined, '', 'unknown', 'a, b', '198.51.100.1, x'])
    t.equal(address('10.1.2.3', odd), '10.1.2.3', String(odd))
  t.equal(address('10.1.2.3', '10.0.0.1'), '10.0.0.1', 'a proxy may itself be the client')
  t.end()
})

/** What must hold however the prefix gets here. */
const checkPrefix = async (
  t: Test,
  url: string,
  at: string,
  ask: (url: string) => Promise<Answer> = askOver,
) => {
  const status = async (path: string) => (await ask(`${at}${path}`)).statusCode
  const document = JSON.parse((await ask(`${at}app`)).body) as Json
  const { tarball, attestations } = (document['versions'] as Json)['1.0.0'].dist
  t.equal(tarball, `${url}app/-/app-1.0.0.tgz`)
  t.equal(
    new URL(attestations.url as string).pathname,
    '/tools/npm/-/npm/v1/attestations/app@1.0.0',
  )
  for (const path of [
    'app/-/app-1.0.0.tgz',
    '-/npm/v1/attestations/app@1.0.0',
    '@acme%2flib',
    '@acme/lib',
    '-/attestry/health/ready',
  ])
    t.equal(await status(path), 200, path)
  const refused = await ask(`${at}bad/-/bad-1.0.0.tgz`)
  t.equal(refused.statusCode, 403)
  t.match(
    refused.statusMessage,
    /^Refused by policy bad@1\.0\.0/,
    'the reason phrase comes through',
  )
  const { docs } = JSON.parse(refused.body) as Json
  t.equal(docs, `${url}-/attestry/why/bad@1.0.0`)
}

t.test('below a path', async t => {
  for (const strip of [undefined, '/tools/npm/']) {
    await t.test(strip ? 'a proxy that strips it' : 'a proxy that does not', async t => {
      let target = 0
      const front = await startFront({ to: () => target, ...(strip && { strip }) })
      t.teardown(() => front.close())
      const url = `http://127.0.0.1:${front.port}/tools/npm/`
      const proxy = await open(
        t,
        `publicUrl: ${url}\nserver: { trustedProxies: [127.0.0.1] }\n`,
      )
      target = proxy.port
      t.equal(proxy.url, url)
      await checkPrefix(t, url, url)
      await checkPrefix(t, url, `http://127.0.0.1:${proxy.port}/`)
      await checkPrefix(t, url, `http://127.0.0.1:${proxy.port}/tools/npm/`)
    })
  }
})

const clients = await installClients()
const nginx = nginxProgram()
const program = nginx ?? ''
t.test('nginx', { skip: nginx === undefined && 'nginx is not installed' }, async t => {
  const pem = (name: string) => resolve(import.meta.dirname, '../support/tls', name)
  const ca = await readFile(pem('a.cert.pem'), 'utf8')
  for (const [kind, tls, strips] of [
    ['http, the path stripped', false, true],
    ['http, the path kept', false, false],
    ['TLS, the path stripped', true, true],
    ['TLS, the path kept', true, false],
  ] as const) {
    await t.test(kind, async t => {
      const port = await freePort()
      const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}/tools/npm/`
      const trusting = await open(
        t,
        `publicUrl: ${url}\nserver: { trustedProxies: [127.0.0.2] }\n`,
      )
      const front = await startNginx(
        program,
        port,
        `listen 127.0.0.1:${port}${tls ? ' ssl' : ''};
${tls ? `ssl_certificate ${pem('a.cert.pem')}; ssl_certificate_key ${pem('a.key.pem')};` : ''}
client_max_body_size 512m;
location /tools/npm/ {
  proxy_pass http://127.0.0.1:${trusting.port}${strips ? '/' : ''};
  proxy_bind 127.0.0.2;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_buffering off;
}`,
      )
      t.teardown(() => front.close())
      const over = (at: string, headers: Record<string, string> = {}) =>
        askOver(at, tls ? ca : undefined, headers)
      await checkPrefix(t, url, url, over)

      // what nginx, which is at 127.0.0.2, was told by others is not believed; what it adds is
      await over(`${url}app/-/app-1.0.0.tgz`, {
        'x-forwarded-for': '203.0.113.66',
        'x-forwarded-host': 'evil.example',
        'user-agent': 'through nginx',
      })
      const addresses = new Set<string>()
      await trusting.gate.idle()
      for await (const { client } of trusting.store.audit.read())
        if (client.agent === 'through nginx') addresses.add(client.address)
      t.same([...addresses], ['127.0.0.1'], 'whoever asked nginx')

      if (clients.kind === 'missing') return t.comment(clients.reason)
      const project = await openProject(clients, 'npm12', url, { '@acme/lib': '^1.0.0' })
      t.teardown(() => project.remove())
      await appendFile(join(project.cwd, '.npmrc'), `cafile=${pem('a.cert.pem')}\n`)
      const run = await project.install()
      t.equal(run.code, 0, run.output)
      t.same(await project.installed(), ['@acme/lib@1.0.0', 'app@1.0.0'])
      await project.setDependencies({ bad: '1.0.0' })
      const refused = await project.install()
      t.match(refused.output, /Refused by policy bad@1\.0\.0 DENIED it is bad/)
      t.match(refused.output, `${url}-/attestry/why/bad@1.0.0`)
    })
  }
})

type Answer = Pick<IncomingMessage, 'statusCode' | 'statusMessage'> & { readonly body: string }

/** Over TLS with these certificates, or without. */
const askOver = (
  url: string,
  ca?: string,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  new Promise((done, fail) => {
    const [ask, options] = ca === undefined ? [askHttp, {}] : [askHttps, { ca }]
    const out = ask(url, { ...options, headers, agent: false }, answer => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      answer.on('error', fail)
      answer.on('end', () => {
        const { statusCode, statusMessage } = answer
        done({ statusCode, statusMessage, body })
      })
    })
    out.on('error', fail)
    out.end()
  })

const without = clients.kind === 'missing' && clients.reason
t.test('npm installs through a path', { skip: without }, async t => {
  if (clients.kind === 'missing') return
  for (const client of ['npm12'] as const) {
    for (const strip of [undefined, '/tools/npm/']) {
      await t.test(`${client}, ${strip ? 'stripped' : 'kept'}`, async t => {
        let target = 0
        const front = await startFront({ to: () => target, ...(strip && { strip }) })
        t.teardown(() => front.close())
        const url = `http://127.0.0.1:${front.port}/tools/npm/`
        const proxy = await open(t, `publicUrl: ${url}\nviews: {}`)
        target = proxy.port
        const project = await openProject(clients, client, url, { '@acme/lib': '^1.0.0' })
        t.teardown(() => project.remove())
        const first = await project.install()
        t.equal(first.code, 0, first.output)
        t.notMatch(first.output, /EALLOWREMOTE/)
        t.same(await project.installed(), ['@acme/lib@1.0.0', 'app@1.0.0'])
        t.equal((await project.installFrozen()).code, 0)
      })
    }
  }
})

t.test('X-Forwarded-*', async t => {
  const said = { 'x-forwarded-for': '203.0.113.9', 'user-agent': 'npm/12' }
  for (const [trusted, address] of [
    ['127.0.0.1', '203.0.113.9'],
    ['10.0.0.0/8', '127.0.0.1'],
  ] as const) {
    const proxy = await open(t, `server: { trustedProxies: [${trusted}] }`)
    const headers = {
      ...said,
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
    }
    const document = (await (await fetch(`${proxy.url}app`, { headers })).json()) as Json
    t.equal(
      (document['versions'] as Json)['1.0.0'].dist.tarball,
      `${proxy.url}app/-/app-1.0.0.tgz`,
      'publicUrl rules',
    )
    await fetch(`${proxy.url}app/-/app-1.0.0.tgz`, { headers })
    for await (const entry of proxy.store.audit.read())
      t.match(entry.client, { address, agent: 'npm/12' })
  }
})

t.test('TLS of our own', async t => {
  const support = resolve(import.meta.dirname, '../support/tls')
  const folder = await mkdtemp(join(tmpdir(), 'attestry-tls-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  const use = async (name: string, part: 'cert' | 'key') =>
    copyFile(join(support, `${name}.${part}.pem`), files[part])
  await use('a', 'cert')
  await use('a', 'key')
  const ca = await readFile(join(support, 'a.cert.pem'), 'utf8')
  const tls = `server: { tls: { cert: ${JSON.stringify(files.cert)}, key: ${JSON.stringify(files.key)} } }`

  t.test('HTTP/1.1 with its reason phrase', async t => {
    const proxy = await open(t, tls)
    t.match(proxy.url, /^https:\/\/127\.0\.0\.1:/)
    const refused = await askOver(`${proxy.url}bad/-/bad-1.0.0.tgz`, ca)
    t.equal(refused.statusCode, 403)
    t.match(refused.statusMessage, /^Refused by policy/)
    const protocol = await new Promise((done, fail) => {
      const socket = connect(
        { host: '127.0.0.1', port: proxy.port, ca, ALPNProtocols: ['h2', 'http/1.1'] },
        () => {
          done(socket.alpnProtocol)
          socket.destroy()
        },
      )
      socket.on('error', fail)
    })
    t.equal(protocol, 'http/1.1')
    await t.rejects(
      new Promise((_, fail) =>
        askHttp(proxy.url.replace('https', 'http')).on('error', fail).end(),
      ),
      'nothing without TLS',
    )
  })

  t.test('a certificate that is renewed', async t => {
    const errors: unknown[] = []
    let inForce = ''
    const renew = (next: { cert: string; key: string }) => {
      if (next.cert.includes('half')) throw new Error('they do not fit')
      inForce = next.cert
    }
    const read = async () => ({
      cert: await readFile(files.cert, 'utf8'),
      key: await readFile(files.key, 'utf8'),
    })
    const watch = watchCertificate({
      files,
      certificate: await read(),
      renew,
      onError: error => errors.push(error),
      interval: 10,
    })
    await use('b', 'cert')
    await use('b', 'key')
    const wanted = await readFile(join(support, 'b.cert.pem'), 'utf8')
    for (let tries = 0; tries < 200 && inForce !== wanted; tries++) await sleep(10)
    t.equal(inForce, wanted)
    await rm(files.key)
    for (let tries = 0; tries < 200 && errors.length === 0; tries++) await sleep(10)
    await sleep(50)
    t.equal(errors.length, 1, 'told once')
    await watch.close()
    await use('a', 'cert')
    await use('a', 'key')
  })

  t.test('connections after a renewal get the new one', async t => {
    const pair = async (name: string) => ({
      cert: await readFile(join(support, `${name}.cert.pem`), 'utf8'),
      key: await readFile(join(support, `${name}.key.pem`), 'utf8'),
    })
    const [a, b] = [await pair('a'), await pair('b')]
    const app = new Koa().use(ctx => {
      ctx.body = 'here'
    })
    const options = { host: '127.0.0.1', port: 0, requestTimeout: 5_000, tls: a }
    const server = await listen({ ...options, app: () => app.callback() })
    t.teardown(() => server.close(0))
    const url = `https://127.0.0.1:${server.port}/`
    t.equal((await askOver(url, a.cert)).statusCode, 200)
    t.throws(() => server.renew({ cert: b.cert, key: a.key }), 'a key of another')
    t.equal((await askOver(url, a.cert)).statusCode, 200, 'the old one stays')
    server.renew(b)
    t.equal((await askOver(url, b.cert)).statusCode, 200)
    await t.rejects(askOver(url, a.cert))
  })

  t.test('what cannot be used', async t => {
    await use('b', 'key')
    await t.rejects(open(t, tls), { code: 'ECONFIG' }, 'a key of another certificate')
  })
})
