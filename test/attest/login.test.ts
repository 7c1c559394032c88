/** Keyless vouching by a login: an OIDC issuer on loopback, and fetch in the place of a browser. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { Agent, fetch as undiciFetch, setGlobalDispatcher } from 'undici'
import { endpointsOf, logIn, type LoginOptions } from '../../lib/attest/login.ts'
import { openCallback } from '../../lib/attest/login-callback.ts'
import { serviceLimits } from '../../lib/attest/service.ts'
import { isAttestryError } from '../../lib/errors.ts'
import { newKey, tokenOf } from '../access/issuer.ts'
import { runCli, type ConsoleOptions } from '../cli/console.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const email = 'security@acme.example'
const key = newKey('k1', 'ES256')

/** Places to do wrong. */
type Wrong = {
  readonly discovery?: object
  readonly claims?: object
  /** Changes the address that the browser is sent back to. */
  readonly back?: (address: URL) => void
  readonly token?: (response: ServerResponse, form: URLSearchParams) => void
}

const pem = (name: string) =>
  readFile(resolve(import.meta.dirname, `../support/tls/a.${name}.pem`))
const [cert, tlsKey] = await Promise.all([pem('cert'), pem('key')])
// policies name issuers by https addresses only: the one of the whole way speaks TLS
const trusting = new Agent({ connect: { ca: cert } })
setGlobalDispatcher(trusting)
t.teardown(() => trusting.close())

const startIssuer = async (t: Test, wrong: Wrong = {}, scheme: 'http' | 'https' = 'http') => {
  const codes = new Map<string, URLSearchParams>()
  const asked: URLSearchParams[] = []
  const forms: URLSearchParams[] = []
  const json = (response: ServerResponse, status: number, value: object) =>
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(JSON.stringify(value))

  const authorize = (response: ServerResponse, query: URLSearchParams) => {
    asked.push(query)
    const code = randomBytes(8).toString('hex')
    codes.set(code, query)
    const back = new URL(query.get('redirect_uri') ?? '')
    back.searchParams.set('code', code)
    back.searchParams.set('state', query.get('state') ?? '')
    wrong.back?.(back)
    response.writeHead(302, { location: back.href }).end()
  }
  const exchange = (response: ServerResponse, form: URLSearchParams) => {
    forms.push(form)
    if (wrong.token) return wrong.token(response, form)
    const code = form.get('code') ?? ''
    const query = codes.get(code)
    codes.delete(code)
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    const fits =
      form.get('grant_type') === 'authorization_code' &&
      query?.get('code_challenge_method') === 'S256' &&
      query.get('code_challenge') === challenge &&
      query.get('redirect_uri') === form.get('redirect_uri') &&
      query.get('client_id') === form.get('client_id')
    if (!fits) return json(response, 400, { error: 'invalid_grant' })
    const id_token = tokenOf(key, {
      iss: url,
      aud: query.get('client_id'),
      sub: '1',
      email,
      email_verified: true,
      nonce: query.get('nonce'),
      exp: Math.floor(Date.now() / 1000) + 300,
      ...wrong.claims,
    })
    return json(response, 200, { access_token: 'unused', token_type: 'Bearer', id_token })
  }
  const listener: RequestListener = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', url)
    let body = ''
    request
      .setEncoding('utf8')
      .on('data', (chunk: string) => (body += chunk))
      .on('end', () => {
        if (pathname === '/auth/.well-known/openid-configuration')
          json(response, 200, {
            issuer: url,
            authorization_endpoint: `${url}/authorize?tenant=acme`,
            token_endpoint: `${url}/token`,
            code_challenge_methods_supported: ['S256', 'plain'],
            ...wrong.discovery,
          })
        else if (pathname === '/auth/authorize') authorize(response, searchParams)
        else if (pathname === '/auth/token') exchange(response, new URLSearchParams(body))
        else response.writeHead(404).end()
      })
  }
  const server =
    scheme === 'http'
      ? createServer(listener)
      : createTlsServer({ cert, key: tlsKey }, listener)
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const url = `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/auth`
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url, asked, forms }
}

