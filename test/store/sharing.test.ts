/** What processes that share an embedded store tell each other, and what they leave to one of them. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import type { Test } from 'tap'
import { openLocalStore } from '../../lib/store/local.ts'
import { eventually } from '../contract/tools.ts'

const root = t.testdir({})
const space = () => join(root, randomBytes(6).toString('hex'))

const openAt = async (t: Test, path: string) => {
  const store = await openLocalStore({ path })
  t.teardown(() => store.close())
  return store
}

const rawDatabase = (t: Test, path: string) => {
  const database = new DatabaseSync(join(path, 'store.sqlite'), { timeout: 5000 })
  t.teardown(() => database.close())
  return database
}

t.test('a process that is killed holds nothing any more', async t => {
  const path = space()
  const store = await openAt(t, path)
  const heard: unknown[] = []
  store.changes.subscribe(news => heard.push(news))
  const holder = spawn(process.execPath, [
    join(import.meta.dirname, 'lease-holder.ts'),
    path,
    'k',
  ])
  t.teardown(() => holder.kill('SIGKILL'))
  await once(holder.stdout, 'data')
  const work = async () => 'ours'
  t.same(await store.leases.run('k', work, { wait: 300 }), { ran: false })
  const exited = once(holder, 'exit')
  holder.kill('SIGKILL')
  await exited
  const started = performance.now()
  t.same(await store.leases.run('k', work, { wait: 30_000 }), { ran: true, value: 'ours' })
  t.ok(performance.now() - started < 10_000, 'long before it expires')
  t.ok(await eventually(() => heard.length > 0))
  t.same(heard, [{ topic: 'package', key: 'from another process' }])
})

t.test('a holder in another container counts until its lease expires', async t => {
  const path = space()
  const store = await openAt(t, path)
  const raw = rawDatabase(t, path)
  const insert = raw.prepare('INSERT INTO leases VALUES (?, ?, ?)')
  insert.run('alive', '999-1-abc', Date.now() + 60_000)
  insert.run('expired', '999-1-abc', Date.now() - 1)
  const work = async () => 1
  t.same(await store.leases.run('alive', work, { wait: 200 }), { ran: false })
  t.same(await store.leases.run('expired', work, { wait: 0 }), { ran: true, value: 1 })
  t.same(
    raw
      .prepare('SELECT key FROM leases')
      .all()
      .map(row => row['key']),
    ['alive'],
  )
})

t.test('a lease is renewed while its work takes long', async t => {
  const path = space()
  const store = await openAt(t, path)
  const raw = rawDatabase(t, path)
  const expires = () =>
    Number(raw.prepare('SELECT expires FROM leases').get()?.['expires'] ?? 0)
  let renewed = false
  await store.leases.run(
    'k',
    async () => {
      const first = expires()
      renewed = await eventually(() => expires() > first)
    },
    { wait: 0 },
  )
  t.ok(renewed)
  t.equal(expires(), 0)
})

t.test('a reader that missed a change is told to resync', async t => {
  const path = space()
  const store = await openAt(t, path)
  const heard: unknown[] = []
  store.changes.subscribe(news => heard.push(news))
  const raw = rawDatabase(t, path)
  raw.exec(`BEGIN IMMEDIATE;
    INSERT INTO changes (origin, topic, key) VALUES ('x', 'evidence', 'lost'), ('x', 'evidence', 'kept');
    DELETE FROM changes WHERE key = 'lost';
    COMMIT`)
  t.ok(await eventually(() => heard.length > 1))
  t.same(heard, ['resync', { topic: 'evidence', key: 'kept' }])
})

t.test('old changes are forgotten', async t => {
  const path = space()
  const store = await openAt(t, path)
  const publish = (index: number) =>
    store.changes.publish({ topic: 'package', key: `p${index}` })
  await Promise.all(Array.from({ length: 11_000 }, (_, index) => publish(index)))
  const rows = rawDatabase(t, path).prepare(
    'SELECT count(*) AS n, max(seq) AS last FROM changes',
  )
  const { n, last } = rows.get() ?? {}
  t.equal(last, 11_000)
  t.ok(Number(n) <= 10_500, `${Number(n)} rows`)
})
