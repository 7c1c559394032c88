/** The contract, and what only the embedded store can be asked: its files and its tables. */
import { createHash, randomBytes } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { openBlobMemory } from '../../lib/store/blob-memory.ts'
import type { LocalStoreOptions } from '../../lib/store/local.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import { applicationId, migrations } from '../../lib/store/migrations.ts'
import type { StoreEvent } from '../../lib/store/store-event.ts'
import type { Integrity } from '../../lib/types.ts'
import { storeContract } from '../contract/store-contract.ts'
import {
  MiB,
  auditEntry,
  codeOf,
  eventually,
  integrityOf,
  keepBytes,
  listAll,
  readAll,
  rootNow,
  rootOfTexts,
  stageBytes,
} from '../contract/tools.ts'

const root = t.testdir({})
const space = () => join(root, randomBytes(6).toString('hex'))

await storeContract(t, ({ space = randomBytes(6).toString('hex'), maxBytes } = {}) =>
  openLocalStore({ path: join(root, space), ...(maxBytes === undefined ? {} : { maxBytes }) }),
)

const fileOf = (path: string, integrity: Integrity): string => {
  const hex = Buffer.from(integrity.slice(7), 'base64').toString('hex')
  return join(path, 'blobs', 'sha512', hex.slice(0, 2), hex.slice(2))
}

const exists = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined

/** Opens a store that is closed when the test ends, with what it told the log. */
const openAt = async (t: Test, path: string, options: Partial<LocalStoreOptions> = {}) => {
  const events: StoreEvent[] = []
  const store = await openLocalStore({ path, log: event => events.push(event), ...options })
  t.teardown(() => store.close())
  const heard = (name: string) => events.filter(({ event }) => event === name)
  return { store, ...store, events, heard }
}

/** A connection of our own to the store's database. */
const rawDatabase = (t: Test, path: string): DatabaseSync => {
  const database = new DatabaseSync(join(path, 'store.sqlite'), { timeout: 2000 })
  t.teardown(() => database.isOpen && database.close())
  return database
}

const sizes = [3000, 2 * MiB]

