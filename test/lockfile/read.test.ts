/** All formats give the same list, with the right lines, and know what is no registry package. */
import t from 'tap'
import { readLockfile } from '../../lib/lockfile/read.ts'
import { digest, fromRegistry, read, sample, samples } from './samples.ts'

const flagsOf = (p: { dev: boolean; optional: boolean }) =>
  `${p.dev ? ' dev' : ''}${p.optional ? ' optional' : ''}`

const expected = [
  '@scope/thing@1.2.3',
  'devonly@1.0.0 dev',
  'devtool@1.0.0 dev',
  'host@1.0.0',
  'host@2.0.0',
  'leaf@1.0.0',
  'maybe-dep@1.0.0 optional',
  'maybe@1.0.0 optional',
  'peered@1.0.0',
  'plain@1.0.0',
  'plain@2.0.0',
  'shared@1.0.0',
]
const withoutFlags = expected.map(line => line.replace(/ .*/, ''))

t.test('one project, the same list', t => {
  const formats = {
    'npm-1': ['npm', '1'],
    'npm-2': ['npm', '2'],
    'npm-3': ['npm', '3'],
    'pnpm-6': ['pnpm', '6.0'],
    'pnpm-9': ['pnpm', '9.0'],
    'yarn-1': ['yarn-classic', '1'],
    'yarn-4': ['yarn-berry', '10'],
    'bun-2': ['bun', '2'],
  } as const
  const integrities = fromRegistry(read(sample('npm-3')).packages, p => ` ${p.integrity}`)
  for (const { name, ...given } of samples)
    t.test(name, t => {
      const lockfile = read(given)
      t.same([lockfile.format, lockfile.formatVersion], formats[name])
      t.equal(lockfile.file, given.file)
      const isYarn = name.startsWith('yarn')
      t.same(fromRegistry(lockfile.packages, flagsOf), isYarn ? withoutFlags : expected)
      if (name === 'yarn-4')
        t.ok(
          lockfile.packages.every(p => p.integrity === undefined || p.checksum === undefined),
        )
      else
        t.same(
          fromRegistry(lockfile.packages, p => ` ${p.integrity}`),
          integrities,
        )
      t.end()
    })
  t.end()
})

