import { randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import type { Json } from '../support/json.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRecorder, type Recorder } from '../support/recorder.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

/** Everything the servers of this file tell of themselves, for log and metrics. */
const said: string[] = []

const recorder = async (t: Test, prefix?: string) => {
  const made = await startRecorder(prefix)
  t.teardown(() => made.close())
  return made
}

const packument = (name: string, versions: readonly string[], base: string): Json => ({
  _id: name,
  _rev: '3-abc',
  name,
  'dist-tags': { latest: versions.at(-1) },
  versions: Object.fromEntries(
    versions.map(version => [
      version,
      { name, version, dist: { shasum: 'a'.repeat(40), tarball: `${base}${name}/-/x.tgz` } },
    ]),
  ),
})

const open = async (
  t: Test,
  upstream: Recorder,
  terms: readonly string[] = [],
  options: Partial<ProxyOptions> = {},
) => {
  const tell = (...what: unknown[]) => void said.push(inspect(what, { depth: 9 }))
  const proxy = await startProxy({
    upstream: upstream.url,
    observer: {
      onRequest: tell,
      onUpstream: tell,
      onVerdict: tell,
      onError: tell,
      onStale: tell,
    },
    trustedRoot: sigstore.trustedRoot,
    registryKeys: 'none',
    upstreamSettings: ['token: OWN-TOKEN', 'retries: 0', ...terms],
    ...options,
  })
  t.teardown(() => proxy.close())
  const ask = (method: string, path: string, init: RequestInit = {}) =>
    fetch(new URL(path, proxy.url), { method, redirect: 'manual', ...init })
  const json = async (method: string, path: string, init?: RequestInit) =>
    (await (await ask(method, path, init)).json()) as Json
  return { proxy, ask, json }
}

const write = ['passThrough: write']
const forward = [...write, 'clientCredentials: forward']
const theirs = { authorization: 'Bearer CLIENT-TOKEN', 'npm-otp': '424242' }

t.test('what the settings do not let through', async t => {
  const upstream = await recorder(t)
  upstream.on(/./, { body: {} })
  const put = { body: '{}', headers: theirs }

  t.test('by default nothing is written, and nobody logs in', async t => {
    const { ask } = await open(t, upstream)
    for (const [method, path] of [
      ['PUT', '/@acme%2fa'],
      ['DELETE', '/a/-rev/1'],
      ['PUT', '/-/package/a/dist-tags/beta'],
      ['POST', '/-/package/a/access'],
      ['POST', '/-/stage/package/a'],
    ] as const) {
      const answer = await ask(method, path, put)
      t.equal(answer.status, 405, `${method} ${path}`)
      const body = (await answer.json()) as Json
      t.match(body, { code: 'EMETHOD', error: /upstreams\.npm\.passThrough/ })
      t.equal(body['error'], body['message'])
    }
    for (const [method, path] of [
      ['POST', '/-/v1/login'],
      ['PUT', '/-/user/org.couchdb.user:ana'],
      ['DELETE', '/-/user/token/CLIENT-TOKEN'],
      ['GET', '/-/whoami'],
      ['GET', '/-/npm/v1/tokens'],
    ] as const) {
      const answer = await ask(method, path, method === 'GET' ? { headers: theirs } : put)
      t.equal(answer.status, 401, `${method} ${path}`)
      t.match(await answer.json(), {
        code: 'ECREDENTIALS',
        error: /upstreams\.npm\.clientCredentials/,
      })
    }
    t.same(upstream.asked(), [], 'the upstream heard of none of it')
  })

  t.test('off: not even what is only read', async t => {
    const { ask } = await open(t, upstream, ['passThrough: off', 'clientCredentials: forward'])
    for (const path of ['/-/v1/search?text=a', '/-/package/a/visibility', '/-/whoami'])
      t.equal((await ask('GET', path)).status, 405, path)
    t.same(upstream.asked(), [])
  })

  t.test('write without forward: no login, and no credentials', async t => {
    const { ask } = await open(t, upstream, write)
    upstream.on(/^PUT \/a$/, { status: 401, body: { error: 'who are you' } })
    const refused = await ask('PUT', '/a', put)
    t.equal(refused.status, 401)
    t.match(refused.headers.get('npm-notice'), /upstreams\.npm\.clientCredentials/)
    t.equal(refused.headers.get('attestry-withheld'), 'authorization')
    t.equal((await ask('POST', '/-/v1/login', put)).status, 401)
    t.same(upstream.asked(), ['PUT /a'])
    t.notMatch(upstream.transcript(), /TOKEN|424242/, "neither the client's token nor ours")
  })
})

t.test('what cannot be passed on is answered at once', async t => {
  const upstream = await recorder(t)
  const { ask } = await open(t, upstream, forward)
  for (const [method, path] of [
    ['POST', '/-/npm/v1/oidc/token/exchange/package/@acme%2fa'],
    ['PUT', '/-/pnpm/v1/publish'],
    ['GET', '/-/pnpr/x'],
    ['GET', '/-/all'],
    ['GET', '/-/_view/starredByUser?key=a'],
  ] as const) {
    t.equal((await ask(method, path)).status, 404, `${method} ${path}`)
  }
  t.same(upstream.asked(), [])
})

t.test('a package is published', async t => {
  const upstream = await recorder(t)
  const versions = ['1.0.0']
  upstream.on(/^GET \/@acme%2fa/, () => ({
    body: packument('@acme/a', versions, upstream.url),
  }))
  const { ask, json, proxy } = await open(t, upstream, forward)
  const shown = async () => Object.keys((await json('GET', '/@acme%2fa'))['versions'] as Json)
  t.same(await shown(), ['1.0.0'])

  t.test("with the client's credentials, whole, and seen at once", async t => {
    upstream.on(/^PUT/, () => {
      versions.push('1.1.0')
      return { status: 201, body: { ok: true }, headers: { 'set-cookie': 'a=b' } }
    })
    const body = randomBytes(20_000_000)
    const answer = await ask('PUT', '/@acme%2fa', {
      body,
      headers: { ...theirs, cookie: 'c=d', 'npm-command': 'publish' },
    })
    t.same([answer.status, await answer.json()], [201, { ok: true }])
    t.equal(answer.headers.get('set-cookie'), null)
    const { headers, body: arrived } = upstream.seen.at(-1) as Recorder['seen'][number]
    t.ok(arrived.equals(body), 'byte for byte')
    t.match(headers, {
      authorization: 'Bearer CLIENT-TOKEN',
      'npm-otp': '424242',
      'npm-command': 'publish',
      'content-length': String(body.length),
    })
    t.notOk(headers.cookie)
    t.same(await shown(), ['1.0.0', '1.1.0'], 'though packuments are kept for five minutes')
    await proxy.gate.idle()
  })

  t.test('without credentials of the client there are none: not ours instead', async t => {
    await ask('PUT', '/@acme%2fa', { body: '{}' })
    const { headers } = upstream.seen.findLast(({ method }) => method === 'PUT') ?? {}
    t.equal(headers?.authorization, undefined)
  })

  t.test('what the upstream says is what the client hears', async t => {
    upstream.on(/^PUT/, {
      status: 401,
      body: { error: 'OTP required' },
      headers: { 'www-authenticate': 'OTP', 'npm-notice': 'use your key' },
    })
    const answer = await ask('PUT', '/@acme%2fa', { body: '{}', headers: theirs })
    t.equal(answer.status, 401)
    t.equal(answer.headers.get('www-authenticate'), 'OTP')
    t.equal(answer.headers.get('npm-notice'), 'use your key')
    t.same(await answer.json(), { error: 'OTP required' })
  })

  t.test('an upstream may take its time to take a package in', async t => {
    const hasty = await open(t, upstream, [...forward, 'timeout: 100ms'])
    upstream.on(/^(PUT|GET) \/slow/, { status: 201, delay: 500 })
    t.equal((await hasty.ask('PUT', '/slow', { body: '{}' })).status, 201)
    t.equal((await hasty.ask('GET', '/slow')).status, 504, 'to answer a question it may not')
  })

  t.test('too large a package', async t => {
    const small = await open(t, upstream, write, { settings: 'limits: { publish: 1MiB }' })
    const before = upstream.seen.length
    const told = await small.ask('PUT', '/big', { body: randomBytes(1_100_000) })
    t.equal(told.status, 413)
    t.match(await told.json(), { code: 'ETOOLARGE', error: /limits\.publish/ })
    // without a length the limit is met on the way
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(new URL('/big', small.proxy.url), { method: 'PUT' })
      request.on('response', response => {
        response.resume()
        resolve(response.statusCode)
      })
      request.on('error', reject)
      for (let n = 0; n < 20; n++) request.write(Buffer.alloc(100_000))
      request.end()
    })
    t.equal(status, 413)
    t.equal(upstream.seen.length, before, 'no whole request arrived')
    t.equal((await small.ask('GET', '/-/ping')).status, 200, 'and it goes on')
  })

  t.test('a client that goes away', async t => {
    const before = upstream.seen.length
    await new Promise<void>(resolve => {
      const request = httpRequest(new URL('/gone', proxy.url), {
        method: 'PUT',
        headers: { 'content-length': '1000000' },
      })
      request.on('error', () => resolve())
      request.write(Buffer.alloc(200_000), () => setTimeout(() => request.destroy(), 50))
      request.on('close', () => resolve())
    })
    t.equal((await ask('GET', '/-/ping')).status, 200)
    t.notOk(upstream.seen.slice(before).some(({ method }) => method === 'PUT'))
  })
})