/** Opens the address as a browser does, and follows where it is sent. */
const browse = async (address: string) => {
  const response = await undiciFetch(address, { signal: AbortSignal.timeout(20_000) })
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    text: await response.text(),
  }
}

const tell = (work: Promise<unknown>) =>
  work.then(
    () => ({ code: 'done', message: '' }),
    (error: unknown) => ({
      code: isAttestryError(error) ? error.code : String(error),
      message: String(error),
    }),
  )

const isOpen = (address: string) =>
  new Promise<boolean>(resolve => {
    const { hostname, port } = new URL(address)
    const socket = connect(Number(port), hostname)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

/** A login, what it came to, and whether its port is closed after it. */
const attempt = async (
  t: Test,
  wrong: Wrong,
  options: Partial<LoginOptions> = {},
  browser: (address: string) => Promise<unknown> = browse,
) => {
  const issuer = await startIssuer(t, wrong)
  let visit: Promise<unknown> = Promise.resolve()
  let address: string | undefined
  const { code, message } = await tell(
    logIn({
      issuer: issuer.url,
      clientId: 'sigstore',
      limits: serviceLimits,
      wait: 20_000,
      show: url => {
        address = url
        visit = browser(url)
      },
      ...options,
    }),
  )
  const page = await visit
  const callback = address && new URL(address).searchParams.get('redirect_uri')
  if (callback) t.notOk(await isOpen(callback), `nobody listens after: ${message}`)
  return { ...issuer, code, message, page, address }
}

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

t.test('a vouch by whoever logged in, from the terminal to the policy', async t => {
  const issuer = await startIssuer(t, {}, 'https')
  const cwd = await mkdtemp(join(tmpdir(), 'attestry-login-'))
  t.teardown(() => rm(cwd, { recursive: true, force: true }))
  await writeSettings(cwd, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [
      `version: 1
identities: { team: { issuer: '${issuer.url}', subject: '${email}' } }
rules: [{ name: reviewed, packages: ['*'], require: { vouch: [team] } }]
`,
    ],
    storage: join(cwd, 'store'),
  })
  await registry.publish({ name: 'legacy-lib', version: '1.0.0', signed: false })
  const run = (argv: readonly string[], more: Partial<ConsoleOptions> = {}) =>
    runCli(argv, { cwd, env: {}, ...more })
  const by = ['--fulcio', sigstore.url, '--rekor', sigstore.url]
  const argv = ['vouch', 'legacy-lib@1.0.0', '--reason', 'read it all', ...by]
  const here = ['--oidc-issuer', issuer.url]
  const why = async () => (await run(['why', 'legacy-lib@1.0.0'])).code
  t.equal(await why(), 1, 'refused before')

  const piped = await run([...argv, ...here])
  t.match(piped, { code: 2, stderr: /at a terminal[^]*ESIGNIDENTITY/ })
  const person = { ask: () => Promise.resolve('y') }
  const nowhere = await run(argv, person)
  t.match(nowhere, { code: 2, stderr: /--oidc-issuer[^]*ESIGNIDENTITY/ })
  const unsafe = await run([...argv, '--oidc-issuer', 'http://login.example'], person)
  t.match(unsafe, { code: 2, stderr: /--oidc-issuer[^]*EUSAGE/ })
  t.strictSame(issuer.asked, [], 'none of these asked anybody')

  let visit: ReturnType<typeof browse> | undefined
  const said = await run([...argv, ...here], {
    ...person,
    hears: text => {
      const address = /^https:\S+$/m.exec(text)?.[0]
      if (address !== undefined) visit = browse(address)
    },
  })
  t.equal(said.code, 0, said.stderr)
  t.match(said.stdout, `vouched for by ${email}`)
  t.match(await visit, { status: 200, type: /^text\/plain/, text: /terminal/ })
  t.equal(await why(), 0, 'the policy takes the vouch of who logged in')
  const [question] = issuer.asked
  t.match(Object.fromEntries(question ?? []), {
    tenant: 'acme',
    client_id: 'sigstore',
    response_type: 'code',
    scope: 'openid email',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    nonce: /^[\w-]{43}$/,
    redirect_uri: /^http:\/\/127\.0\.0\.1:\d+\/auth\/callback$/,
  })
  t.match(issuer.forms[0]?.get('code_verifier'), /^[\w-]{43}$/)
  t.notMatch(said.stderr, issuer.forms[0]?.get('code_verifier'))
  t.notMatch(said.stderr + said.stdout, /eyJ/, 'the token is told to nobody')

  const other = await run([...argv, ...here, '--oidc-client-id', 'acme-signing'], {
    ...person,
    hears: text => {
      const address = /^https:\S+$/m.exec(text)?.[0]
      if (address !== undefined) visit = browse(address)
    },
  })
  t.equal(other.code, 0, other.stderr)
  t.equal(issuer.asked[1]?.get('client_id'), 'acme-signing')
  const token = tokenOf(key, { iss: issuer.url, aud: 'sigstore', email, email_verified: true })
  const given = await run([...argv, ...here], { ...person, env: { SIGSTORE_ID_TOKEN: token } })
  t.equal(given.code, 0, given.stderr)
  t.equal(issuer.asked.length, 2, 'who has a token is not asked to log in')
})

t.test('answers and tokens that are not of this login', async t => {
  const cases: Record<string, [Wrong, string, RegExp, number]> = {
    'another state': [
      { back: a => a.searchParams.set('state', 'x'.repeat(43)) },
      'ESIGNIDENTITY',
      /another state/,
      0,
    ],
    'no state': [{ back: a => a.searchParams.delete('state') }, 'ESIGNIDENTITY', /state/, 0],
    'no code': [{ back: a => a.searchParams.delete('code') }, 'ESIGNIDENTITY', /no auth/, 0],
    'an error': [
      {
        back: a => {
          a.searchParams.set('error', 'access_denied')
          a.searchParams.set('error_description', 'not\u001b[2J\n today')
        },
      },
      'ESIGNIDENTITY',
      /did not log anybody in: access_denied: not \[2J today$/,
      0,
    ],
    'an error without our state': [
      {
        back: a => {
          a.searchParams.set('error', 'access_denied')
          a.searchParams.delete('state')
        },
      },
      'ESIGNIDENTITY',
      /another state/,
      0,
    ],
    'another nonce': [{ claims: { nonce: 'replayed' } }, 'ESIGNIDENTITY', /nonce/, 1],
    'no nonce': [{ claims: { nonce: undefined } }, 'ESIGNIDENTITY', /nonce/, 1],
    'another audience': [{ claims: { aud: 'other' } }, 'ESIGNIDENTITY', /is for other/, 1],
    'no audience': [{ claims: { aud: undefined } }, 'ESIGNIDENTITY', /is for nobody/, 1],
    'another issuer': [{ claims: { iss: 'https://x.example' } }, 'ESIGNIDENTITY', /is of h/, 1],
    'an old token': [{ claims: { exp: 1 } }, 'ESIGNIDENTITY', /ended at/, 1],
    'an address not verified': [
      { claims: { email_verified: false } },
      'ESIGNIDENTITY',
      /ver/,
      1,
    ],
    "another issuer's discovery": [
      { discovery: { issuer: 'https://accounts.google.com' } },
      'ESIGNSERVICE',
      /is that of "https:\/\/accounts\.google\.com"/,
      0,
    ],
  }
  for (const [what, [wrong, code, message, exchanges]] of Object.entries(cases)) {
    const done = await attempt(t, wrong)
    t.match({ ...done, what }, { code, message, what })
    t.equal(done.forms.length, exchanges, `${what}: codes sent`)
    if (code === 'ESIGNSERVICE') t.equal(done.address, undefined, 'nobody is sent anywhere')
  }
  t.equal((await attempt(t, {})).code, 'done', 'and with nothing wrong it goes through')
})

t.test('discovery documents', t => {
  const issuer = 'https://login.example'
  const good = {
    issuer,
    authorization_endpoint: `${issuer}/a`,
    token_endpoint: `${issuer}/t`,
  }
  t.strictSame(endpointsOf(good, issuer), { authorize: `${issuer}/a`, token: `${issuer}/t` })
  const bad: Record<string, object> = {
    'a slash more': { issuer: `${issuer}/` },
    'plain only': { code_challenge_methods_supported: ['plain'] },
    'http elsewhere': { token_endpoint: 'http://login.example/t' },
    'this machine': { token_endpoint: 'http://127.0.0.1:1/t' },
    'no address to open': { authorization_endpoint: 'javascript:alert(1)' },
    'no endpoint': { token_endpoint: undefined },
  }
  for (const [what, change] of Object.entries(bad))
    t.throws(() => endpointsOf({ ...good, ...change }, issuer), Error, what)
  t.end()
})

t.test('issuers that fail, and people who do not come', async t => {
  const limits = { timeout: 500, size: 64 * 1024 }
  const answers: Record<string, [NonNullable<Wrong['token']>, RegExp]> = {
    nothing: [() => undefined, /no answer within 500 ms/],
    'too much': [r => r.end(' '.repeat(128 * 1024)), /more than 65536 bytes/],
    'a redirect': [r => r.writeHead(307, { location: '/auth/token' }).end(), /answered 307/],
    'no token': [r => r.end('{"access_token":"a"}'), /cannot be read/],
    'a token that is no JSON': [r => r.end('secret-token'), /it is no JSON/],
    'what was sent': [
      (r, form) =>
        r.writeHead(400).end(JSON.stringify({ error_description: `bad ${form.toString()}` })),
      /code=\[hidden\]&code_verifier=\[hidden\]/,
    ],
  }
  for (const [what, [token, message]] of Object.entries(answers)) {
    const done = await attempt(t, { token }, { limits })
    t.match({ ...done, what }, { code: 'ESIGNSERVICE', message, what })
    t.notMatch(done.message, /secret/)
    t.equal(done.forms.length, 1, 'asked once')
  }
  const started = Date.now()
  const nobody = await attempt(t, {}, { wait: 300 }, () => Promise.resolve())
  t.match(nobody, { code: 'ESIGNIDENTITY', message: /Nobody logged in/, forms: [] })
  t.ok(Date.now() - started < 20_000)
})

t.test('one answer is taken, at one place', async t => {
  const callback = await openCallback()
  const get = async (address: string, init: RequestInit = {}) =>
    (await fetch(address, { signal: AbortSignal.timeout(20_000), ...init })).status
  const { origin } = new URL(callback.url)
  t.equal(await get(`${origin}/favicon.ico`), 404)
  t.equal(await get(`${origin}/auth/callback/?code=no`), 404)
  t.equal(await get(`${callback.url}?code=no`, { method: 'POST' }), 404)
  t.equal(await get(`${callback.url}?code=no`, { method: 'HEAD' }), 404)
  t.equal(await get(`${callback.url}?code=first&state=1`), 200)
  t.equal(await get(`${callback.url}?code=second&state=1`), 410)
  t.equal((await callback.answer(20_000)).get('code'), 'first')
  // a browser that keeps its connection holds nobody up
  const { port } = new URL(callback.url)
  const idle = connect(Number(port), '127.0.0.1')
  const ended = new Promise(done => idle.once('close', done).once('error', () => undefined))
  await new Promise(done => idle.once('connect', done))
  await callback.close()
  await ended
  t.notOk(await isOpen(callback.url))
})