t.test('blobs on the disk', async t => {
  for (const memoryBlobMax of [0, 4000])
    t.test(`their place, in memory up to ${memoryBlobMax} bytes until then`, async t => {
      const path = space()
      const { blobs } = await openAt(t, path, { memoryBlobMax })
      const bytes = randomBytes(1000)
      const staged = await stageBytes(blobs, bytes)
      t.equal(readdirSync(join(path, 'tmp')).length, memoryBlobMax === 0 ? 1 : 0)
      t.notOk(exists(fileOf(path, integrityOf(bytes))))
      await staged.finish()
      await staged.commit()
      t.equal(readdirSync(join(path, 'tmp')).length, 0)
      t.ok(readFileSync(fileOf(path, integrityOf(bytes))).equals(bytes))
      const aborted = await stageBytes(blobs, bytes)
      await aborted.abort()
      t.equal(readdirSync(join(path, 'tmp')).length, 0)
      await blobs.delete(integrityOf(bytes))
      t.notOk(exists(fileOf(path, integrityOf(bytes))))
      t.equal(readdirSync(join(path, 'tmp')).length, 0)
      t.equal(statSync(path).mode & 0o077, 0, 'private')
    })

  t.test('one that grows out of memory while it comes is whole', async t => {
    const path = space()
    const { blobs } = await openAt(t, path, { memoryBlobMax: 4000 })
    const bytes = randomBytes(10_000)
    const staged = await stageBytes(blobs, bytes, 1500)
    t.equal(readdirSync(join(path, 'tmp')).length, 1)
    await staged.finish()
    await staged.commit()
    t.ok(readFileSync(fileOf(path, integrityOf(bytes))).equals(bytes))
    t.same(readdirSync(join(path, 'tmp')), [])
  })

  for (const size of sizes) {
    t.test(`${size} bytes, torn: missing, removed, and can come back`, async t => {
      const path = space()
      const before = await openLocalStore({ path })
      const bytes = randomBytes(size)
      const names = await Promise.all(
        [0, 1, 2].map(index => keepBytes(before.blobs, bytes.subarray(index))),
      )
      await before.close()
      for (const name of names) truncateSync(fileOf(path, name), size - 5)
      const { blobs, heard } = await openAt(t, path)
      const [one, two, three] = names as [Integrity, Integrity, Integrity]
      t.equal(await blobs.get(one), undefined)
      t.equal(await blobs.open(two), undefined)
      t.equal(await blobs.stat(three), undefined)
      for (const name of names) t.notOk(exists(fileOf(path, name)))
      t.equal(heard('blob-damaged').length, 3)
      t.equal(await blobs.size(), 0)
      await keepBytes(blobs, bytes)
      t.ok((await readAll(blobs, one))?.equals(bytes))
    })

    t.test(`${size} bytes, altered without a change of length: never served`, async t => {
      const path = space()
      const before = await openLocalStore({ path })
      const bytes = randomBytes(size)
      const names = await Promise.all(
        [0, 1].map(index => keepBytes(before.blobs, bytes.subarray(index))),
      )
      await before.close()
      const [one, two] = names as [Integrity, Integrity]
      writeFileSync(fileOf(path, one), randomBytes(size))
      writeFileSync(fileOf(path, two), randomBytes(size - 1))
      const { blobs, heard } = await openAt(t, path)
      t.equal(await blobs.get(one), undefined)
      t.equal(await blobs.open(two, { start: 0, end: 0 }), undefined, 'not even one byte')
      t.equal(heard('blob-damaged').length, 2)
      t.equal(await blobs.size(), 0)
    })
  }

  t.test('altered after it was proven: seen at the next open', async t => {
    const path = space()
    const { blobs, heard } = await openAt(t, path)
    const bytes = randomBytes(2 * MiB)
    const name = await keepBytes(blobs, bytes)
    t.ok((await readAll(blobs, name))?.equals(bytes))
    const { mtime, atime } = statSync(fileOf(path, name))
    writeFileSync(fileOf(path, name), randomBytes(bytes.length))
    utimesSync(fileOf(path, name), atime, mtime)
    t.equal(await blobs.open(name), undefined)
    t.equal(heard('blob-damaged').length, 1)
  })

  t.test('many first opens of one large blob at once', async t => {
    const path = space()
    const before = await openLocalStore({ path })
    const bytes = randomBytes(3 * MiB)
    const name = await keepBytes(before.blobs, bytes)
    await before.close()
    const { blobs } = await openAt(t, path)
    const all = await Promise.all(Array.from({ length: 6 }, () => readAll(blobs, name)))
    for (const found of all) t.ok(found?.equals(bytes))
  })

  t.test('files without a row and rows without a file are put right', async t => {
    const path = space()
    const before = await openLocalStore({ path })
    const bytes = [1000, 2 * MiB, 3000, 4000].map(size => randomBytes(size))
    const names = await Promise.all(bytes.map(each => keepBytes(before.blobs, each)))
    await before.close()
    const database = rawDatabase(t, path)
    database.exec('DELETE FROM blobs WHERE size <> 4000')
    database.close()
    const gone = fileOf(path, names[3] as Integrity)
    writeFileSync(`${gone}.other`, 'not a blob')
    truncateSync(gone, 0)
    const { blobs, store } = await openAt(t, path, {
      now: () => new Date(Date.now() + 3_600_000),
    })
    t.equal((await blobs.stat(names[1] as Integrity))?.size, 2 * MiB, 'adopted when asked for')
    t.ok((await blobs.get(names[0] as Integrity))?.equals(bytes[0] as Buffer))
    t.equal(await blobs.stat(names[3] as Integrity), undefined)
    await store.collect()
    t.equal(await blobs.size(), 1000 + 2 * MiB + 3000)
    t.ok(exists(`${gone}.other`), 'what is not ours is left alone')

    const raw = rawDatabase(t, path)
    raw.prepare('INSERT INTO blobs VALUES (?, 777, 5)').run(randomBytes(64))
    t.equal(await blobs.size(), 1777 + 2 * MiB + 3000)
    await store.collect()
    t.equal(await blobs.size(), 1000 + 2 * MiB + 3000)
  })

  t.test('a read never writes; uses are written together', async t => {
    const path = space()
    const { blobs, store } = await openAt(t, path, { maxBytes: 1000 })
    const names = await Promise.all([1, 2, 3].map(() => keepBytes(blobs, randomBytes(100))))
    const database = rawDatabase(t, path)
    const version = () => database.prepare('PRAGMA data_version').get()?.['data_version']
    const order = () =>
      database
        .prepare('SELECT digest FROM blobs ORDER BY used')
        .all()
        .map(row => `sha512-${Buffer.from(row['digest'] as Uint8Array).toString('base64')}`)
    // The repair and eviction that opening starts are over when collect is.
    await store.collect()
    const before = version()
    for (const name of names.toReversed()) {
      await blobs.get(name)
      await readAll(blobs, name)
      await blobs.stat(name)
    }
    t.equal(version(), before)
    await store.close()
    t.same(order(), names.toReversed())
  })

  t.test('what is being read is passed over', async t => {
    const path = space()
    const { blobs, store } = await openAt(t, path, { maxBytes: 5 * MiB })
    const bytes = randomBytes(3 * MiB)
    const oldest = await keepBytes(blobs, bytes)
    const opened = await blobs.open(oldest)
    const next = await keepBytes(blobs, bytes.subarray(1))
    // Opening it was a use, too, which collect writes down; only the stream shall count.
    await store.collect()
    rawDatabase(t, path).exec(`UPDATE blobs SET used = 1 WHERE size = ${bytes.length}`)
    await keepBytes(blobs, bytes.subarray(2))
    await store.collect()
    t.ok(await blobs.stat(oldest), 'still there')
    t.equal(await blobs.stat(next), undefined)
    opened?.stream.destroy()
    await eventually(() => opened?.stream.closed ?? true)
    await keepBytes(blobs, bytes.subarray(3))
    await store.collect()
    t.equal(await blobs.stat(oldest), undefined)
  })

  t.test('too much is evicted without being asked', async t => {
    const path = space()
    const { blobs, heard, store } = await openAt(t, path, { maxBytes: 50_000 })
    for (let index = 0; index < 30; index += 1) await keepBytes(blobs, randomBytes(5000))
    t.ok(await eventually(async () => (await blobs.size()) <= 50_000))
    t.ok(await eventually(() => heard('blobs-evicted').length > 0))
    // Waits for what is under way.
    await store.collect()
    const files = readdirSync(join(path, 'blobs'), { recursive: true, withFileTypes: true })
    t.equal(files.filter(file => file.isFile()).length * 5000, await blobs.size())
    await keepBytes(blobs, randomBytes(60_000))
    await store.collect()
    t.equal(await blobs.size(), 0, 'one that is bigger than the limit does not stay')
  })
})

