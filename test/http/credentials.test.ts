/**
 * Where clients' credentials go: to the upstream the settings name for them and nowhere else. Every
 * vehicle a credential can travel in is sent to every kind of address, with recording upstreams behind;
 * then everything the server told or kept is searched for them: upstreams, answers, the log at its most
 * talkative, metrics, the audit record, and the store's own files.
 */
import { request as httpRequest } from 'node:http'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { Registry } from '../../lib/observe/prom-client.ts'
import t, { type Test } from 'tap'
import { openTokens } from '../../lib/access/tokens.ts'
import { observe } from '../../lib/observe/events.ts'
import { openLog } from '../../lib/observe/log.ts'
import { openMetrics } from '../../lib/observe/metrics.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy, type ProxyOptions } from '../support/proxy.ts'
import { startRecorder, type Recorder } from '../support/recorder.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

/** One word for each vehicle, which nothing else has in it. */
const secrets = {
  bearer: 'S3CRETBEARER',
  basic: 'S3CRETBASIC',
  otp: 'S3CRETOTP',
  cookie: 'S3CRETCOOKIE',
  proxy: 'S3CRETPROXY',
  header: 'S3CRETHEADER',
  query: 'S3CRETQUERY',
  target: 'S3CRETTARGET',
  logout: 'S3CRETLOGOUT',
  key: 'S3CRETKEY',
  session: 'S3CRETSESSION',
  login: 'S3CRETLOGIN',
  publish: 'S3CRETPUBLISH',
} as const
type Vehicle = keyof typeof secrets

const base64 = (text: string) => Buffer.from(text).toString('base64')
const always = {
  'npm-otp': secrets.otp,
  cookie: `session=${secrets.cookie}`,
  'proxy-authorization': `Basic ${base64(`ana:${secrets.proxy}`)}`,
  'x-api-key': secrets.header,
  'x-jfrog-art-api': secrets.header,
  referer: `http://ana:${secrets.header}@acme.example/`,
}
const bearer = { ...always, authorization: `Bearer ${secrets.bearer}` }
/** What a client makes of `_auth` and of a registry with a name and a password in its address. */
const basic = { ...always, authorization: `Basic ${base64(`ana:${secrets.basic}`)}` }

const login = JSON.stringify({ name: 'ana', password: secrets.login })
const release = JSON.stringify({
  name: '@acme/a',
  _attachments: { 'a-1.0.0.tgz': { data: secrets.publish } },
})

type Sent = readonly [method: string, target: string, body?: string]
const requests: readonly Sent[] = [
  ['GET', '/lib'],
  ['GET', `/lib?_authToken=${secrets.query}`],
  ['GET', '/lib/-/lib-1.0.0.tgz'],
  ['GET', `/lib/-/lib-1.0.0.tgz?token=${secrets.query}`],
  ['GET', '/lib/1.0.0'],
  ['GET', '/@acme%2fa'],
  ['GET', '/@acme%2fa/-/a-1.0.0.tgz'],
  ['GET', '/@acme%2fa?write=true'],
  ['GET', '/-/npm/v1/attestations/lib@1.0.0'],
  ['GET', '/-/npm/v1/keys'],
  ['GET', `/-/v1/search?text=lib&token=${secrets.query}`],
  ['POST', '/-/npm/v1/security/advisories/bulk', '{"lib":["1.0.0"],"@acme/a":["1.0.0"]}'],
  ['GET', '/-/whoami'],
  ['GET', '/-/npm/v1/tokens'],
  ['POST', '/-/npm/v1/tokens', JSON.stringify({ password: secrets.login })],
  ['DELETE', `/-/npm/v1/tokens/token/${secrets.key}`],
  ['DELETE', `/-/user/token/${secrets.logout}`],
  ['PUT', '/-/user/org.couchdb.user:ana', login],
  ['POST', '/-/v1/login', login],
  ['GET', `/-/v1/done?authId=${secrets.session}`],
  ['POST', '/-/npm/v1/oidc/token/exchange/package/lib', login],
  ['PUT', '/@acme%2fa', release],
  ['PUT', '/lib', release],
  ['PUT', `/lib?_authToken=${secrets.query}`, release],
  ['DELETE', `/@acme%2fa/-rev/1-a?token=${secrets.query}`],
  ['GET', `/-/package/lib/access?token=${secrets.query}`],
  ['GET', `/-/org/acme/user?token=${secrets.query}`],
  ['GET', `/-/npm/v1/tokens?page=1&token=${secrets.query}`],
  ['DELETE', '/@acme%2fa/-rev/1-a'],
  ['GET', '/-/attestry/why/lib@1.0.0'],
  // forms that a proxy is asked in, and what no registry has
  ['GET', `http://ana:${secrets.target}@registry.example/lib`],
  ['GET', `/nothing/at/all?_auth=${secrets.query}`],
  ['PATCH', `/-/user/token/${secrets.logout}`],
]

const open = async (t: Test, upstreams: readonly Recorder[], more: Partial<ProxyOptions>) => {
  const [first, acme] = upstreams
  if (!first || !acme) throw new Error('two upstreams')
  let logged = ''
  const stream = new PassThrough()
  stream.on('data', (chunk: Buffer) => {
    logged += chunk.toString()
  })
  const log = openLog({ level: 'trace', format: 'json', stream })
  const metrics = openMetrics({ registry: new Registry(), version: '0' })
  const proxy = await startProxy({
    upstream: first.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: 'none',
    upstreamSettings: ['retries: 0'],
    observer: observe({ log, metrics }),
    ...more,
  })
  t.teardown(async () => {
    await proxy.close()
    metrics.close()
  })
  return { proxy, log: () => logged, metrics }
}

