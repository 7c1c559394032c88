import { cp, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { claimsOf, sha512Of } from '../../lib/gate/claims.ts'
import { repointDistTags } from '../../lib/gate/dist-tags.ts'
import { openBackground } from '../../lib/gate/background.ts'
import { openEpochs } from '../../lib/gate/epochs.ts'
import { openFlights } from '../../lib/gate/flights.ts'
import { members, parseSlice, type Slice } from '../../lib/gate/json-slices.ts'
import { readClaims, sightingOf, type PackageIndex } from '../../lib/gate/package-index.ts'
import { exchanged, watch, type PackageRecord } from '../../lib/gate/package-records.ts'
import { openPackument, slicePackument } from '../../lib/gate/packument.ts'
import { maker, makerAt } from '../../lib/maker.ts'

const sri = (fill: string) => `sha512-${Buffer.alloc(64, fill).toString('base64')}`

const collect = (text: string) => {
  const json = Buffer.from(text)
  return [...members(json)].flatMap(member =>
    member ? [[member[0], parseSlice(json, member[1])] as const] : [],
  )
}

t.test('slices of a JSON object', async t => {
  t.test('give what JSON.parse gives, in any layout', async t => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.constantFrom(undefined, 1, '\t', '\r\n '),
        (value, indent) => {
          const text = JSON.stringify(value, undefined, indent)
          t.same(Object.fromEntries(collect(` ${text}`)), JSON.parse(text))
        },
      ),
    )
  })

  t.test('quotes, backslashes and brackets inside strings do not end anything', async t => {
    const value = { 'a"}': '\\', b: '{"x":[', c: ['\\"', { d: '\\\\"]' }], '': null }
    t.same(Object.fromEntries(collect(JSON.stringify(value))), value)
  })

  t.test('broken text is a SyntaxError, never a hang and never a wrong value', async t => {
    for (const text of [
      '',
      '[]',
      '{',
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a":"x',
      '{a:1}',
      '{"a":1 "b":2}',
      '{"a":[1}',
      '{"a":}',
      '{"a":tru}',
    ]) {
      t.throws(() => collect(text), { name: 'SyntaxError' }, text)
    }
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, cut) => {
        const part = text.slice(0, cut % text.length)
        try {
          const got = collect(part)
          t.same(Object.fromEntries(got), JSON.parse(part))
        } catch (error) {
          t.equal((error as Error).name, 'SyntaxError')
        }
      }),
    )
  })

  t.test('what is long is looked through in steps', async t => {
    const long = JSON.stringify({ a: 1, b: { list: Array(300_000).fill('x') }, c: 2 })
    const looks = [...members(Buffer.from(long))]
    t.same(
      looks.flatMap(one => (one ? [one[0]] : [])),
      ['a', 'b', 'c'],
    )
    t.ok(looks.length > 6, 'and in between the thread can be given back')
    const found = new Map<string, Slice>()
    const inside = (name: string) => (name === 'b' ? found : undefined)
    const text = Buffer.from('{"b":{"old":1},"a":{"c":0},"b":{"c":{"d":"}"},"e":[2]}}')
    const [, , last] = [...members(text, 0, inside)].filter(one => one !== undefined)
    t.same([...found.keys()], ['c', 'e'], 'of two with one name the last counts')
    t.same(parseSlice(text, last?.[1] ?? { start: 0, end: 0 }), { c: { d: '}' }, e: [2] })
  })

  t.test(
    'a name that comes twice counts once, the last time, as JSON.parse has it',
    async t => {
      const text = `{"name":"x","versions":{"1.0.0":{"dist":{"tarball":"http://a/1"}},"1.0.0":{"dist":{"tarball":"http://a/2"}}},"name":"pkg"}`
      const { claims } = await readClaims(Buffer.from(text), 'pkg')
      t.equal(claims.get('1.0.0')?.tarball, 'http://a/2')
    },
  )
})

t.test('a packument', async t => {
  await t.rejects(slicePackument(Buffer.from('{"name":"other"}'), 'pkg'), {
    code: 'EUPSTREAMDATA',
  })
  await t.rejects(slicePackument(Buffer.from('{"versions":{}}'), 'pkg'), {
    code: 'EUPSTREAMDATA',
  })
  await t.rejects(slicePackument(Buffer.from('<html>'), 'pkg'), { code: 'EUPSTREAMDATA' })
  await t.resolves(slicePackument(Buffer.from('{"name":"pkg"} \n'), 'pkg'))
  await t.rejects(slicePackument(Buffer.from('{"name":"pkg"} {"name":"pkg"}'), 'pkg'), {
    code: 'EUPSTREAMDATA',
  })
  await t.rejects(readClaims(Buffer.from('{"name":"pkg","versions":{"1.0.0":{]}}'), 'pkg'), {
    code: 'EUPSTREAMDATA',
  })
  const odd =
    '{"name":"pkg","versions":{"__proto__":{"dist":{}},"1.0.0":null},"dist-tags":{"a":1}}'
  const { claims, distTags } = await readClaims(Buffer.from(odd), 'pkg')
  t.same([...claims.keys()], ['__proto__', '1.0.0'])
  t.same(distTags, {}, 'a tag that names no version is no tag')
})