t.test('the document that is changed and sent back', async t => {
  const upstream = await recorder(t, '/some/path/')
  upstream.on(/^GET .*\/a/, { body: packument('a', ['1.0.0'], upstream.url) })
  const { ask, json, proxy } = await open(t, upstream, forward)
  const document = await json('GET', '/a?write=true', { headers: theirs })
  t.equal(document['_rev'], '3-abc')
  const { dist } = (document['versions'] as Json)['1.0.0'] as Json
  // the client takes the path of this address to delete the tarball
  t.equal(dist.tarball, `${proxy.url}a/-/a-1.0.0.tgz`)
  t.equal(upstream.seen.at(-1)?.target, '/some/path/a?write=true')
  t.equal(upstream.seen.at(-1)?.headers.authorization, 'Bearer CLIENT-TOKEN')
  await ask('GET', '/a?write=true')
  t.equal(upstream.asked().length, 2, 'asked each time')
  t.equal(upstream.seen.at(-1)?.headers.authorization, undefined)
  const reading = await open(t, upstream)
  const answer = await reading.ask('GET', '/a?write=true')
  t.equal(answer.status, 200)
  t.notMatch(upstream.asked().at(-1), 'write', 'where nothing may be written it is a packument')
})

t.test('a document that lacks what policy hides is not sent back', async t => {
  const upstream = await recorder(t)
  upstream.on(/^GET .*\/a/, { body: packument('a', ['1.0.0', '1.1.0'], upstream.url) })
  upstream.on(/^GET .*\/b/, { body: packument('b', ['1.0.0'], upstream.url) })
  upstream.on(/^PUT/, { status: 201, body: { ok: true } })
  const deny = "version: 1\nrules: [{ packages: ['a@1.1.0'], deny: { reason: no } }]\n"
  const { ask, json, proxy } = await open(t, upstream, forward, { policies: [deny] })
  const arrived = () => upstream.asked().filter(line => line.startsWith('PUT')).length
  const shown = await json('GET', '/a')
  t.same(Object.keys(shown['versions'] as Json), ['1.0.0'])
  const back = JSON.stringify({ ...shown, users: { ana: true } })
  for (const path of ['/a/-rev/3-abc', '/a']) {
    const answer = await ask('PUT', path, { body: back, headers: theirs })
    t.equal(answer.status, 409, path)
    t.match(await answer.json(), { code: 'EFILTERED', error: /write=true/ })
  }
  // however it is cut
  for (const size of [1, 7, 60]) {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const url = new URL('/a/-rev/3-abc', proxy.url)
      const request = httpRequest(url, { method: 'PUT' })
      request.on('response', response => resolve(response.resume().statusCode))
      request.on('error', reject)
      for (let at = 0; at < back.length; at += size) request.write(back.slice(at, at + size))
      request.end()
    })
    t.equal(status, 409, `in pieces of ${size}`)
  }
  const observing = await open(t, upstream, forward, {
    policies: [`${deny}mode: observe\n`],
    settings: 'observe: { deprecate: true }',
  })
  const warned = await observing.json('GET', '/a')
  t.same(Object.keys(warned['versions'] as Json), ['1.0.0', '1.1.0'])
  const told = { body: JSON.stringify(warned), headers: theirs }
  t.equal((await observing.ask('PUT', '/a/-rev/3-abc', told)).status, 409, 'our own warnings')
  t.equal(arrived(), 0, 'no whole request arrived')

  const whole = await json('GET', '/a?write=true', { headers: theirs })
  t.same(Object.keys(whole['versions'] as Json), ['1.0.0', '1.1.0'])
  const readme = `${back} ${JSON.stringify(warned)} see ${proxy.url}-/attestry/why/a@1.1.0`
  const open1 = await json('GET', '/b')
  for (const [path, body] of [
    ['/a/-rev/3-abc', { ...whole, users: { ana: true } }],
    ['/a', { ...whole, readme }],
    ['/b/-rev/3-abc', { ...open1, versions: { '1.0.0': { deprecated: 'old' } } }],
  ] as const) {
    const answer = await ask('PUT', path, { body: JSON.stringify(body), headers: theirs })
    t.equal(answer.status, 201, path)
  }
  t.equal(arrived(), 3)
})

