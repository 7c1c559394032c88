import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { Registry } from '../../lib/observe/prom-client.ts'
import t from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { logEvent, observe } from '../../lib/observe/events.ts'
import { openLog, type LogOptions } from '../../lib/observe/log.ts'
import { openMetrics } from '../../lib/observe/metrics.ts'
import { prettyLine } from '../../lib/observe/pretty.ts'
import { hidden, scrub } from '../../lib/observe/scrub.ts'
import { observeTrust, type TrustSeen } from '../../lib/observe/trust-events.ts'
import type { AuditEntry } from '../../lib/types.ts'

const sink = (options: Partial<LogOptions> & { isTTY?: boolean } = {}) => {
  const written: string[] = []
  const stream = Object.assign(
    new Writable({
      write(chunk: Buffer, _, done) {
        written.push(chunk.toString())
        done()
      },
    }),
    { isTTY: options.isTTY === true },
  )
  const log = openLog({ level: 'trace', format: 'json', ...options, stream })
  const lines = () => written.join('').trimEnd().split('\n')
  const objects = () => lines().map(line => JSON.parse(line) as Record<string, unknown>)
  return { log, lines, objects, text: () => written.join('') }
}

const token = `npm_${'aB3'.repeat(12)}`
const secrets: Record<string, object | string> = {
  'an authorization header': { headers: { authorization: 'Bearer hunter2hunter2' } },
  'in capitals': { req: { headers: { Authorization: 'Basic aHVudGVyMg==' } } },
  'deep down': { a: { b: { c: { d: { token: 'hunter2' } } } } },
  'with quotes in it': { password: 'hunt"er2\\"hunter2' },
  'raw headers': { raw: ['authorization', 'Bearer hunter2hunter2'] },
  'JSON in a string': { body: JSON.stringify({ token: 'hunter2', x: 1 }) },
  'JSON in JSON in a string': {
    body: JSON.stringify({ b: JSON.stringify({ otp: 'hunter2' }) }),
  },
  'a line of .npmrc': '//registry.example/:_authToken=hunter2',
  'a password in a URL': 'GET https://me:hunter2@registry.example/x failed',
  'the address of a logout': 'DELETE /-/user/token/hunter2',
  'a signed URL': 'GET https://cdn.example/x?X-Amz-Signature=hunter2&b=1',
  "npm's token by its form": `sent ${token} along`,
  'a web token': 'got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.aHVudGVyMg',
  'a GitHub token': `ghp_${'x1'.repeat(18)}`,
}
const leak = /hunt"?er2|hunt\\+"er2|aHVudGVyMg|npm_a|ghp_x|eyJzdWIi|me:/

t.test('no secret is written, in either format', async t => {
  for (const format of ['json', 'pretty'] as const) {
    for (const [what, secret] of Object.entries(secrets)) {
      const { log, text } = sink({ format })
      if (typeof secret === 'string') log.info(secret)
      else log.info(secret, 'message')
      log.error(new Error(JSON.stringify(secret)), 'as an error')
      log.error({ err: new AttestryError('EUPSTREAM', 'x', { details: { secret } }) })
      t.notMatch(text(), leak, `${format}: ${what}`)
      t.match(text(), hidden, `${format}: ${what} is seen to be hidden`)
    }
  }
})

t.test('what is no secret stays', async t => {
  for (const harmless of [
    'GET /-/user/org.couchdb.user:me',
    '{"tokenSubject":"repo:acme/x","keyid":"SHA256:abc","signature":"MEUCIQ"}',
    'https://registry.example/@scope%2fname',
    'sha512-eyJoZWxsbyI=',
    'npm_config_registry',
    'basic checks',
  ])
    t.equal(scrub(harmless), harmless)
  const line = sink()
  line.log.info({ token: 'a"b', next: 'kept' }, 'm')
  t.match(line.objects(), [{ token: hidden, next: 'kept' }], 'a line stays JSON')
})

t.test('scrubbing is quick on hostile text', async t => {
  for (const text of ['\\'.repeat(50_000), 'eyJ-'.repeat(10_000), 'http://'.repeat(10_000)])
    t.equal(scrub(text).length, text.length)
})