t.test('a packument parsed whole says what one taken apart says', async t => {
  const key = fc.constantFrom('name', '_id', 'versions', 'time', 'dist-tags', 'readme', '1.0.0')
  const text = fc
    .array(fc.tuple(key, fc.oneof(fc.constantFrom('"pkg"', '"other"', '{}', '[1]'), fc.json())))
    .map(list => `{${list.map(([k, v]) => `${JSON.stringify(k)}:${v}`).join(',')}}`)
  const said = async (given: string, whole: number) => {
    try {
      const packument = await openPackument(Buffer.from(given), 'pkg', whole)
      const { members } = packument
      // names that are numbers come first in what JSON.parse makes
      const versions = packument.versions.toSorted()
      return {
        members,
        versions,
        top: members.map(name => packument.member(name)),
        manifests: [...versions, 'none'].map(version => packument.manifest(version)),
      }
    } catch (error) {
      return (error as { readonly code?: string }).code
    }
  }
  await fc.assert(
    fc.asyncProperty(text, async given => {
      const named = given.replace('{', '{"name":"pkg","versions":{"1.0.0":{"a":1}},')
      for (const one of [given, named.replace(',}', '}')])
        t.same(await said(one, Number.POSITIVE_INFINITY), await said(one, -1), one)
    }),
  )
})

t.test('claims of a version', async t => {
  const integrity = sri('a')
  const claims = claimsOf(
    {
      dist: {
        integrity: `sha1-AAAA ${integrity}?opt`,
        shasum: 'A'.repeat(40),
        tarball: 'http://u/x.tgz',
        signatures: [{ keyid: 'k', sig: 's' }, 'nonsense'],
        attestations: { url: 'http://u/a', provenance: { predicateType: 'p' } },
      },
    },
    '1.0.0',
    '2024-01-02T03:04:05Z',
  )
  t.same(claims, {
    version: '1.0.0',
    integrity,
    shasum: 'a'.repeat(40),
    tarball: 'http://u/x.tgz',
    signatures: [
      { keyid: 'k', sig: 's' },
      { keyid: '', sig: '' },
    ],
    attestations: { url: 'http://u/a', provenance: 'p' },
    publishedAt: '2024-01-02T03:04:05.000Z',
  })
  t.equal(sha512Of('sha512-short=='), undefined, 'a digest of another length is none')
  t.equal(sha512Of(`sha384-x ${sri('b')}`), sri('b'))
  t.equal(claimsOf({ dist: { attestations: null } }, '1.0.0', 5).attestations?.url, '')
})

t.test('when a version was seen', async t => {
  const claim = (version: string, dist: object) => claimsOf({ dist }, version, undefined)
  const [one, other, sum, another] = [sri('a'), sri('b'), 'a'.repeat(40), 'b'.repeat(40)]

  t.test('whether its bytes are others now', async t => {
    const moved = (before: object, after: object) =>
      exchanged(new Map([['1', claim('1', before)]]), new Map([['1', claim('1', after)]]))
        .length > 0
    const both = { integrity: one, shasum: sum }
    t.notOk(moved(both, both))
    t.notOk(moved({ shasum: sum }, both), 'a stronger digest of the same')
    t.notOk(moved({}, {}), 'nothing tells')
    t.ok(moved(both, { integrity: other, shasum: sum }))
    t.ok(moved(both, { shasum: sum }), 'what was told is not told any more')
    t.ok(moved({ shasum: sum }, { shasum: another }))
    t.ok(moved({ shasum: sum }, { integrity: one, shasum: another }))
    t.ok(moved({ shasum: sum }, { integrity: one }), 'nothing in common')
    t.ok(moved({}, { integrity: one }), 'it may be anything')
    t.same(exchanged(new Map([['1', claim('1', both)]]), new Map()), [], 'it is gone')
  })

  t.test('also one that is called like what every object has', async t => {
    const kept: PackageRecord = {
      upstream: 'npm',
      raw: 'sha512-',
      lookedAt: 'first',
      fetchedAt: 0,
      versions: ['1', 'toString'],
      appeared: { '1': { firstSeen: 'then' } },
    }
    const seen = { firstSeen: '1970-01-01T00:00:01.000Z', absentAt: '1970-01-01T00:00:00.000Z' }
    const appeared = watch(kept, ['1', '2', 'toString', '__proto__'], [], 1000)
    t.same(Object.entries(appeared), [
      ['1', { firstSeen: 'then' }],
      ['2', seen],
      ['__proto__', seen],
    ])
    t.same(Object.entries(watch(kept, ['1'], ['1'], 1000)), [['1', seen]])
    t.same(watch(undefined, ['1'], [], 1000), {}, 'the first look tells nothing')
    const index = { lookedAt: 'first', appeared } as unknown as PackageIndex
    t.same(sightingOf(index, 'toString'), { firstSeen: 'first' })
    t.same(sightingOf(index, '2'), seen)
  })
})