t.test('login', async t => {
  const upstream = await recorder(t, '/npm/')
  const { json, ask, proxy } = await open(t, upstream, forward)
  const { url } = upstream
  const site = 'https://www.registry.example/login/abc'
  upstream.on(/login$/, { body: { loginUrl: site, doneUrl: `${url}-/v1/done?authId=1` } })
  upstream.on(/done/, { status: 202, headers: { 'retry-after': '3' } })
  const { loginUrl, doneUrl } = await json('POST', '/-/v1/login', { body: '{}' })
  t.equal(loginUrl, site, 'people go to the site themselves')
  t.ok(doneUrl.startsWith(`${proxy.url}-/v1/done?`), doneUrl)
  const waiting = await fetch(doneUrl as string)
  t.same([waiting.status, waiting.headers.get('retry-after')], [202, '3'])
  t.equal(upstream.asked().at(-1), 'GET /npm/-/v1/done?authId=1')

  upstream.on(/^PUT/, { status: 201, body: { ok: true, token: 'NEW' } })
  const couch = await json('PUT', '/-/user/org.couchdb.user:ana', { body: '{"password":"p"}' })
  t.equal(couch['token'], 'NEW')
  t.equal(upstream.seen.at(-1)?.body.toString(), '{"password":"p"}')

  upstream.on(/tokens/, {
    body: { objects: [], urls: { next: `${url}-/npm/v1/tokens?page=2` } },
  })
  const { urls } = await json('GET', '/-/npm/v1/tokens', { headers: theirs })
  t.equal(urls.next, `${proxy.url}-/npm/v1/tokens?page=2`)

  upstream.on(/whoami/, { body: { username: 'ana' } })
  t.same(await json('GET', '/-/whoami', { headers: theirs }), { username: 'ana' })
  t.equal((await ask('DELETE', '/-/user/token/OLD', { headers: theirs })).status, 404)
  t.equal(upstream.asked().at(-1), 'DELETE /npm/-/user/token/OLD')

  const gone = await startRecorder()
  await gone.close()
  const nobody = await open(t, gone, forward)
  const failed = await nobody.ask('DELETE', '/-/user/token/SECRET', { headers: theirs })
  t.equal(failed.status, 503)
  t.notMatch(await failed.text(), 'SECRET', 'the token is in the address')

  upstream.on(/^DELETE/, {
    status: 401,
    headers: { 'www-authenticate': 'OTP' },
    body: { authUrl: site, doneUrl: `${url}-/v1/done?authId=2` },
  })
  const otp = await json('DELETE', '/a/-rev/1', { headers: theirs })
  t.equal(otp['authUrl'], site)
  t.ok(otp['doneUrl'].startsWith(proxy.url))
})

