/** Locks, group commit and the way to the disk, below the level of a store. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { openBlobIndex } from '../../lib/store/blob-index.ts'
import { openDatabase } from '../../lib/store/database.ts'
import { openGroupWriter } from '../../lib/store/group-writer.ts'
import { syncBarrier } from '../../lib/store/wal-sync.ts'
import { MiB, codeOf } from '../contract/tools.ts'

const root = t.testdir({})
const space = () => join(root, randomBytes(6).toString('hex'))

const failure = (code: string): Error =>
  Object.assign(new Error(`${code}: simulated`), { code })

t.test('a blob used since it was chosen for eviction stays', async t => {
  const path = space()
  mkdirSync(path)
  const now = () => new Date()
  const file = join(path, 'db')
  const database = await openDatabase(file, { closed: false }, { now, log: () => undefined })
  t.teardown(() => database.close())
  const index = await openBlobIndex(database, now)
  const hex = randomBytes(64).toString('hex')
  await index.put(hex, 10)
  const [chosen] = await index.oldest()
  await index.put(hex, 10)
  t.equal(await index.forget(hex, chosen?.used), false)
  t.ok(await index.get(hex))
  t.equal(await index.total(), 10)
  const [again] = await index.oldest()
  t.equal(await index.forget(hex, again?.used), true)
  t.equal(await index.total(), 0)
})

t.test('a database that another process keeps locked', async t => {
  const path = space()
  mkdirSync(path)
  const file = join(path, 'db')
  const lifetime = { closed: false }
  const database = await openDatabase(file, lifetime, {
    now: () => new Date(),
    log: () => undefined,
    patience: 1000,
  })
  t.teardown(() => database.close())
  const writer = openGroupWriter(database, lifetime)
  const insert = database.prepare("INSERT INTO records VALUES ('c', ?, '1')")
  const other = new DatabaseSync(file)
  t.teardown(() => other.close())

  other.exec('BEGIN IMMEDIATE')
  let turns = 0
  const ticking = setInterval(() => (turns += 1), 5)
  const written = writer.write(1, () => insert.run('waits'))
  await pause(100)
  other.exec('COMMIT')
  await written
  t.ok(turns > 3, 'the thread was free meanwhile')

  other.exec('BEGIN IMMEDIATE')
  const codes = await Promise.all(
    [1, 2].map(n => codeOf(() => writer.write(1, () => insert.run(`${n}`)))),
  )
  t.same(codes, ['ESTORE', 'ESTORE'])
  other.exec('COMMIT')
  clearInterval(ticking)
  await writer.write(1, () => insert.run('after'))
  const keys = other.prepare('SELECT key FROM records ORDER BY key').all()
  t.same(
    keys.map(({ key }) => key),
    ['after', 'waits'],
  )
})

t.test('group commit', async t => {
  const path = space()
  mkdirSync(path)
  const lifetime = { closed: false }
  const database = await openDatabase(join(path, 'db'), lifetime, {
    now: () => new Date(),
    log: () => undefined,
  })
  t.teardown(() => database.close())
  const writer = openGroupWriter(database, lifetime)
  const insert = database.prepare("INSERT INTO records VALUES ('c', ?, '1')")
  const count = database.prepare('SELECT count(*) AS n FROM records')
  const writes = [1, 2, 3].map(n => writer.write(1, () => insert.run(`${n}`)))
  t.equal(count.get()?.['n'], 0)
  await Promise.race(writes)
  t.equal(count.get()?.['n'], 3, 'written together')
  await Promise.all(writes)

  const outcomes = await Promise.allSettled([
    writer.write(1, () => insert.run('4')),
    writer.write(1, () => {
      throw new Error('no')
    }),
    writer.write(1, () => insert.run('5')),
  ])
  t.same(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled'],
    'a failed batch is undone whole; those after it are another',
  )
  t.equal(count.get()?.['n'], 4)

  const order: string[] = []
  const slow = openGroupWriter(
    {
      ...database,
      settled: async () => {
        await pause(5)
        order.push('on the disk')
      },
    },
    lifetime,
  )
  await slow.write(1, () => insert.run('slow')).then(() => order.push('told'))
  t.same(order, ['on the disk', 'told'])
  const unsure = openGroupWriter(
    { ...database, settled: () => Promise.reject(failure('EIO')) },
    lifetime,
  )
  await t.rejects(
    unsure.write(1, () => insert.run('unsure')),
    { code: 'EIO' },
  )

  const huge = 100 * MiB
  const many = await Promise.all(
    [1, 2].map(n => codeOf(() => writer.write(huge, () => insert.run(`huge${n}`)))),
  )
  t.same(many, [undefined, 'ESTORE'], 'what waits is bounded')
  await writer.write(huge, () => insert.run('room again'))
})

t.test('group commit: what need not last, and pauses where many write', async t => {
  const lifetime = { closed: false }
  const sizes: number[] = []
  let syncs = 0
  const writer = openGroupWriter(
    {
      prepare: () => t.fail(),
      read: () => t.fail(),
      write: () => t.fail(),
      transaction: async <T>(_doing: string, _bytes: number, work: () => T) => {
        sizes.push(0)
        return work()
      },
      wrote: () => undefined,
      settled: async () => void (syncs += 1),
      close: () => Promise.resolve(),
    } as unknown as Parameters<typeof openGroupWriter>[0],
    lifetime,
  )
  const note = () => {
    const last = sizes.pop() ?? 0
    sizes.push(last + 1)
    return last + 1
  }
  t.equal(await writer.writeAlong(1, note), 1, 'alone, a little later')
  t.same([sizes, syncs], [[1], 0], 'and not synced')

  const order: string[] = []
  await Promise.all([
    writer.writeAlong(1, note).then(() => order.push('along')),
    writer.write(1, note).then(() => order.push('lasting')),
  ])
  t.same([sizes, syncs, order], [[1, 2], 1, ['along', 'lasting']], 'with the next batch')

  sizes.length = 0
  const crowd = async (count: number, each: number) => {
    const one = async () => {
      for (let i = 0; i < each; i++) await writer.write(1, note)
    }
    await Promise.all(Array.from({ length: count }, one))
  }
  const begun = performance.now()
  await crowd(1, 20)
  t.equal(sizes.length, 20, 'whoever writes alone waits for nobody')
  const alone = performance.now() - begun
  await crowd(5, 5)
  t.ok(performance.now() - begun - alone > 20, 'five keep their distance')
  const many = performance.now()
  await crowd(16, 100)
  t.ok(performance.now() - many < 700, 'enough of them do not wait for more')

  const last = writer.writeAlong(1, note)
  lifetime.closed = true
  await writer.drained()
  t.ok(await last, 'and nothing is left behind')
  t.equal(await codeOf(() => writer.writeAlong(1, note)), 'ESTORE')
})

t.test('the barrier: calls share syncs, never one that began before them', async t => {
  let syncs = 0
  let end: (error?: Error) => void = () => undefined
  const settled = syncBarrier({
    datasync: () =>
      new Promise<void>((resolve, reject) => {
        syncs += 1
        end = error => (error ? reject(error) : resolve())
      }),
  })
  const first = settled()
  const later = [settled(), settled()]
  t.equal(syncs, 1)
  end()
  await first
  await pause(1)
  t.equal(syncs, 2)
  let done = false
  const all = Promise.all(later).then(() => (done = true))
  await pause(1)
  t.equal(done, false)
  end()
  await all
  const failing = settled()
  const next = settled()
  end(failure('EIO'))
  await t.rejects(failing, { code: 'EIO' })
  await pause(1)
  end()
  await next
  t.equal(syncs, 4)
})