t.test('lines are those of the keys, addresses are where they are said to be', t => {
  for (const { name, file, text } of samples) {
    const lines = text.split('\n')
    for (const entry of read({ file, text }).packages) {
      const own = entry.key.split(/\/?node_modules\//).at(-1) ?? ''
      const line = lines[entry.line - 1] ?? ''
      t.ok(line.includes(own.split(', ')[0] ?? ''), `${name}:${entry.line} ${entry.key}`)
      t.match(line, /:\s*(\[.*|\{)?$/, 'a key')
      for (const { start, end } of entry.resolvedAt)
        t.equal(text.slice(start, end), entry.resolved, `${name} ${entry.key}`)
      if (entry.kind === 'registry' && entry.resolved !== undefined)
        t.equal(entry.resolvedAt.length, name === 'npm-2' ? 2 : 1, `${name} ${entry.key}`)
    }
  }
  t.end()
})

t.test('lines with CR LF', t => {
  for (const { name, file, text } of samples) {
    const crlf = read({ file, text: text.replaceAll('\n', '\r\n') })
    const places = (packages: readonly { key: string; line: number }[]) =>
      packages.map(({ key, line }) => `${key} ${line}`)
    t.same(places(crlf.packages), places(read({ file, text }).packages), name)
  }
  t.end()
})

t.test('what is not from a registry', t => {
  const others = (name: Parameters<typeof sample>[0]) =>
    Object.fromEntries(
      read(sample(name))
        .packages.filter(({ kind }) => kind !== 'registry')
        .map(({ kind, name, version, resolved }) => [
          `${kind} ${name}`,
          version === '' ? (resolved ?? '') : `${version} ${resolved ?? ''}`,
        ]),
    )
  const commit = '8fd02484708d4a09d0fda1e62f7d5935424cefe9'
  const git = `git+file:///srv/gitty#${commit}`
  const url = 'https://files.example/remote/-/remote-1.0.0.tgz'
  const npm = {
    'file local': '1.0.0 file:local.tgz',
    'git gitty': `1.0.0 ${git}`,
    'url remote': `1.0.0 ${url}`,
    'link a': '1.0.0 packages/a',
    'link b': '1.0.0 packages/b',
    'link linked': '1.0.0 linked',
    'file linked': '1.0.0 ',
    'workspace a': '1.0.0 ',
    'workspace b': '1.0.0 ',
  }
  t.same(others('npm-3'), npm)
  t.same(others('npm-2'), npm)
  t.same(others('npm-1'), {
    'file local': 'file:local.tgz',
    'git gitty': git,
    'url remote': url,
    'file a': 'file:packages/a',
    'file b': 'file:packages/b',
    'file linked': 'file:linked',
  })
  t.same(others('pnpm-9'), {
    'workspace a': '',
    'workspace b': '',
    'link linked': 'link:linked',
    'git gitty': `1.0.0 file:///srv/gitty#${commit}`,
    'file local': '1.0.0 file:local.tgz',
    'url remote': `1.0.0 ${url}`,
  })
  t.same(others('pnpm-6'), {
    'workspace a': '',
    'workspace b': '',
    'link linked': 'link:linked',
    'git gitty': `1.0.0 https://codeload.github.com/example/gitty/tar.gz/${commit}`,
    'file local': '1.0.0 file:local.tgz',
    'url remote': `1.0.0 ${url}`,
  })
  t.same(others('yarn-1'), {
    'git gitty': `1.0.0 ${git}`,
    'link linked': '0.0.0 ',
    'file local': '1.0.0 file:./local.tgz#37fcaa8b1a93ffcc9c81d1c3612ce38c7fa61b9e',
    'url remote': `1.0.0 ${url}#2a761a35f19911ccfd3a3f23265be62b86405e6e`,
  })
  t.same(others('yarn-4'), {
    'workspace a': 'workspace:packages/a',
    'workspace b': 'workspace:packages/b',
    'link linked': 'link:./linked::locator=project%40workspace%3A.',
    'file local':
      '1.0.0 file:./local.tgz#./local.tgz::hash=c76929&locator=project%40workspace%3A.',
    'url remote': `1.0.0 ${url}`,
  })
  t.same(others('bun-2'), {
    'workspace a': '1.0.0 workspace:packages/a',
    'workspace b': '1.0.0 workspace:packages/b',
    'git gitty': git,
    'file linked': 'file:linked',
    'file local': './local.tgz',
    'url remote': url,
  })
  t.end()
})

t.test('aliases', t => {
  for (const { name, ...given } of samples) {
    const aliased = read(given).packages.filter(({ alias }) => alias !== undefined)
    t.ok(
      aliased.every(p => p.name === 'plain' && p.version === '1.0.0'),
      `${name}: an alias hides no name`,
    )
    // pnpm and yarn 4 have one entry for both
    t.ok(aliased.length >= 1, name)
    t.ok(
      aliased.every(p => p.alias === 'renamed' || p.alias === 'old'),
      name,
    )
  }
  t.end()
})

const npm3 = (packages: object) =>
  readLockfile(JSON.stringify({ lockfileVersion: 3, packages }, null, 2), {
    file: 'package-lock.json',
  }).packages

t.test('npm: what else there is', t => {
  const address = 'https://registry.example/x/-/x-1.2.3.tgz'
  t.test('bundled means inside another tarball only where nothing else is said', t => {
    const found = npm3({
      '': {},
      'node_modules/x': { version: '1.0.0', inBundle: true },
      'node_modules/y': { version: '1.0.0', inBundle: true, resolved: address },
      'node_modules/z': { version: '1.0.0', inBundle: true, integrity: digest(1) },
    })
    t.same(
      found.map(({ kind }) => kind),
      ['bundled', 'registry', 'registry'],
    )
    t.end()
  })
  t.test('entries npm drops, and versions told by the address alone', t => {
    const found = npm3({
      'node_modules/optional-peer': { optional: true, peer: true },
      'node_modules/x': { resolved: address },
    })
    t.same(fromRegistry(found), ['x@1.2.3'])
    t.equal(found.length, 1)
    t.end()
  })
  t.test('addresses that npm takes for something else than a tarball', t => {
    const kinds = (resolved: string) =>
      npm3({ 'node_modules/x': { version: '1.2.3', resolved } })[0]?.kind
    t.equal(kinds('git+ssh://git@github.com/o/x.git#abc'), 'git')
    t.equal(kinds('github:o/x#abc'), 'git')
    t.equal(kinds('o/x'), 'git')
    t.equal(kinds('git@github.com:o/x.git'), 'git')
    t.equal(kinds('https://example.com/o/x.git#abc'), 'git')
    t.equal(kinds('https://codeload.github.com/o/x/tar.gz/abc'), 'git')
    t.equal(kinds('file:../x.tgz'), 'file')
    t.equal(kinds('../x'), 'file')
    t.equal(kinds('npm:y@1.2.3'), 'url', 'an alias is no address')
    t.equal(kinds('^1.0.0'), 'url', 'nor a range')
    t.equal(kinds(address), 'registry')
    t.end()
  })
  t.test('version 2: what only npm 6 would install is listed too', t => {
    const text = JSON.stringify({
      lockfileVersion: 2,
      packages: { 'node_modules/x': { version: '1.2.3', resolved: address } },
      dependencies: {
        x: {
          version: '1.2.3',
          resolved: address,
          dependencies: { evil: { version: '6.6.6' } },
        },
      },
    })
    const { packages } = readLockfile(text, { file: 'package-lock.json' })
    t.same(fromRegistry(packages), ['evil@6.6.6', 'x@1.2.3'])
    t.equal(packages[1]?.key, 'node_modules/x/node_modules/evil')
    t.end()
  })
  t.test(
    'version 1: addresses as versions, `false` as address, shrinkwrap without version',
    t => {
      const dependencies = {
        x: { resolved: address },
        y: { version: '1.0.0', resolved: false, bundled: true },
        z: { version: '1.0.0', resolved: false },
        w: { version: 'https://files.example/w.tgz', integrity: digest(1) },
      }
      const { formatVersion, packages } = readLockfile(JSON.stringify({ dependencies }), {
        file: '/srv/npm-shrinkwrap.json',
      })
      t.equal(formatVersion, '1')
      t.same(
        packages.map(({ kind, name, version }) => `${kind} ${name} ${version}`),
        ['registry x 1.2.3', 'bundled y 1.0.0', 'registry z 1.0.0', 'url w '],
      )
      t.end()
    },
  )
  t.end()
})

t.test('pnpm: what else there is', t => {
  const text = (packages: string, more = '') =>
    `lockfileVersion: '9.0'\n${more}packages:\n${packages}`
  const kinds = (packages: string) =>
    readLockfile(text(packages), { file: 'pnpm-lock.yaml' }).packages.map(
      ({ kind, name, version, resolved }) => [kind, name, version, resolved].join(' ').trim(),
    )
  t.test('what pnpm installs for itself stands in a document of its own', t => {
    const own = `---\n${text(
      `  pnpm@11.0.0:\n    resolution: {integrity: ${digest(1)}}\nsnapshots:\n  pnpm@11.0.0: {}\n`,
    )}\n---\n${sample('pnpm-9').text}`
    const { packages } = readLockfile(own, { file: 'pnpm-lock.yaml' })
    t.same(fromRegistry(packages), [...withoutFlags, 'pnpm@11.0.0'].toSorted())
    t.match(own.split('\n')[(packages.at(-1)?.line ?? 0) - 1], /shared@1\.0\.0:$/)
    t.end()
  })
  t.test('resolutions', t => {
    t.same(
      kinds(`  x@1.0.0:
    resolution: {integrity: ${digest(1)}, tarball: 'https://registry.example/x/-/x-1.0.0.tgz'}
  y@https://codeload.github.com/o/y/tar.gz/abc:
    resolution: {gitHosted: true, tarball: https://files.example/abc}
    version: 1.0.0
  a@file:packages/a:
    resolution: {directory: packages/a, type: directory}
  node@runtime:24.0.0:
    resolution:
      type: variations
      variants:
        - resolution:
            archive: tarball
            url: https://files.example/node.tar.gz
          targets:
            - cpu: x64
              os: linux
    version: 24.0.0
  zz@1.0.0:
    resolution: {type: custom}
`),
      [
        'registry x 1.0.0 https://registry.example/x/-/x-1.0.0.tgz',
        'git y 1.0.0 https://files.example/abc',
        'file a  packages/a',
        'url node 24.0.0',
        'url zz 1.0.0',
      ],
    )
    t.end()
  })
  t.test('peers and patches are no part of name and version', t => {
    const lock = `lockfileVersion: '9.0'
importers:
  .:
    devDependencies:
      '@s/x':
        specifier: 1
        version: 1.0.0(patch_hash=abc)(y@2.0.0(z@3.0.0))
packages:
  '@s/x@1.0.0': {resolution: {integrity: ${digest(1)}}}
snapshots:
  ? '@s/x@1.0.0(patch_hash=abc)(y@2.0.0(z@3.0.0))'
  : dependencies: {}
`
    t.throws(
      () => readLockfile(lock, { file: 'x' }),
      { code: 'ELOCKFILE' },
      'nothing after ":"',
    )
    const { packages } = readLockfile(
      lock.replace(': dependencies: {}', ':\n    dependencies: {}'),
      {
        file: 'x',
      },
    )
    t.same(fromRegistry(packages, flagsOf), ['@s/x@1.0.0 dev'])
    t.end()
  })
  t.end()
})

t.test('yarn: what else there is', t => {
  const classic = (entries: string) =>
    readLockfile(`# yarn lockfile v1\n\n${entries}`, { file: 'yarn.lock' }).packages
  const berry = (entries: string) =>
    readLockfile(`__metadata:\n  version: 8\n\n${entries}`, { file: 'yarn.lock' }).packages
  const kinds = (packages: ReturnType<typeof classic>) =>
    packages.map(({ kind, name, version }) => `${kind} ${name} ${version}`)

  t.test('yarn 1: two names on one line are two packages', t => {
    const found = classic(`a@^1, "a@^1.1", b@^1:\n  version "1.2.0"\n`)
    t.same(kinds(found), ['registry a 1.2.0', 'registry b 1.2.0'])
    t.end()
  })
  t.test('yarn 1: `resolved` decides', t => {
    const resolved = (key: string, address: string) =>
      kinds(classic(`"${key}":\n  version "1.0.0"\n  resolved "${address}"\n`))
    t.same(resolved('x@^1', 'https://registry.example/x/-/x-1.0.0.tgz#00'), [
      'registry x 1.0.0',
    ])
    t.same(resolved('x@^1', 'git+https://example.com/x.git#abc'), ['git x 1.0.0'])
    t.same(resolved('x@o/x', 'https://codeload.github.com/o/x/tar.gz/abc'), ['git x 1.0.0'])
    t.same(resolved('x@o/x', 'https://example.com/o/x/abc.tgz'), ['git x 1.0.0'])
    t.same(resolved('x@^1', 'x-1.0.0.tgz#00'), ['file x 1.0.0'], 'an offline mirror')
    t.same(resolved('x@https://e.example/x.tgz', 'https://e.example/x.tgz#00'), ['url x 1.0.0'])
    t.same(resolved('@s/y@npm:x@^1', 'https://registry.example/x/-/x-1.0.0.tgz'), [
      'registry x 1.0.0',
    ])
    t.end()
  })
  t.test('yarn 1: sha1 behind the address is an integrity', t => {
    const sha1 = Buffer.alloc(20, 7)
    const [found] = classic(
      `x@^1:\n  version "1.0.0"\n  resolved "https://r.example/x/-/x-1.0.0.tgz#${sha1.toString('hex')}"\n`,
    )
    t.equal(found?.integrity, `sha1-${sha1.toString('base64')}`)
    t.end()
  })
  t.test('yarn 4: locators', t => {
    const found = berry(`"a@npm:^1, b@npm:a@^1":
  version: 1.0.0
  resolution: "a@npm:1.0.0::__archiveUrl=https%3A%2F%2Fr.example%2Fa%2F-%2Fa-1.0.0.tgz"
"a@patch:a@npm%3A1.0.0#./a.patch":
  version: 1.0.0
  resolution: "a@patch:a@npm%3A1.0.0#./a.patch::version=1.0.0&hash=00"
"g@https://github.com/o/g.git":
  version: 2.0.0
  resolution: "g@https://github.com/o/g.git#commit=abc"
"h@git@example.com:o/h":
  version: 2.0.0
  resolution: "h@git@example.com:o/h#commit=abc"
"odd@odd:1":
  version: 2.0.0
  resolution: "odd@odd:1"
"root@workspace:.":
  version: 0.0.0-use.local
  resolution: "root@workspace:."
`)
    t.same(kinds(found), [
      'registry a 1.0.0',
      'file a 1.0.0',
      'git g 2.0.0',
      'git h 2.0.0',
      'url odd 2.0.0',
    ])
    t.equal(found[0]?.resolved, 'https://r.example/a/-/a-1.0.0.tgz')
    t.equal(found[0]?.alias, 'b')
    t.end()
  })
  t.test('an empty file has no packages', t => {
    t.same(readLockfile('', { file: 'yarn.lock' }).packages, [])
    t.same(classic(''), [])
    t.end()
  })
  t.end()
})

t.test('integrity', t => {
  const of = (integrity: string) =>
    npm3({ 'node_modules/x': { version: '1.0.0', integrity } })[0]?.integrity
  const [one, two] = [digest(1), digest(2)]
  t.equal(of(one), one)
  t.equal(of(`sha1-AAAA ${one}?opt`), one)
  t.equal(of(`${one} ${one}`), one)
  t.equal(of(`${one} ${two}`), `${one} ${two}`, 'a client takes either')
  t.equal(of(one.replace(/=+$/, '')), one, 'canonical')
  t.equal(of('sha1-AAAA'), 'sha1-AAAA')
  t.equal(of('sha512-AAAA'), 'sha512-AAAA')
  t.equal(of(''), undefined)
  t.end()
})