t.test('each upstream its own', async t => {
  const open1 = await recorder(t)
  const acme = await recorder(t)
  for (const each of [open1, acme]) each.on(/./, { body: { ok: true } })
  const { ask, json } = await open(t, open1, write, {
    upstreams: [
      `acme: { url: "${acme.url}", packages: ['@acme/*'], passThrough: write, clientCredentials: forward, token: ACME-TOKEN }`,
    ],
  })
  const headers = theirs
  await ask('PUT', '/@acme%2fa', { body: '{}', headers })
  await ask('PUT', '/left-pad', { body: '{}', headers })
  await ask('GET', '/-/org/acme/user', { headers })
  await ask('GET', '/-/org/public/user', { headers })
  await ask('GET', '/-/team/acme/devs/user', { headers })
  await ask('GET', '/-/package/@acme%2fa/collaborators', { headers })
  await ask('GET', '/-/whoami', { headers })
  await ask('GET', '/-/whoami', { headers: { ...headers, 'npm-scope': '@acme' } })
  // what was written is looked at again, with credentials of ours
  const passed = ({ seen }: Recorder) =>
    seen.filter(({ method, target }) => method !== 'GET' || target.startsWith('/-/'))
  const lines = (upstream: Recorder) =>
    passed(upstream).map(({ method, target }) => `${method} ${target}`)
  t.same(lines(open1), ['PUT /left-pad', 'GET /-/org/public/user'])
  t.same(lines(acme), [
    'PUT /@acme%2fa',
    'GET /-/org/acme/user',
    'GET /-/team/acme/devs/user',
    'GET /-/package/@acme%2fa/collaborators',
    'GET /-/whoami',
    'GET /-/whoami',
  ])
  t.notMatch(open1.transcript(), /CLIENT-TOKEN|424242|ACME-TOKEN|acme/)
  for (const { headers: sent } of passed(open1)) t.equal(sent.authorization, undefined)
  for (const { headers: sent, target } of passed(acme))
    t.equal(sent.authorization, 'Bearer CLIENT-TOKEN', `never ours: ${target}`)

  t.test('search asks each, in words that are not another one’s names', async t => {
    const object = (name: string) => ({ package: { name, version: '1.0.0' } })
    open1.on(/search/, { body: { objects: ['a', '@acme/squat', 'b'].map(object), total: 3 } })
    acme.on(/search/, { body: { objects: ['@acme/a', 'a'].map(object), total: 2 } })
    const names = async (query: string) =>
      ((await json('GET', `/-/v1/search?${query}`, { headers }))['objects'] as Json[]).map(
        found => found['package'].name,
      )
    t.same(await names('text=a'), ['@acme/a', 'a', 'b'], 'no name from a wrong place')
    t.same(await names('text=a&from=1&size=1'), ['a'])
    const before = open1.seen.length
    for (const text of ['@acme/secret', 'scope:acme', '@acme', 'tool @acme/x'])
      t.same(await names(`text=${encodeURIComponent(text)}`), ['@acme/a'], text)
    t.equal(open1.seen.length, before)
    acme.on(/search/, { status: 404 })
    t.same(await names('text=a'), ['a', 'b'], 'one without a search')
    open1.on(/search/, { status: 503 })
    t.equal((await ask('GET', '/-/v1/search?text=a')).status, 503)
    open1.on(/search/, { status: 404 })
    t.equal((await ask('GET', '/-/v1/search?text=a')).status, 404)
    t.notMatch(open1.transcript(), /CLIENT-TOKEN/)
  })

  t.test(
    'an account is where the scope is, else at the first that is given credentials',
    async t => {
      const both = await open(t, open1, forward, {
        upstreams: [
          `acme: { url: "${acme.url}", packages: ['@acme/*'], clientCredentials: forward }`,
          `other: { url: "${acme.url}other/", packages: ['@other/*'] }`,
        ],
      })
      const whoami = async (scope?: string) => {
        const before = [open1.seen.length, acme.seen.length]
        const scoped = scope === undefined ? headers : { ...headers, 'npm-scope': scope }
        const { status } = await both.ask('GET', '/-/whoami', { headers: scoped })
        return [
          status,
          open1.seen.length - (before[0] ?? 0),
          acme.seen.length - (before[1] ?? 0),
        ]
      }
      t.same(await whoami(), [200, 1, 0])
      t.same(await whoami('@public'), [200, 1, 0])
      t.same(await whoami('@acme'), [200, 0, 1])
      t.same(await whoami('@other'), [401, 0, 0], 'to whom no credentials go')
      t.notMatch(open1.transcript(), '@public', 'a scope may be a private name')
      const done = await both.ask('GET', '/-/v1/done?authId=1&attestry-upstream=other')
      t.equal(done.status, 405)
      const nobody = await both.ask('GET', '/-/v1/done?authId=1&attestry-upstream=nobody')
      t.equal(nobody.status, 404)
    },
  )
})

t.test('of all that nothing is told that a log must not have', async t => {
  t.ok(said.length > 100)
  t.notMatch(said.join('\n'), /CLIENT-TOKEN|424242|OWN-TOKEN|ACME-TOKEN|SECRET|\/OLD/)
})
