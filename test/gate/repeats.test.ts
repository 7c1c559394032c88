/** Remembered verdicts given again: what is gathered, when it is written, and that nothing is lost. */
import t, { type Test } from 'tap'
import { openRepeats, type RepeatsOptions } from '../../lib/gate/repeats.ts'
import type { AuditEntry, RecordedVerdict } from '../../lib/types.ts'
import { auditEntry, eventually } from '../contract/tools.ts'

const HOUR = 3_600_000
const start = Date.parse('2026-06-01T00:00:00Z')
const iso = (seconds: number) => new Date(start + seconds * 1000).toISOString()

const verdictOn = (name: string): RecordedVerdict => {
  const { at: _at, client: _client, ...verdict } = auditEntry(name)
  return { ...verdict, fresh: false }
}
const app = verdictOn('app')
const one = { address: '10.0.0.1', agent: 'npm/12' }

/** A clock that the test moves, by seconds. */
const open = (t: Test, options: Partial<RepeatsOptions> = {}) => {
  const written: AuditEntry[] = []
  const errors: unknown[] = []
  let seconds = 0
  const repeats = openRepeats({
    audit: { append: async entry => void written.push(entry) },
    window: HOUR,
    now: () => new Date(start + seconds * 1000),
    observer: { onError: (_, error) => void errors.push(error) },
    ...options,
  })
  t.teardown(repeats.close)
  return {
    repeats,
    written,
    errors,
    at: (now: number) => (seconds = now),
    total: () => written.reduce((sum, { times = 1 }) => sum + times, 0),
  }
}

t.test('the first is written at once, the others together', async t => {
  const { repeats, written, at } = open(t)
  for (const now of [1, 2, 3, 5]) {
    at(now)
    // each request has a client of its own, whatever it says
    repeats.add(app, { ...one })
  }
  await repeats.written()
  t.same(written, [{ at: iso(1), client: one, ...app }], 'as an entry always was')
  await repeats.close()
  t.same(written.slice(1), [{ at: iso(2), last: iso(5), times: 3, client: one, ...app }])
  repeats.add(app, one)
  repeats.add(app, one)
  await repeats.written()
  t.equal(written.length, 4, 'once closed, each by itself')
})

t.test('only what is the same is gathered', async t => {
  const { repeats, written } = open(t)
  const clients = [
    one,
    { ...one, address: '10.0.0.2' },
    { ...one, agent: 'npm/11' },
    { ...one, name: 'ci' },
    { ...one, view: 'mobile' },
    { address: '10.0.0.1' },
  ]
  // an equal verdict that is another object was judged anew
  const verdicts = [app, verdictOn('app'), verdictOn('lib')]
  for (let round = 0; round < 2; round++)
    for (const client of clients) for (const verdict of verdicts) repeats.add(verdict, client)
  await repeats.written()
  t.equal(written.length, clients.length * verdicts.length)
  await repeats.close()
  t.equal(written.length, 2 * clients.length * verdicts.length)
  t.notOk(
    written.some(entry => 'times' in entry || 'last' in entry),
    'one alone needs no count',
  )
})

t.test('with a window of nothing each is written by itself', async t => {
  const { repeats, written } = open(t, { window: 0 })
  for (let i = 0; i < 5; i++) repeats.add(app, one)
  t.ok(await eventually(() => written.length === 5), 'within milliseconds')
})

t.test('who goes on asking has an entry for each window, and a pause begins anew', async t => {
  const window = 40
  const { repeats, written, total } = open(t, { window, now: () => new Date() })
  let given = 0
  const begun = performance.now()
  const asking = setInterval(() => {
    repeats.add(app, one)
    given++
  }, 1)
  await eventually(() => written.length >= 4)
  clearInterval(asking)
  const windows = Math.ceil((performance.now() - begun) / window)
  t.ok(written.length <= windows + 1, `${written.length} entries in ${windows} windows`)
  t.ok(await eventually(() => total() === given), 'the last window ends by itself')
  for (const [index, { at, last = at }] of written.entries()) {
    t.ok(at <= last)
    t.ok(index === 0 || at >= (written[index - 1]?.last ?? ''), 'one after the other')
  }
  const before = written.length
  // a window without any closes the gathering
  await new Promise(done => setTimeout(done, 5 * window))
  repeats.add(app, one)
  await repeats.written()
  t.equal(written.length, before + 1, 'and the next is written at once')
})

t.test('memory is bounded: the oldest gathering is ended early', async t => {
  const { repeats, written, total } = open(t, { max: 10 })
  const verdicts = Array.from({ length: 1000 }, (_, n) => verdictOn(`p${n}`))
  for (const verdict of verdicts) for (let i = 0; i < 3; i++) repeats.add(verdict, one)
  await repeats.written()
  t.ok(total() >= 3 * (verdicts.length - 10), `${total()} are written, ten are open`)
  for (const verdict of verdicts) repeats.add(verdict, one)
  await repeats.close()
  t.equal(total(), 4 * verdicts.length)
  t.same(new Set(written.map(entry => entry.package.name)).size, verdicts.length)
})

t.test('what could not be written is counted again', async t => {
  const written: AuditEntry[] = []
  let down = true
  const append = async (entry: AuditEntry) => {
    if (down) throw new Error('the disk is full')
    written.push(entry)
  }
  const { repeats, errors, at } = open(t, { audit: { append }, window: 30 })
  for (let now = 1; now <= 10; now++) {
    at(now)
    repeats.add(app, one)
  }
  t.ok(await eventually(() => errors.length >= 3), 'each failure is told')
  t.same(written, [])
  down = false
  t.ok(await eventually(() => written.length === 1))
  t.match(written[0], { at: iso(1), last: iso(10), times: 10 })
  down = true
  repeats.add(app, one)
  await repeats.close()
  t.ok(errors.length >= 4, 'at the end it is told, and does not hang')
})

t.test('closing waits for what is being written', async t => {
  let finish: () => void = () => undefined
  const slow = new Promise<void>(done => (finish = done))
  const { repeats } = open(t, { audit: { append: () => slow } })
  repeats.add(app, one)
  let closed = false
  const closing = repeats.close().then(() => (closed = true))
  await new Promise(done => setTimeout(done, 20))
  t.notOk(closed)
  finish()
  await closing
})
