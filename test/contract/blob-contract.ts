import { randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { Integrity } from '../../lib/types.ts'
import type { OpenStore } from './tools.ts'
import {
  MiB,
  codeOf,
  drained,
  integrityOf,
  keepBytes,
  readAll,
  readFile,
  readFound,
  stageBytes,
  use,
} from './tools.ts'
const sizes = [0, 1, 3000, 300_000, 3 * MiB + 7]

export const blobContract = (t: Test, open: OpenStore) => {
  t.test('what goes in comes out, by get, open and stat', async t => {
    const { blobs } = await use(t, open)
    for (const size of sizes) {
      const bytes = randomBytes(size)
      const staged = await stageBytes(blobs, bytes)
      const info = { integrity: integrityOf(bytes), size }
      t.same(await staged.finish(), info)
      t.same(await staged.commit(), info)
      t.same(await blobs.stat(info.integrity), info)
      t.ok((await blobs.get(info.integrity))?.equals(bytes), `get ${size}`)
      t.equal((await blobs.open(info.integrity).then(drained))?.size, size)
      t.ok((await readAll(blobs, info.integrity))?.equals(bytes), `open ${size}`)
      t.ok((await readFound(blobs, info.integrity))?.equals(bytes), `find ${size}`)
    }
    t.equal(
      await blobs.size(),
      sizes.reduce((sum, size) => sum + size, 0),
    )
  })

  t.test('what another instance committed is there', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    const bytes = randomBytes(2 * MiB)
    const small = randomBytes(100)
    const integrity = await keepBytes(first.blobs, bytes)
    const smallIntegrity = await keepBytes(second.blobs, small)
    t.ok((await readAll(second.blobs, integrity))?.equals(bytes))
    t.ok((await first.blobs.get(smallIntegrity))?.equals(small))
    t.equal(await first.blobs.size(), bytes.length + small.length)
  })

  t.test('staged bytes can be read by their owner and by nobody else', async t => {
    const { blobs } = await use(t, open)
    for (const size of [500, 2 * MiB]) {
      const bytes = randomBytes(size)
      const integrity = integrityOf(bytes)
      const staged = await stageBytes(blobs, bytes)
      t.equal(await codeOf(() => staged.read()), 'ESTORE', 'read before finish')
      t.equal(await codeOf(() => staged.commit()), 'ESTORE', 'commit before finish')
      await staged.finish()
      t.equal(await blobs.stat(integrity), undefined)
      t.equal(await blobs.get(integrity), undefined)
      t.equal(await blobs.open(integrity), undefined)
      t.ok((await buffer(staged.read())).equals(bytes), 'read while staged')
      t.ok((await buffer(staged.read())).equals(bytes), 'and once more')
      await staged.abort()
    }
    t.equal(await blobs.size(), 0)
  })

  t.test('abort leaves nothing, at any step, and ends the blob', async t => {
    const { blobs } = await use(t, open)
    const bytes = randomBytes(5000)
    const written = await stageBytes(blobs, bytes)
    await written.abort()
    await written.abort()
    t.equal(await codeOf(() => written.write(bytes)), 'ESTORE')
    t.equal(await codeOf(() => written.finish()), 'ESTORE')
    const finished = await stageBytes(blobs, bytes)
    await finished.finish()
    await finished.abort()
    t.equal(await codeOf(() => finished.commit()), 'ESTORE')
    t.equal(await codeOf(() => finished.read()), 'ESTORE')
    t.equal(await blobs.stat(integrityOf(bytes)), undefined)
    t.equal(await blobs.size(), 0)
  })

  t.test('finish and commit may be repeated; abort after commit changes nothing', async t => {
    const { blobs } = await use(t, open)
    const bytes = randomBytes(5000)
    const staged = await stageBytes(blobs, bytes)
    t.same(await staged.finish(), await staged.finish())
    t.equal(await codeOf(() => staged.write(bytes)), 'ESTORE', 'write after finish')
    const [one, two] = await Promise.all([staged.commit(), staged.commit()])
    t.same(one, two)
    t.same(await staged.commit(), one)
    await staged.abort()
    t.ok((await blobs.get(one.integrity))?.equals(bytes))
  })

  t.test('the same content twice, one after the other and at once, is one blob', async t => {
    const { blobs } = await use(t, open)
    const bytes = randomBytes(200_000)
    await keepBytes(blobs, bytes)
    await keepBytes(blobs, bytes)
    t.equal(await blobs.size(), bytes.length)
    const other = randomBytes(1_500_000)
    const many = await Promise.all(Array.from({ length: 8 }, () => keepBytes(blobs, other)))
    t.equal(new Set(many).size, 1)
    t.ok((await blobs.get(integrityOf(other)))?.equals(other))
    t.equal(await blobs.size(), bytes.length + other.length)
  })

  t.test('a writer may use its chunk again', async t => {
    const { blobs } = await use(t, open)
    const staged = await blobs.stage()
    const chunk = Buffer.alloc(1000)
    for (const fill of [1, 2, 3]) await staged.write(chunk.fill(fill))
    chunk.fill(9)
    await staged.finish()
    const { integrity } = await staged.commit()
    const wanted = Buffer.concat([1, 2, 3].map(fill => Buffer.alloc(1000, fill)))
    t.ok((await blobs.get(integrity))?.equals(wanted))
  })

  t.test('ranges', async t => {
    const { blobs } = await use(t, open)
    for (const size of [1000, 2 * MiB]) {
      const bytes = randomBytes(size)
      const integrity = await keepBytes(blobs, bytes)
      for (const [start, end] of [
        [0, 0],
        [0, 9],
        [10, 99],
        [size - 1, size - 1],
        [500, size - 1],
        [990, size + 500],
      ] as const) {
        const opened = await blobs.open(integrity, { start, end })
        t.equal(opened?.size, size, 'the size is the whole')
        if (opened === undefined) continue
        t.ok((await buffer(opened.stream)).equals(bytes.subarray(start, end + 1)))
      }
      for (const [start, end] of [
        [size, size],
        [5, 4],
        [-1, 5],
        [0.5, 2],
        [0, Number.NaN],
      ] as const) {
        t.equal(await codeOf(() => blobs.open(integrity, { start, end })), 'ESTORE')
      }
    }
    const none = await keepBytes(blobs, Buffer.alloc(0))
    t.equal(await codeOf(() => blobs.open(none, { start: 0, end: 0 })), 'ESTORE')
  })

  t.test('a missing blob, and a name that is no name', async t => {
    const { blobs } = await use(t, open)
    const missing = integrityOf(randomBytes(9))
    t.equal(await blobs.stat(missing), undefined)
    t.equal(await blobs.get(missing), undefined)
    t.equal(await blobs.open(missing), undefined)
    t.equal(await blobs.find(missing), undefined)
    t.equal(await blobs.open(missing, { start: 0, end: 5 }), undefined)
    t.equal(await blobs.delete(missing), false)
    const names = [
      'sha512-',
      `sha1-${missing.slice(7)}`,
      `${missing} ${missing}`,
      `sha512-${'../'.repeat(28)}AA==`,
      // The same digest in another spelling: the last digit has bits that mean nothing.
      `${missing.slice(0, -3)}${missing.at(-3) === 'A' ? 'B' : 'A'}==`.replace(/.==$/, 'B=='),
    ]
    for (const name of names) {
      t.equal(await codeOf(() => blobs.get(name as Integrity)), 'ESTORE', name)
      t.equal(await codeOf(() => blobs.open(name as Integrity)), 'ESTORE')
      t.equal(await codeOf(() => blobs.find(name as Integrity)), 'ESTORE')
      t.equal(await codeOf(() => blobs.stat(name as Integrity)), 'ESTORE')
      t.equal(await codeOf(() => blobs.delete(name as Integrity)), 'ESTORE')
    }
  })

  t.test('a deleted blob is gone, open streams read on, and it can come back', async t => {
    const { blobs } = await use(t, open)
    for (const size of [1000, 3 * MiB]) {
      const bytes = randomBytes(size)
      const integrity = await keepBytes(blobs, bytes)
      const opened = await blobs.open(integrity)
      const found = await blobs.find(integrity)
      t.equal(await blobs.delete(integrity), true)
      t.equal(await blobs.delete(integrity), false)
      t.equal(await blobs.get(integrity), undefined)
      t.equal(await blobs.stat(integrity), undefined)
      t.equal(await blobs.open(integrity), undefined)
      t.equal(await blobs.find(integrity), undefined)
      t.ok(opened && (await buffer(opened.stream)).equals(bytes))
      t.equal(Buffer.isBuffer(found), size < MiB, 'large ones are files')
      if (found && !Buffer.isBuffer(found)) {
        t.equal(found.size, size)
        t.ok((await readFile(found)).equals(bytes), 'and are read on')
        await found.close()
      }
      t.equal(await blobs.size(), 0)
      await keepBytes(blobs, bytes)
      t.ok((await blobs.get(integrity))?.equals(bytes))
      await blobs.delete(integrity)
    }
  })

  t.test('writers, readers and deleters at once: whole or missing, never else', async t => {
    const { blobs } = await use(t, open)
    const all = [2000, 40_000, 1_200_000].map(size => randomBytes(size))
    let whole = 0
    const read = async (bytes: Buffer, turn: number) => {
      const integrity = integrityOf(bytes)
      const found = turn % 3 ? await blobs.get(integrity) : await readAll(blobs, integrity)
      if (found === undefined) return
      t.ok(found.equals(bytes))
      whole += 1
    }
    const act = async (actor: number) => {
      for (let turn = 0; turn < 12; turn += 1) {
        const bytes = all[(actor + turn) % all.length] as Buffer
        if (actor % 4 === 3) await blobs.delete(integrityOf(bytes))
        else if (actor % 4 === 2) await keepBytes(blobs, bytes)
        else await read(bytes, turn)
      }
    }
    for (const bytes of all) await keepBytes(blobs, bytes)
    await Promise.all(Array.from({ length: 12 }, (_, actor) => act(actor)))
    t.ok(whole > 0, 'some reads met their blob')
    for (const bytes of all) await keepBytes(blobs, bytes)
    for (const bytes of all) t.ok((await blobs.get(integrityOf(bytes)))?.equals(bytes))
    t.equal(
      await blobs.size(),
      all.reduce((sum, { length }) => sum + length, 0),
    )
  })

  t.test('collect frees to nine tenths, least recently used first', async t => {
    const store = await use(t, open, { maxBytes: 100_000 })
    const { blobs } = store
    const names: Integrity[] = []
    for (let index = 0; index < 10; index += 1) {
      names.push(await keepBytes(blobs, randomBytes(10_000)))
    }
    const [first, second, third, fourth] = names as [Integrity, Integrity, Integrity, Integrity]
    t.same(await store.collect(), { removed: 0, freed: 0 }, 'at the limit')
    await blobs.get(first)
    await readAll(blobs, third)
    names.push(await keepBytes(blobs, randomBytes(10_000)))
    await store.collect()
    t.equal(await blobs.size(), 90_000)
    t.equal(await blobs.stat(second), undefined)
    t.equal(await blobs.stat(fourth), undefined)
    for (const name of names) {
      if (name !== second && name !== fourth) t.ok(await blobs.stat(name))
    }
  })

  t.test('collect touches nothing that is staged or being read', async t => {
    const store = await use(t, open, { maxBytes: 5 * MiB })
    const { blobs } = store
    const bytes = randomBytes(4 * MiB)
    const oldest = await keepBytes(blobs, bytes)
    const staged = await stageBytes(blobs, bytes.subarray(1))
    await staged.finish()
    const opened = await blobs.open(oldest)
    await keepBytes(blobs, randomBytes(4 * MiB))
    await store.collect()
    t.ok((await blobs.size()) <= 5 * MiB)
    t.ok(opened && (await buffer(opened.stream)).equals(bytes), 'the stream is whole')
    const { integrity } = await staged.commit()
    t.ok((await blobs.get(integrity))?.equals(bytes.subarray(1)))
  })
}
