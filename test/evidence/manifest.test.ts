/** The package.json inside a tarball against the packument's manifest. */
import { Readable } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { Header } from 'tar'
import t from 'tap'
import { sameRange } from '../../lib/evidence/dependency-range.ts'
import { toldDigest } from '../../lib/evidence/manifest-fields.ts'
import { inspectTarball, manifestDifferences } from '../../lib/evidence/manifest.ts'
import { tarballLimits, type TarballLimits } from '../../lib/evidence/tarball-limits.ts'
import { outcome } from './lab.ts'

type Entry = {
  readonly path: string
  readonly body?: string | Buffer
  readonly type?: 'File' | 'SymbolicLink' | 'Directory' | 'ContiguousFile'
}

const tar = (...entries: readonly Entry[]): Buffer => {
  const blocks = entries.flatMap(({ path, body = '', type = 'File' }) => {
    const content = Buffer.from(body)
    const header = new Header({
      path,
      type,
      size: content.length,
      mode: 0o644,
      mtime: new Date(0),
      ...(type === 'SymbolicLink' ? { linkpath: 'elsewhere' } : {}),
    })
    header.encode()
    const padding = Buffer.alloc((512 - (content.length % 512)) % 512)
    return [header.block ?? Buffer.alloc(512), content, padding]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

const manifest = { name: 'widget', version: '1.2.3', dependencies: { lodash: '^4.17.0' } }
const packument = { ...manifest, _id: 'widget@1.2.3', dist: {} }
const top = (body: object | string = manifest, path = 'package/package.json'): Entry => ({
  path,
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

/** As a stream, and all at once, which must come to the same. */
const inspect = async (
  bytes: Buffer | readonly Buffer[],
  claimed: Readonly<Record<string, unknown>> = packument,
  over: Partial<TarballLimits> = {},
) => {
  const limits = { ...tarballLimits, ...over }
  const pieces = Buffer.isBuffer(bytes) ? [bytes] : bytes
  const fact = await inspectTarball(Readable.from(pieces), claimed, limits)
  t.strictSame(await inspectTarball(Buffer.concat(pieces), claimed, limits), fact)
  return fact
}
const judge = async (...args: Parameters<typeof inspect>) => outcome(await inspect(...args))

t.test('a tarball that agrees', async t => {
  t.strictSame(await inspect(gzipSync(tar(top()))), {
    state: 'verified',
    compared: ['name', 'version', 'dependencies', 'peerDependencies', 'bin', 'scripts'],
    told: toldDigest(packument),
  })
  const file = { path: 'package/index.js', body: 'x'.repeat(100_000) }
  const bytes = gzipSync(tar(file, top(), file))
  const pieces = Array.from({ length: bytes.length }, (_, i) => bytes.subarray(i, i + 1))
  t.equal(await judge(pieces), 'verified', 'byte by byte')
  t.equal(await judge(tar(top())), 'verified', 'not compressed')
  // gzip tells the size of its last member only
  const whole = tar(file, top(), file)
  const [start, end] = [whole.subarray(0, 90_000), whole.subarray(90_000)]
  for (const members of [
    [start, end],
    [end.subarray(0, 0), whole],
    [whole, end.subarray(0, 0)],
  ])
    t.equal(await judge(Buffer.concat(members.map(part => gzipSync(part)))), 'verified')
  t.equal(await judge(gzipSync(tar(top(manifest, 'any-name/package.json')))), 'verified')
  t.equal(await judge(gzipSync(tar(top(manifest, './package.json')))), 'verified')
  t.equal(
    await judge(gzipSync(tar(top(`\uFEFF${JSON.stringify(manifest)}`)))),
    'verified',
    'BOM',
  )
  const deeper = top({ name: 'other' }, 'package/node_modules/other/package.json')
  t.equal(await judge(gzipSync(tar(deeper, top(), deeper))), 'verified', 'others further down')
  const contiguous = { ...top(), type: 'ContiguousFile' as const }
  t.equal(await judge(gzipSync(tar(contiguous))), 'verified')
})

t.test('packuments of one digest compare alike', async t => {
  const some = (...values: readonly unknown[]) =>
    fc.option(fc.constantFrom(...values), { nil: undefined })
  const map = { a: '1', b: '2' }
  const said = fc
    .record({
      name: some('widget', ' widget', 'gadget', 5),
      version: some('1.2.3', 'v1.2.3', '1.2.4', ['1.2.3']),
      dependencies: some(map, { b: '2', a: '1' }, { a: '1' }, ['a@1', 'b@2'], 'a@1', null),
      optionalDependencies: some({ a: '2' }, { b: '2' }, {}),
      peerDependencies: some(map, { a: '1' }, {}),
      bin: some('x.js', { widget: 'x.js' }, { widget: './x.js' }, { widget: 'y.js' }, ['x.js']),
      directories: some({ bin: 'bin' }),
      scripts: some({ install: 'x' }, { install: 'y', test: 'z' }, { test: 'z' }, 'x'),
      hasInstallScript: some(true, false),
      _id: some('widget@1.2.3'),
      readme: some('text'),
    })
    .map(fields => JSON.parse(JSON.stringify(fields)) as Readonly<Record<string, unknown>>)
  const differences = (...both: Parameters<typeof manifestDifferences>) =>
    manifestDifferences(...both).toSorted((a, b) => (a.field < b.field ? -1 : 1))
  const seen = new Map<string, Readonly<Record<string, unknown>>>()
  let alike = 0
  fc.assert(
    fc.property(said, said, (inside, told) => {
      const before = seen.get(toldDigest(told)) ?? told
      if (before !== told) alike += 1
      seen.set(toldDigest(told), before)
      return isDeepStrictEqual(differences(inside, told), differences(inside, before))
    }),
    { numRuns: 3000 },
  )
  t.ok(alike > 50, 'some are alike')
  const { readme: _, ...rest } = { ...packument, readme: 'text' }
  t.equal(toldDigest({ ...packument, readme: 'other' }), toldDigest(rest))
  t.not(toldDigest({ ...manifest, hasInstallScript: true }), toldDigest(manifest))
})

t.test('more than one package.json could be installed', async t => {
  // the same content twice, so that nothing but the number is wrong
  for (const path of [
    'package/package.json',
    'other/package.json',
    'package//package.json',
    'package/./package.json',
    'package/PACKAGE.JSON',
    'package\\package.json',
    './package.json',
  ])
    t.equal(await judge(gzipSync(tar(top(), top(manifest, path)))), 'MANIFEST_MISMATCH', path)
})

t.test('a tarball without a package.json to compare', async t => {
  const cases: Readonly<Record<string, readonly Entry[]>> = {
    none: [{ path: 'package/index.js' }],
    'only one outside of the folder': [top(manifest, 'package.json')],
    'only one further down': [top(manifest, 'package/lib/package.json')],
    'a link': [{ path: 'package/package.json', type: 'SymbolicLink' }],
    'a folder': [{ path: 'package/package.json', type: 'Directory' }],
    'not JSON': [top('{')],
    'a list': [top('[]')],
    null: [top('null')],
  }
  for (const [title, entries] of Object.entries(cases))
    t.equal(await judge(gzipSync(tar(...entries))), 'MANIFEST_MISMATCH', title)
  for (const type of ['SymbolicLink', 'Directory'] as const) {
    const fact = await inspect(gzipSync(tar({ path: 'package/package.json', type })))
    t.match(fact, { found: type })
  }
})

t.test('bytes that are no tarball', async t => {
  const good = gzipSync(tar(top(), { path: 'package/big', body: 'x'.repeat(50_000) }))
  t.equal(await judge(Buffer.alloc(0)), 'MANIFEST_MISMATCH', 'nothing')
  t.equal(await judge(Buffer.from('<html>')), 'MANIFEST_MISMATCH', 'a page')
  t.equal(await judge(gzipSync('<html>')), 'MANIFEST_MISMATCH', 'a compressed page')
  t.equal(await judge(good.subarray(0, -20)), 'MANIFEST_MISMATCH', 'cut short')
  t.equal(await judge(gzipSync(good)), 'MANIFEST_MISMATCH', 'compressed twice')
  const flipped = Buffer.from(good)
  flipped[40] = (flipped[40] ?? 0) ^ 0xff
  t.equal(await judge(flipped), 'MANIFEST_MISMATCH', 'damaged')
  t.equal(await judge(tar(top()).subarray(0, 600)), 'MANIFEST_MISMATCH', 'cut inside the file')
})

t.test('bytes that broke off say nothing about the tarball', async t => {
  const broken = Readable.from(
    (async function* () {
      yield gzipSync(tar(top())).subarray(0, 30)
      throw new Error('disk')
    })(),
  )
  t.equal(outcome(await inspectTarball(broken, packument)), 'unavailable')
})

t.test('limits', async t => {
  const bomb = gzipSync(Buffer.concat([tar(top()), Buffer.alloc(64 * 1024 * 1024)]))
  t.ok(bomb.length < 100_000, `${bomb.length} bytes`)
  t.match(await inspect(bomb, packument, { unpacked: 1024 * 1024 }), {
    code: 'MANIFEST_MISMATCH',
    detail: /unpacks/,
  })
  const many = Array.from({ length: 200 }, (_, i) => ({ path: `package/${i}` }))
  const archive = gzipSync(tar(...many, top()))
  t.match(await inspect(archive, packument, { entries: 100 }), { detail: /entries/ })
  t.equal(await judge(archive, packument, { entries: 201 }), 'verified')
  const large = gzipSync(tar(top({ ...manifest, description: 'x'.repeat(2000) })))
  t.match(await inspect(large, packument, { manifest: 1000 }), { detail: /too large/ })
})

t.test('what a client would be deceived by', async t => {
  const cases: Readonly<Record<string, readonly [inside: object, told: object]>> = {
    'another name': [{ name: 'gadget' }, {}],
    'another version': [{ version: '1.2.4' }, {}],
    'no version': [{ version: undefined }, {}],
    'a hidden dependency': [{ dependencies: { lodash: '^4.17.0', evil: '1' } }, {}],
    'a hidden optional dependency': [{ optionalDependencies: { evil: '1' } }, {}],
    'a hidden peer dependency': [{ peerDependencies: { evil: '1' } }, {}],
    'a dependency that is only told': [{}, { dependencies: { lodash: '^4.17.0', evil: '1' } }],
    'a peer dependency that is only told': [{}, { peerDependencies: { evil: '1' } }],
    'another range': [{ dependencies: { lodash: '*' } }, {}],
    'an alias': [{ dependencies: { lodash: 'npm:evil@^4.17.0' } }, {}],
    'another place': [{ dependencies: { lodash: 'github:evil/lodash' } }, {}],
    'optional dependency with another range': [{ optionalDependencies: { lodash: '1' } }, {}],
    'a hidden command': [{ bin: { npm: 'evil.js' } }, {}],
    'a command that is only told': [{}, { bin: { npm: 'evil.js' } }],
    'another file behind a command': [{ bin: 'a.js' }, { bin: { widget: 'b.js' } }],
    'a hidden preinstall': [{ scripts: { preinstall: 'x' } }, {}],
    'a hidden install': [{ scripts: { install: 'x' } }, { scripts: {} }],
    'a hidden postinstall': [{ scripts: { postinstall: 'x' } }, { scripts: { test: 'x' } }],
    'another script': [{ scripts: { install: 'x' } }, { scripts: { install: 'y' } }],
    'commands from outside the folder': [
      { directories: { bin: './bin' } },
      { bin: { npm: 'lib/evil.js' } },
    ],
  }
  for (const [title, [inside, told]] of Object.entries(cases)) {
    const fact = await inspect(gzipSync(tar(top({ ...manifest, ...inside }))), {
      ...packument,
      ...told,
    })
    t.equal(outcome(fact), 'MANIFEST_MISMATCH', title)
  }
  const fact = await inspect(gzipSync(tar(top({ ...manifest, scripts: { install: 'x' } }))))
  t.match(fact, { detail: /scripts\.install/, wanted: 'nothing', found: 'x' })
})

t.test('what npm rewrites when it publishes', async t => {
  const cases: Readonly<Record<string, readonly [inside: object, told: object]>> = {
    'a version with a v': [{ version: 'v1.2.3' }, {}],
    'a version with build metadata': [{ version: '1.2.3+build' }, {}],
    'a version in blanks': [{ version: ' 1.2.3 ' }, {}],
    'optional dependencies among the others': [
      { optionalDependencies: { fsevents: '2' } },
      {
        dependencies: { lodash: '^4.17.0', fsevents: '2' },
        optionalDependencies: { fsevents: '2' },
      },
    ],
    'optional wins': [
      { dependencies: { a: '1' }, optionalDependencies: { a: '2' } },
      { dependencies: {}, optionalDependencies: { a: '2' } },
    ],
    'dependencies as a list': [
      { dependencies: ['a@1', 'b'] },
      { dependencies: { a: '1', b: '' } },
    ],
    'dependencies as a string': [{ dependencies: 'a b' }, { dependencies: { a: '', b: '' } }],
    'dependencies that are nothing': [{ dependencies: 7 }, { dependencies: {} }],
    'a dependency that is no string': [{ dependencies: { a: 7 } }, { dependencies: {} }],
    'a command as a string': [{ bin: './cli.js' }, { bin: { widget: 'cli.js' } }],
    'a command as a string on both sides': [{ bin: './cli.js' }, { bin: './cli.js' }],
    'a scoped command': [{ bin: { '@acme/widget': 'cli.js' } }, { bin: { widget: 'cli.js' } }],
    'a path that leads out': [
      { bin: { widget: '../../cli.js' } },
      { bin: { widget: 'cli.js' } },
    ],
    'a folder of commands': [{ directories: { bin: 'bin' } }, { bin: { a: 'bin/a' } }],
    'a folder of commands not listed': [{ directories: { bin: 'bin' } }, {}],
    'a script with a path': [
      { scripts: { install: './node_modules/.bin/x' } },
      { scripts: { install: 'x' } },
    ],
    'what npm adds for binding.gyp': [
      {},
      { gypfile: true, scripts: { install: 'node-gyp rebuild' } },
    ],
    'scripts nobody runs on install': [
      { scripts: { prepare: 'x', test: 'y' } },
      { scripts: {} },
    ],
    'development dependencies': [{ devDependencies: { a: '1' } }, {}],
    'an abbreviated packument that says so': [
      { scripts: { install: 'x' } },
      { _id: undefined, hasInstallScript: true },
    ],
  }
  for (const [title, [inside, told]] of Object.entries(cases)) {
    const claimed = Object.fromEntries(
      Object.entries({ ...packument, ...told }).filter(([, value]) => value !== undefined),
    )
    const fact = await inspect(gzipSync(tar(top({ ...manifest, ...inside }))), claimed)
    t.equal(outcome(fact), 'verified', `${title}: ${JSON.stringify(fact)}`)
  }
})

t.test('an abbreviated packument that is silent about scripts', async t => {
  const { _id, ...abbreviated } = packument
  const inside = { ...manifest, scripts: { postinstall: 'x' } }
  t.match(manifestDifferences(inside, abbreviated), [{ field: 'hasInstallScript' }])
  t.strictSame(manifestDifferences(inside, { ...abbreviated, hasInstallScript: true }), [])
  t.match(
    manifestDifferences(inside, { ...abbreviated, _id, hasInstallScript: true }),
    [{ field: 'scripts.postinstall' }],
    'a full one must show the script',
  )
})

t.test('ranges', async t => {
  const same: readonly (readonly [string, string])[] = [
    ['^1.2.3', ' ^1.2.3 '],
    ['', '*'],
    ['>=1.0.0 <2.0.0', '>= 1.0.0  < 2.0.0'],
    ['1.x', '1'],
    ['acme/lib', 'github:acme/lib'],
    ['git://github.com/acme/lib.git', 'git+ssh://git@github.com/acme/lib.git'],
    ['https://github.com/acme/lib.git#v1', 'git+https://github.com/acme/lib.git#v1'],
    ['git@github.com:acme/lib.git', 'github:acme/lib'],
    ['gitlab:acme/lib', 'git+ssh://git@gitlab.com/acme/lib.git'],
    ['https://acme.example/lib.tgz', 'https://acme.example/lib.tgz'],
  ]
  const different: readonly (readonly [string, string])[] = [
    ['^1.2.3', '^1.2.4'],
    ['1', 'latest'],
    ['acme/lib', 'evil/lib'],
    ['github:acme/lib', 'gitlab:acme/lib'],
    ['github:acme/lib#v1', 'github:acme/lib#v2'],
    ['github:acme/lib', 'github:acme/lib#v2'],
    ['https://acme.example/lib.tgz', 'https://evil.example/lib.tgz'],
    ['git+https://acme.example/lib.git', 'git+https://evil.example/lib.git'],
    ['npm:lib@1', 'npm:evil@1'],
    ['file:../lib', 'file:../evil'],
  ]
  for (const [a, b] of same) t.ok(sameRange(a, b) && sameRange(b, a), `${a} and ${b}`)
  for (const [a, b] of different) t.notOk(sameRange(a, b) || sameRange(b, a), `${a} or ${b}`)
})