t.test('json: one object a line, levels by name, UTC times', async t => {
  const { log, objects, lines } = sink({ level: 'info' })
  log.debug('not written')
  log.info({ package: 'a@1.0.0' }, 'hello')
  log.warn({ err: new AttestryError('ELOOP', 'round and round') }, 'two\nlines')
  t.equal(lines().length, 2)
  t.match(objects(), [
    { level: 'info', msg: 'hello', package: 'a@1.0.0', time: /^\d{4}-\d\d-\d\dT.*Z$/ },
    { level: 'warn', err: { code: 'ELOOP', message: 'round and round', stack: /ELOOP|round/ } },
  ])
  t.notOk('pid' in (objects()[0] ?? {}))
})

t.test('auto is pretty on a terminal and json elsewhere', async t => {
  const elsewhere = sink({ format: 'auto' })
  elsewhere.log.info('x')
  t.match(elsewhere.objects(), [{ msg: 'x' }])
  const terminal = sink({ format: 'auto', isTTY: true, color: true })
  terminal.log.warn({ a: 'b c', n: 3 }, 'x')
  t.not(terminal.text(), stripVTControlCharacters(terminal.text()), 'coloured')
  t.match(
    stripVTControlCharacters(terminal.text()),
    /^\d\d:\d\d:\d\d\.\d{3} warn  x a="b c" n=3\n$/,
  )
  const plain = sink({ format: 'pretty' })
  plain.log.info('x')
  t.equal(plain.text(), stripVTControlCharacters(plain.text()), 'no colours off the terminal')
})