/** All that came back, as text. */
const send = (
  proxy: Proxy,
  [method, path, body]: Sent,
  headers: Record<string, string>,
): Promise<string> =>
  new Promise((done, fail) => {
    const options = { host: '127.0.0.1', port: proxy.port, agent: false }
    const out = httpRequest({ ...options, method, path, headers }, answer => {
      let text = `${answer.statusCode} ${answer.statusMessage}\n${JSON.stringify(answer.headers)}\n`
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      answer.on('error', fail)
      answer.on('end', () => done(text))
    })
    out.on('error', fail)
    out.end(body)
  })

const filesIn = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))

const kept = async ({ folder }: Proxy): Promise<string> => {
  const files = await filesIn(join(folder, 'store'))
  if (files.length === 0) throw new Error('an empty store')
  return (await Promise.all(files.map(file => readFile(file, 'latin1')))).join('\n')
}

/** As sent, and in the forms it may have been put into. */
const holds = (text: string, vehicle: Vehicle): boolean => {
  const secret = secrets[vehicle]
  const forms = [secret, encodeURIComponent(secret), base64(`ana:${secret}`), base64(secret)]
  return forms.some(form => text.includes(form))
}

const vehicles = Object.keys(secrets) as readonly Vehicle[]
const found = (text: string) => vehicles.filter(vehicle => holds(text, vehicle))

const recorders = async (t: Test, answer: 'well' | 'badly' | 'not at all') => {
  const made = await Promise.all([startRecorder(), startRecorder('/acme/')])
  t.teardown(() => Promise.all(made.map(each => each.close())))
  for (const upstream of made) {
    const dist = { shasum: 'a'.repeat(40), tarball: `${upstream.url}lib/-/lib-1.0.0.tgz` }
    const document = (name: string) => ({
      name,
      'dist-tags': { latest: '1.0.0' },
      versions: { '1.0.0': { name, version: '1.0.0', dist } },
    })
    const status = answer === 'badly' ? 500 : 200
    // it sends back what it was sent, as some do in errors
    upstream.on(/./, seen => ({
      status,
      body: answer === 'badly' ? { error: 'what is this' } : { ok: true, of: seen.method },
    }))
    if (answer === 'badly') continue
    upstream.on(/^GET \/lib/, { body: document('lib') })
    upstream.on(/^GET .*acme%2fa$/, { body: document('@acme/a') })
  }
  if (answer === 'not at all') await Promise.all(made.map(each => each.close()))
  return made
}

const told = async ({ proxy, log, metrics }: Awaited<ReturnType<typeof open>>) => {
  const audit: string[] = []
  await proxy.gate.idle()
  for await (const entry of proxy.store.audit.read()) audit.push(JSON.stringify(entry))
  await proxy.gate.idle()
  return {
    log: log(),
    metrics: (await metrics.text()).text,
    audit: audit.join('\n'),
    store: await kept(proxy),
  }
}

/** The upstream that has accounts; `%url%` is its address. */
const forwarding = (url: string) => [
  `acme: { url: "${url}", registryKeys: none, packages: ['@acme/*'], retries: 0, passThrough: write, clientCredentials: forward }`,
]
const keeping = (url: string) => [
  `acme: { url: "${url}", registryKeys: none, packages: ['@acme/*'], retries: 0, passThrough: write }`,
]

for (const answer of ['well', 'badly', 'not at all'] as const)
  t.test(`upstreams that answer ${answer}`, async t => {
    for (const [name, to, allowed] of [
      // the body of a package that is published is what the settings let through
      ['credentials forwarded to nobody', keeping, ['publish']],
      [
        'credentials forwarded to one',
        forwarding,
        ['bearer', 'basic', 'otp', 'key', 'logout', 'login', 'session', 'publish'],
      ],
    ] as const)
      await t.test(name, async t => {
        const [first, acme] = await recorders(t, answer)
        if (!first || !acme) return
        const opened = await open(t, [first, acme], { upstreams: to(acme.url) })
        const answers: string[] = []
        for (const headers of [bearer, basic])
          for (const request of requests)
            answers.push(await send(opened.proxy, request, headers))
        t.same(found(answers.join('\n')), [], 'in no answer')
        t.same(found(first.transcript()), [], 'not at the upstream they are not for')
        const there = answer === 'not at all' ? [] : found(acme.transcript()).toSorted()
        const wanted = answer === 'not at all' ? [] : allowed.toSorted()
        t.same(there, wanted, 'at the other what the settings let through, and no more')
        if (answer !== 'not at all') t.ok(first.seen.length > 3, 'it was asked, without them')
        for (const [where, text] of Object.entries(await told(opened))) {
          t.same(found(text), [], `not in ${where}`)
          t.ok(text.length > 0 || where === 'audit', where)
        }
      })
  })

t.test('a token of ours goes nowhere, with any settings', async t => {
  const [first, acme] = await recorders(t, 'well')
  if (!first || !acme) return
  for (const mode of ['anonymous', 'tokens']) {
    const opened = await open(t, [first, acme], {
      upstreams: forwarding(acme.url),
      settings: `access: ${mode}`,
    })
    const { proxy } = opened
    const { token } = await openTokens(proxy.store.records, () => new Date()).create({
      name: 'ci',
    })
    const answers: string[] = []
    for (const authorization of [`Bearer ${token}`, `Basic ${base64(`any:${token}`)}`])
      for (const request of requests)
        answers.push(await send(proxy, request, { authorization }))
    const all = { ...(await told(opened)), first: first.transcript(), acme: acme.transcript() }
    for (const [where, text] of Object.entries({ ...all, answers: answers.join('\n') }))
      for (const form of [token, base64(`any:${token}`)])
        t.notOk(text.includes(form), `${mode}: not in ${where}`)
    t.match(all.audit, '"name":"ci"', 'but whose it is, is on record')
  }
})
