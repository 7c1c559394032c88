import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { OpenStore } from './tools.ts'
import { MiB, codeOf, listAll, use } from './tools.ts'

export const recordContract = (t: Test, open: OpenStore) => {
  t.test('records are kept, replaced and deleted', async t => {
    const { records } = await use(t, open)
    t.equal(await records.get('c', 'k'), undefined)
    const value = { a: [1, 'two', null, true], b: { c: 'ünï\u0000 \ud83d\ude80 "\\' } }
    await records.put('c', 'k', value)
    await records.put('d', 'k', 'another collection')
    t.same(await records.get('c', 'k'), value)
    await records.put('c', 'k', 0)
    t.equal(await records.get('c', 'k'), 0)
    t.equal(await records.delete('c', 'k'), true)
    t.equal(await records.delete('c', 'k'), false)
    t.equal(await records.get('c', 'k'), undefined)
    t.equal(await records.get('d', 'k'), 'another collection')
    for (const falsy of [null, false, '', 0]) {
      await records.put('c', 'falsy', falsy)
      t.equal(await records.get('c', 'falsy'), falsy)
    }
  })

  t.test('what need not last is there when it resolves, and comes in its turn', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    const along = { lasting: false }
    await first.records.put('c', 'along', 'here', along)
    t.equal(await second.records.get('c', 'along'), 'here')
    await first.records.put('c', 'k', 1, along)
    await first.records.put('c', 'k', 2)
    await first.records.put('c', 'k', 3, along)
    t.equal(await second.records.get('c', 'k'), 3)
    const large = 'x'.repeat(9 * MiB)
    t.equal(await codeOf(() => first.records.put('c', 'k', large, along)), 'ESTORE')
    await first.close()
    t.equal(await codeOf(() => first.records.put('c', 'k', 4, along)), 'ESTORE')
  })

  t.test('putIfAbsent: one winner, known to all', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, caller) =>
        (caller % 2 ? first : second).records.putIfAbsent('pin', 'left-pad@1.3.0', { caller }),
      ),
    )
    const winner = await first.records.get('pin', 'left-pad@1.3.0')
    for (const answer of answers) t.same(answer, winner)
    t.same(await second.records.putIfAbsent('pin', 'left-pad@1.3.0', { caller: -1 }), winner)
    t.equal(await first.records.putIfAbsent('pin', 'null', null), null)
    t.equal(await first.records.putIfAbsent<unknown>('pin', 'null', 1), null)
  })

  t.test('swap: no change is lost', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    t.equal(await first.records.swap('c', 'k', undefined, { n: 0 }), true)
    t.equal(await second.records.swap('c', 'k', undefined, { n: 9 }), false)
    t.equal(await second.records.swap('c', 'k', { n: 1 }, { n: 9 }), false)
    t.equal(await second.records.swap('c', 'missing', { n: 1 }, { n: 9 }), false)
    t.equal(await second.records.get('c', 'missing'), undefined)
    const addOne = async ({ records }: typeof first): Promise<void> => {
      const before = await records.get<{ n: number }>('c', 'k')
      const after = { n: (before?.n ?? 0) + 1 }
      if (!(await records.swap('c', 'k', before, after)))
        await addOne({ records } as typeof first)
    }
    await Promise.all(
      Array.from({ length: 24 }, (_, caller) => addOne(caller % 2 ? first : second)),
    )
    t.same(await first.records.get('c', 'k'), { n: 24 })
    const odd = { '2': 'é\u0000\u2028', '1': [-0, 1e300, null], b: { __proto: 1 }, a: 'x"' }
    await first.records.put('c', 'odd', odd)
    const read = await second.records.get('c', 'odd')
    t.equal(await second.records.swap<unknown>('c', 'odd', read, { done: true }), true)
    for (const key of ['', 'a\0b'])
      t.equal(await codeOf(() => first.records.swap('c', key, undefined, 1)), 'ESTORE')
    t.equal(
      await codeOf(() => first.records.swap('c', 'k', undefined, 'x'.repeat(9 * MiB))),
      'ESTORE',
    )
  })

  t.test('list: by prefix, by key, and nothing means more than itself', async t => {
    const { records } = await use(t, open)
    const keys = [
      '%',
      '%a',
      '@acme/a',
      '@acme/b',
      'A',
      '_',
      '_a',
      '__proto__',
      'a',
      'a%b',
      'a*',
      'a?',
      'a[b]',
      'a\\b',
      "a'b",
      'aab',
      'é',
      'ﬀ',
      '\u{1f680}',
      '\u{1f680}x',
    ]
    for (const key of keys.toReversed()) await records.put('list', key, { key })
    await records.put('list2', 'a', 1)
    await records.put('__proto__', 'a', 2)
    const wanted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    t.same(
      await listAll(records.list('list')),
      wanted.map(key => [key, { key }]),
    )
    for (const prefix of [...keys, '@acme/', 'a\u0000'.slice(0, 1), 'zzz', '@', '\u{1f680}']) {
      t.same(
        (await listAll(records.list('list', prefix))).map(([key]) => key),
        wanted.filter(key => key.startsWith(prefix)),
        `prefix ${prefix}`,
      )
    }
    t.same(await listAll(records.list('__proto__')), [['a', 2]])
    t.same(await listAll(records.list('constructor')), [])
  })

  t.test('lists of any length among others', async t => {
    const { records } = await use(t, open)
    const keys = (count: number) => Array.from({ length: count }, (_, i) => `of${count}/${i}`)
    const counts = [0, 1, 3, 4, 5, 8, 9]
    await Promise.all(counts.flatMap(keys).map(key => records.put('short', key, key)))
    for (const count of counts) {
      const found = await listAll(records.list('short', `of${count}/`))
      t.same(
        found.map(([key]) => key),
        keys(count),
      )
    }
  })

  t.test('a long list, changed while it is read', async t => {
    const { records } = await use(t, open)
    const name = (index: number) => `k${String(index).padStart(4, '0')}`
    await Promise.all(
      Array.from({ length: 300 }, (_, index) => records.put('long', name(index), index)),
    )
    t.same(
      (await listAll(records.list<number>('long'))).map(([, value]) => value),
      Array.from({ length: 300 }, (_, index) => index),
    )
    const seen: string[] = []
    for await (const [key] of records.list('long')) {
      seen.push(key)
      if (key === name(10)) await records.delete('long', name(250))
    }
    t.equal(seen.length, 299)
    t.notOk(seen.includes(name(250)))
    for await (const [key] of records.list('long')) {
      t.equal(key, name(0))
      break
    }
  })

  t.test('names and values that mean something to JavaScript', async t => {
    const { records } = await use(t, open)
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      t.equal(await records.get(name, name), undefined)
      await records.put(name, name, { name })
      t.same(await records.get(name, name), { name })
    }
    const value: unknown = JSON.parse('{"__proto__": {"admin": true}, "x": 1}')
    await records.put('c', 'proto', value)
    const found = await records.get<object>('c', 'proto')
    t.same(Object.keys(found ?? {}), ['__proto__', 'x'])
    t.equal(Object.getPrototypeOf(found), Object.prototype)
    t.notOk('admin' in {})
  })

  t.test('limits: big values, long keys, what is no JSON and no text', async t => {
    const { records } = await use(t, open)
    const big = 'x'.repeat(8 * MiB - 2)
    await records.put('c', 'big', big)
    t.ok((await records.get('c', 'big')) === big)
    t.equal(await codeOf(() => records.put('c', 'big', `${big}x`)), 'ESTORE')
    t.equal(await codeOf(() => records.putIfAbsent('c', 'new', `${big}x`)), 'ESTORE')
    t.equal(await codeOf(() => records.put('c', 'big', 'é'.repeat(5 * MiB))), 'ESTORE')
    t.ok((await records.get('c', 'big')) === big, 'what was there is still there')
    t.equal(await records.get('c', 'new'), undefined)
    const circle: { self?: unknown } = {}
    circle.self = circle
    for (const value of [undefined, () => 1, 1n, circle]) {
      t.equal(await codeOf(() => records.put('c', 'k', value)), 'ESTORE')
    }
    const longest = 'é'.repeat(1024)
    await records.put('c', longest, 1)
    t.equal(await records.get('c', longest), 1)
    for (const key of ['', `${longest}x`, 'a\0b', '\ud83d']) {
      t.equal(await codeOf(() => records.put('c', key, 1)), 'ESTORE')
      t.equal(await codeOf(() => records.putIfAbsent('c', key, 1)), 'ESTORE')
      t.equal(await codeOf(() => records.get('c', key)), 'ESTORE')
      t.equal(await codeOf(() => records.delete('c', key)), 'ESTORE')
    }
    for (const collection of ['', 'x'.repeat(129), 'a\0b']) {
      t.equal(await codeOf(() => records.put(collection, 'k', 1)), 'ESTORE')
      t.equal(await codeOf(() => listAll(records.list(collection))), 'ESTORE')
    }
  })
}