t.test('dist-tags are never left dangling', async t => {
  const tags = { latest: '2.0.0', next: '3.0.0-rc.1', legacy: '1.0.0' }
  const shown = (...versions: string[]) => new Set(versions)
  t.same(repointDistTags(tags, shown('2.0.0', '1.0.0', '3.0.0-rc.1')), tags)
  t.same(repointDistTags(tags, shown('1.0.0', '1.9.0', '2.5.0', '1.9.1-beta')), {
    legacy: '1.0.0',
    latest: '1.9.0',
  })
  t.same(
    repointDistTags(tags, shown('2.5.0')),
    { latest: '2.5.0' },
    'nothing below: the highest',
  )
  t.same(repointDistTags(tags, shown('3.0.0-rc.1')), {
    next: '3.0.0-rc.1',
    latest: '3.0.0-rc.1',
  })
  t.same(repointDistTags(tags, shown()), {})
  t.same(repointDistTags({ next: '1.0.0' }, shown()), {}, 'no latest is invented')
})

t.test('who made what is kept is the program as it is', async t => {
  const lib = join(import.meta.dirname, '../../lib')
  const home = await mkdtemp(join(tmpdir(), 'attestry-maker-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  await cp(lib, home, { recursive: true })
  const first = makerAt(home)
  t.equal(first, maker(), 'wherever it lies')
  t.match(first, process.version)
  const changed = async (work: () => Promise<void>, back: () => Promise<void>) => {
    await work()
    const other = makerAt(home)
    await back()
    t.equal(makerAt(home), first)
    return other !== first
  }
  for (const room of ['evidence', 'gate', 'policy', 'upstream']) {
    const entries = await readdir(join(home, room), { withFileTypes: true })
    t.ok(
      entries.every(entry => entry.isFile()),
      'there are no folders to look into',
    )
    const file = join(home, room, 'added.ts')
    const added = await changed(
      () => writeFile(file, '// new'),
      () => rm(file),
    )
    t.ok(added, room)
  }
  const [file, moved] = [join(home, 'policy/age.ts'), join(home, 'policy/older.ts')]
  t.ok(
    await changed(
      () => rename(file, moved),
      () => rename(moved, file),
    ),
  )
  const types = join(home, 'policy/age.d.ts')
  t.notOk(
    await changed(
      () => writeFile(types, ''),
      () => rm(types),
    ),
  )
  t.equal(makerAt(join(home, 'nowhere')), undefined, 'what cannot be told is nobody')
})

t.test('one flight per key', async t => {
  const flight = openFlights<number>()
  let calls = 0
  const work = async () => {
    await new Promise(resolve => setImmediate(resolve))
    return ++calls
  }
  t.same(
    await Promise.all([flight('a', work), flight('a', work), flight('b', work)]),
    [1, 1, 2],
  )
  t.equal(await flight('a', work), 3, 'a landed flight is not shared')
  await t.rejects(
    flight('c', () => Promise.reject(new Error('no'))),
    { message: 'no' },
  )
  t.equal(await flight('c', work), 4, 'a failure is not remembered')
})

t.test('epochs', async t => {
  const epochs = openEpochs(2)
  const before = epochs.of('a')
  epochs.bump('a')
  const after = epochs.of('a')
  t.not(after, before)
  epochs.bump('b')
  epochs.bump('c')
  t.not(epochs.of('a'), after, 'forgotten counts as changed')
  t.not(epochs.of('a'), before)
})

t.test('background work', async t => {
  const errors: string[] = []
  const done: string[] = []
  const background = openBackground({
    concurrency: 1,
    max: 2,
    onError: key => errors.push(key),
  })
  const work = (key: string) => () =>
    new Promise<void>(resolve => setImmediate(() => resolve(void done.push(key))))
  t.ok(background.add('a', work('a')))
  t.ok(background.add('bad', () => Promise.reject(new Error('x'))))
  t.ok(background.add('c', work('c')))
  t.notOk(background.add('d', work('d')), 'a full queue drops')
  await background.idle()
  t.same([done, errors], [['a', 'c'], ['bad']])
  await background.close()
  t.notOk(background.add('e', work('e')), 'closed')
})