t.test('pretty: clients cannot steer the terminal or fake a line', async t => {
  const hostile = '\u001b[2J\u009b1m\r\n12:00:00 error fake\u202e'
  const { log, text } = sink({ format: 'pretty' })
  log.info({ agent: hostile, [hostile]: 1 }, hostile)
  log.error({ err: { message: hostile } }, 'x')
  log.error({ err: hostile }, 'x')
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  t.notMatch(text(), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  t.equal(
    text()
      .split('\n')
      .filter(line => line.startsWith('12:00:00')).length,
    0,
  )
  t.equal(prettyLine('not json \u0007\n', false), 'not json \\u0007\n')
})

t.test('pretty: what is said on several lines stands below, indented', async t => {
  const { log, text } = sink({ format: 'pretty' })
  log.error({ code: 'EPOLICY' }, 'refused:\np.yaml:1:1: a\np.yaml:2:1: b')
  t.match(
    text(),
    /^[\d:.]+ error refused: code=EPOLICY\n {4}p\.yaml:1:1: a\n {4}p\.yaml:2:1: b\n$/,
  )
})

t.test('pretty: an error has its stack below', async t => {
  const { log, lines } = sink({ format: 'pretty' })
  log.error({ err: new Error('broken') }, 'it failed')
  t.match(lines()[0], /error it failed$/)
  t.match(lines()[1], /^ {4}Error: broken/)
  t.match(lines()[2], /^ {8}at /)
})

t.test('a stream that has ended does not stop the log', async t => {
  const stream = new Writable({ write: (_c, _e, done) => done() })
  const log = openLog({ level: 'info', format: 'json', stream })
  stream.destroy(new Error('EPIPE'))
  await new Promise(done => setImmediate(done))
  t.doesNotThrow(() => log.info('nobody reads this'))
})

const entry: AuditEntry = {
  at: '2026-01-01T00:00:00.000Z',
  client: { address: '127.0.0.1' },
  package: { name: 'a', version: '1.0.0' },
  decision: 'refuse',
  rule: 'baseline#defaults',
  reasons: [
    { code: 'UNSIGNED', message: 'no signature' },
    { code: 'UNSIGNED', message: 'nor there' },
    { code: 'TOO_NEW', message: 'an hour old' },
  ],
  policyDigest: 'x',
  fresh: true,
}

const happen = (observer: ReturnType<typeof observe>) => {
  const client = { address: '127.0.0.1', agent: 'npm/12' }
  observer.onRequest({
    method: 'GET',
    route: 'packument',
    status: 200,
    duration: 12.34,
    client,
  })
  observer.onRequest({ method: 'BREW', route: 'unknown', status: 503, duration: 1, client })
  observer.onVerdict(entry, entry.client)
  observer.onVerdict({ ...entry, decision: 'allow', reasons: [], fresh: false }, client)
  const call = { upstream: 'npm', request: 'tarball', milliseconds: 5 }
  observer.onUpstream({ ...call, outcome: 'found', attempts: 3 })
  observer.onUpstream({ ...call, outcome: 'EUPSTREAM', attempts: 1 })
  observer.onExamined(20)
  observer.onStale('a', 'npm', new Error('down'))
  observer.onStripping('npm')
  const late = { package: { name: 'a', version: '1.1.0' }, tag: 'latest' }
  const lost = { code: 'DOWNGRADED', message: 'it was there' } as const
  const young = { code: 'TOO_NEW', message: 'a day' } as const
  observer.onWithheld({ ...late, instead: '1.0.0', reasons: [lost, young] })
  observer.onWithheld({ ...late, view: 'web', reasons: [young] })
  observer.onStoreEvent({ event: 'blob-damaged' })
  observer.onError('writing the audit log', new AttestryError('ESTORE', 'disk full'))
  observer.onError('answering', new TypeError('x is not a function'))
}

t.test('events: what happened is logged at its level', async t => {
  const { log, objects } = sink()
  happen(observe({ log }))
  t.match(objects(), [
    { level: 'debug', event: 'request', status: 200, milliseconds: 12.3, agent: 'npm/12' },
    { level: 'warn', event: 'request', status: 503 },
    { level: 'warn', event: 'verdict', package: 'a@1.0.0', msg: /UNSIGNED, TOO_NEW/ },
    { level: 'debug', event: 'verdict', decision: 'allow' },
    { level: 'debug', event: 'upstream', outcome: 'found' },
    { level: 'warn', event: 'upstream', outcome: 'EUPSTREAM' },
    { level: 'warn', event: 'stale', cause: 'down' },
    { level: 'warn', event: 'stripping', upstream: 'npm' },
    {
      level: 'warn',
      event: 'withheld',
      package: 'a@1.1.0',
      tag: 'latest',
      instead: '1.0.0',
      reasons: ['DOWNGRADED: it was there', 'TOO_NEW: a day'],
      msg: 'a@1.1.0 is not shown, and latest goes with 1.0.0 in its place: DOWNGRADED, TOO_NEW',
    },
    {
      level: 'info',
      event: 'withheld',
      view: 'web',
      msg: /in view web, and latest goes without it/,
    },
    { level: 'error', event: 'store-blob-damaged' },
    { level: 'error', event: 'error', code: 'ESTORE' },
    { level: 'error', event: 'error', err: { type: 'TypeError' } },
  ])
  const observed = sink()
  observe({ log: observed.log }).onVerdict({ ...entry, decision: 'allow' }, entry.client)
  t.match(observed.objects(), [{ level: 'warn', msg: /observe mode/ }])
  const one = sink()
  logEvent(one.log, { level: 'fatal', event: 'e', message: 'm', fields: { a: 1 } })
  t.match(one.objects(), [{ level: 'fatal', event: 'e', msg: 'm', a: 1 }])
})

t.test('metrics: what happened is counted', async t => {
  const registry = new Registry()
  const metrics = openMetrics({ registry, version: '1.2.3' })
  t.teardown(() => metrics.close())
  happen(observe({ log: sink().log, metrics }))
  metrics.cache('packument', true)
  metrics.cache('packument', false)
  const { type, text } = await metrics.text()
  t.match(type, /^text\/plain/)
  const value = (series: string) =>
    text
      .split('\n')
      .find(line => line.startsWith(`${series} `))
      ?.slice(series.length + 1)
  const counts: Record<string, string> = {
    'attestry_requests_total{route="packument",method="GET",status="200"}': '1',
    'attestry_requests_total{route="unknown",method="other",status="503"}': '1',
    'attestry_request_duration_seconds_sum{route="packument"}': '0.01234',
    'attestry_verdicts_total{decision="refuse"}': '1',
    'attestry_verdict_reasons_total{decision="refuse",code="UNSIGNED"}': '1',
    'attestry_verdict_reasons_total{decision="refuse",code="TOO_NEW"}': '1',
    'attestry_cache_total{cache="verdict",result="hit"}': '1',
    'attestry_cache_total{cache="verdict",result="miss"}': '1',
    'attestry_cache_total{cache="packument",result="hit"}': '1',
    'attestry_upstream_requests_total{upstream="npm",request="tarball",outcome="found"}': '1',
    'attestry_upstream_requests_total{upstream="npm",request="tarball",outcome="EUPSTREAM"}':
      '1',
    'attestry_upstream_retries_total{upstream="npm"}': '2',
    attestry_verification_duration_seconds_count: '1',
    'attestry_stale_total{upstream="npm"}': '1',
    'attestry_withheld_total{code="DOWNGRADED"}': '1',
    'attestry_withheld_total{code="TOO_NEW"}': '2',
    'attestry_store_events_total{event="blob-damaged"}': '1',
    'attestry_errors_total{code="ESTORE"}': '1',
    'attestry_errors_total{code="EINTERNAL"}': '1',
    'attestry_info{version="1.2.3"}': '1',
  }
  for (const [series, wanted] of Object.entries(counts)) t.equal(value(series), wanted, series)
  t.ok(Number(value('process_resident_memory_bytes')) > 0)
  t.notMatch(text, /a@1\.0\.0|127\.0\.0\.1/, 'no packages and no addresses')

  const request = { route: 'packument', status: 200, duration: 1 }
  const again = async () =>
    ['GET', 'HEAD']
      .map(
        method => `attestry_requests_total{route="packument",method="${method}",status="200"}`,
      )
      .map(series => new RegExp(`^${RegExp.escape(series)} (\\d+)$`, 'm'))
      .map(async series => Number(series.exec((await metrics.text()).text)?.[1] ?? 0))
  for (let i = 0; i < 3; i++) metrics.request({ ...request, method: 'GET' })
  metrics.request({ ...request, method: 'HEAD' })
  t.same(await Promise.all(await again()), [4, 1])
  metrics.request({ ...request, method: 'GET' })
  t.same(
    await Promise.all(await again()),
    [5, 1],
    'each is counted once, however often it is read',
  )
})

t.test('metrics: the event loop is watched, and two servers do not share', async t => {
  const metrics = openMetrics({ registry: new Registry(), version: '1' })
  const other = openMetrics({ registry: new Registry(), version: '2' })
  t.teardown(() => [metrics, other].forEach(m => m.close()))
  metrics.stale('npm')
  t.notMatch((await other.text()).text, /attestry_stale_total\{/)
  const worst = async () =>
    Number(/delay_seconds\{quantile="1"\} (.+)/.exec((await metrics.text()).text)?.[1])
  await worst()
  await new Promise(done => setTimeout(done, 30))
  const end = performance.now() + 150
  while (performance.now() < end);
  await new Promise(done => setTimeout(done, 30))
  t.ok((await worst()) > 0.05, 'a blocked loop shows')
})

t.test('what trust rests on', async t => {
  const { log, objects } = sink()
  const registry = new Registry()
  const { onStatus, onTrust, onRefresh } = observeTrust({ log, registry })
  const seen = (...warnings: TrustSeen['warnings']): TrustSeen => ({
    sources: [
      {
        name: 'public-good',
        metadata: { root: { expires: '2027-01-01T00:00:00.000Z' } },
        ...(warnings.length > 0 && { failure: {} }),
      },
    ],
    upstreams: [{ upstream: 'npm', digest: 'abc' }],
    warnings,
  })
  const source = 'public-good'
  const failed = { source, kind: 'failed', message: 'no answer' } as const
  const refused = { source: 'keys', kind: 'refused', message: 'rollback' } as const
  const expiring = { source, kind: 'expiring', message: 'root ends' } as const
  onStatus(seen())
  onStatus(seen(failed, refused, expiring))
  onStatus(seen(failed, refused, expiring))
  onTrust({ upstream: 'npm', material: { digest: 'def', sources: ['a.json'] } })
  onRefresh(source, 'failed')
  t.match(await registry.metrics(), 'attestry_trust_failing{source="public-good"} 1')
  onStatus(seen(expiring))
  t.match(
    objects().map(({ event, level }) => `${level as string} ${event as string}`),
    [
      'warn trust-failed',
      'error trust-refused',
      'warn trust-expiring',
      'info trust-adopted',
      'debug trust-refresh',
      'info trust-restored',
      'info trust-restored',
    ],
    'each once',
  )
  const text = await registry.metrics()
  for (const line of [
    'attestry_trust_info{upstream="npm",digest="abc"} 1',
    'attestry_trust_failing{source="public-good"} 1',
    'attestry_trust_expires_timestamp_seconds{source="public-good",role="root"} 1798761600',
    'attestry_trust_warnings{kind="failed"} 0',
    'attestry_trust_warnings{kind="expiring"} 1',
    'attestry_trust_refreshes_total{outcome="failed"} 1',
  ])
    t.match(text, line)
})