t.test('memory is bounded by bytes', async t => {
  const memory = openBlobMemory(10_000, 5000)
  const keep = (bytes: Buffer) => {
    const name = integrityOf(bytes)
    memory.set(name, bytes)
    return name
  }
  const first = keep(randomBytes(4000))
  t.ok(memory.get(first))
  for (let index = 0; index < 50; index += 1) {
    keep(randomBytes(1 + index * 50))
    t.ok(memory.size() <= 10_000)
  }
  t.equal(memory.get(first), undefined)
  t.equal(memory.get(keep(randomBytes(5001))), undefined)
  const slice = Buffer.alloc(1_000_000, 7).subarray(0, 10)
  const kept = memory.get(keep(slice))
  t.ok(kept?.equals(slice))
  t.ok((kept?.buffer.byteLength ?? Infinity) < 100, 'a slice does not keep the whole alive')
  memory.delete(integrityOf(slice))
  t.equal(memory.get(integrityOf(slice)), undefined)
  const none = openBlobMemory(0, 5000)
  none.set(first, randomBytes(10))
  t.equal(none.get(first), undefined)

  const path = space()
  const { blobs } = await openAt(t, path, { memoryBytes: 0 })
  const bytes = randomBytes(100)
  const name = await keepBytes(blobs, bytes)
  t.not(await blobs.get(name), await blobs.get(name))
  const cached = await openAt(t, path, { memoryBytes: MiB })
  t.equal(await cached.blobs.get(name), await cached.blobs.get(name), 'the same buffer')
  const opened = await cached.blobs.open(name, { start: 5, end: 9 })
  t.ok(opened && (await buffer(opened.stream)).equals(bytes.subarray(5, 10)))

  const seldom = { remember: false }
  const staged = await cached.blobs.stage(seldom)
  const other = randomBytes(200)
  await staged.write(other)
  await staged.finish()
  const { integrity } = await staged.commit()
  t.equal(cached.blobs.peek?.(integrity), undefined, 'what is staged for seldom use stays out')
  t.ok((await cached.blobs.get(integrity, seldom))?.equals(other))
  t.equal(cached.blobs.peek?.(integrity), undefined, 'and what is read for it')
  t.ok((await cached.blobs.get(integrity))?.equals(other))
  t.ok(cached.blobs.peek?.(integrity)?.equals(other), 'until somebody reads it otherwise')
})

t.test('a damaged record is missing, logged, and can be put again', async t => {
  const path = space()
  const { records, heard } = await openAt(t, path)
  for (const key of ['a', 'b', 'c', 'd']) await records.put('c', key, { key })
  const database = rawDatabase(t, path)
  database.exec(`UPDATE records SET value = '{"key": "b' WHERE key = 'b' OR key = 'c'`)
  t.equal(await records.get('c', 'b'), undefined)
  t.same(
    (await listAll(records.list('c'))).map(([key]) => key),
    ['a', 'd'],
  )
  const answers = await Promise.all([1, 2, 3].map(n => records.putIfAbsent('c', 'b', n)))
  t.equal(new Set(answers).size, 1)
  t.equal(await records.get('c', 'b'), answers[0])
  await records.put('c', 'c', 'new')
  t.equal(await records.get('c', 'c'), 'new')
  t.match(heard('record-damaged')[0], { collection: 'c', key: 'b' })
})

t.test('the audit log cannot be changed, by any statement', async t => {
  const path = space()
  const { audit, heard } = await openAt(t, path)
  for (const name of ['a', 'b', 'c']) await audit.append(auditEntry(name))
  const before = await listAll(audit.read())
  const database = rawDatabase(t, path)
  for (const statement of [
    `UPDATE audit SET entry = '{}'`,
    `UPDATE audit SET seq = 99 WHERE seq = 1`,
    `DELETE FROM audit WHERE seq = 2`,
    `DELETE FROM audit`,
    `INSERT OR REPLACE INTO audit VALUES (2, 'x', '{}')`,
    `REPLACE INTO audit VALUES (1, 'x', '{}')`,
    `INSERT INTO audit VALUES (3, 'x', '{}') ON CONFLICT DO UPDATE SET entry = '{}'`,
    `INSERT INTO audit (name, entry) VALUES ('x', '{}')`,
  ]) {
    t.throws(() => database.exec(statement), /append-only/, statement)
  }
  t.same(await listAll(audit.read()), before)
  database.exec(`INSERT INTO audit VALUES (4, 'a', '{"torn')`)
  t.same(await listAll(audit.read()), before, 'what does not parse is passed over')
  t.equal(heard('audit-damaged').length, 1)
})

t.test('the entries of a database from before the tree are taken in', async t => {
  const path = space()
  await openLocalStore({ path }).then(store => store.close())
  rmSync(join(path, 'store.sqlite'))
  const old = rawDatabase(t, path)
  const [first] = migrations
  old.exec(
    `PRAGMA application_id = ${applicationId};
     CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied TEXT NOT NULL) STRICT;
     INSERT INTO migrations VALUES (1, '2026-01-01T00:00:00.000Z');
     ${String(first)}`,
  )
  const insert = old.prepare('INSERT INTO audit VALUES (?, ?, ?)')
  // with a gap, as only a hand could make one, and longer than what is taken today
  const entries = Array.from({ length: 600 }, (_, n) =>
    JSON.stringify(auditEntry('p', n === 3 ? 'x'.repeat(100_000) : `${n}`)),
  )
  old.exec('BEGIN')
  for (const [n, text] of entries.entries()) insert.run(n < 300 ? n + 1 : n + 40, 'p', text)
  old.exec('COMMIT')
  old.close()

  const { audit } = await openAt(t, path)
  t.equal((await audit.tree()).size, 600)
  const texts = await listAll(audit.texts())
  t.same(
    texts.map(({ text }) => text),
    entries,
  )
  t.same(
    texts.map(({ seq }) => seq),
    entries.map((_, n) => n + 1),
  )
  const root = Buffer.from(await rootOfTexts(audit))
  t.ok(root.equals(await rootNow(audit, 600)))
  await audit.append(auditEntry('q'))
  t.equal((await audit.tree()).size, 601)
  t.throws(() => rawDatabase(t, path).exec('DELETE FROM audit'), /append-only/)
})

t.test('leftovers of the dead go, those of the living stay', async t => {
  const path = space()
  await openLocalStore({ path }).then(store => store.close())
  const tmp = join(path, 'tmp')
  const here = (await openAt(t, path, { memoryBlobMax: 0 })).store
  await stageBytes(here.blobs, randomBytes(10))
  const [mine = ''] = readdirSync(tmp)
  const [namespace] = mine.split('-')
  const dead = 2 ** 22 + 12_345
  const put = (name: string, hours = 0) => {
    writeFileSync(join(tmp, name), 'x')
    const time = Date.now() / 1000 - hours * 3600
    utimesSync(join(tmp, name), time, time)
    return name
  }
  const stay = [
    mine,
    put(`${namespace}-${process.ppid}-aaaa`),
    // A number that means somebody else's process.
    put(`99${namespace}-${dead}-aaaa`),
    put('of somebody', 0.5),
  ]
  put(`${namespace}-${dead}-aaaa`)
  put(`${namespace}-${process.ppid}-bbbb`, 1.1)
  put(`99${namespace}-${dead}-bbbb`, 1.1)
  put('of nobody', 1.1)
  mkdirSync(join(tmp, 'directory'))
  utimesSync(join(tmp, 'directory'), 0, 0)
  const { heard, store } = await openAt(t, path)
  t.same(readdirSync(tmp).toSorted(), [...stay, 'directory'].toSorted())
  t.match(heard('leftovers-removed'), [{ removed: 4 }])
  put(`${namespace}-${dead}-cccc`)
  await store.collect()
  t.same(readdirSync(tmp).toSorted(), [...stay, 'directory'].toSorted())
})

t.test('the write-ahead log is taken away while the store is open', async t => {
  const path = space()
  const { records } = await openAt(t, path)
  const text = randomBytes(40_000).toString('hex')
  for (let index = 0; index < 120; index += 1) await records.put('c', `${index}`, text)
  const size = (name: string) => statSync(join(path, name)).size
  t.ok(await eventually(() => size('store.sqlite') > 5 * MiB))
  for (let index = 0; index < 240; index += 1) await records.put('c', `${index % 9}`, text)
  t.ok(size('store.sqlite-wal') < 25 * MiB, 'far less than was written since')
})

t.test('sizes that are no sizes are refused', async t => {
  for (const wrong of [
    { maxBytes: 0 },
    { maxBytes: Number.NaN },
    { memoryBytes: -1 },
    { memoryBlobMax: 1.5 },
  ]) {
    t.equal(await codeOf(() => openLocalStore({ path: space(), ...wrong })), 'ESTORE')
  }
})

t.test('the digest of a blob is what names its file', async t => {
  const path = space()
  const { blobs } = await openAt(t, path)
  const bytes = Buffer.from('attestry')
  await keepBytes(blobs, bytes)
  const hex = createHash('sha512').update(bytes).digest('hex')
  t.ok(exists(join(path, 'blobs', 'sha512', hex.slice(0, 2), hex.slice(2))))
})
