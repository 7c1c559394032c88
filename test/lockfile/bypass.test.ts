/** Which entries go past the proxy, which of them can be rewritten, and how little changes. */
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { bypasses, fixBypasses, type Bypass } from '../../lib/lockfile/bypass.ts'
import { findLockfile, loadLockfileText, lockfileAt } from '../../lib/lockfile/find.ts'
import { MAX_LOCKFILE, readLockfile } from '../../lib/lockfile/read.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import { digest, lockedRegistry, read, sample, samples } from './samples.ts'

const registry = 'http://proxy.example:4877/npm/'
const options = { registry, npmRegistry }

const told = (found: readonly Bypass[]) =>
  found.map(b => `${b.package.name} ${b.reason}${b.fix === undefined ? '' : ` ${b.fix}`}`)

const npm = (entry: object, name = 'x') =>
  readLockfile(
    JSON.stringify({
      lockfileVersion: 3,
      packages: {
        [`node_modules/${name}`]: { version: '1.0.0', integrity: digest(1), ...entry },
      },
    }),
    { file: 'package-lock.json' },
  )
const yarn = (resolved: string, { name = 'x', more = `  integrity ${digest(1)}\n` } = {}) =>
  readLockfile(
    `# yarn lockfile v1\n\n"${name}@^1":\n  version "1.0.0"\n  resolved "${resolved}"\n${more}`,
    { file: 'yarn.lock' },
  )
const bun = (resolved: string) =>
  readLockfile(
    JSON.stringify({
      lockfileVersion: 1,
      workspaces: {},
      packages: { x: ['x@1.0.0', resolved, {}, digest(1)] },
    }),
    { file: 'bun.lock' },
  )
const pnpm = (tarball: string) =>
  readLockfile(
    `lockfileVersion: '9.0'\npackages:\n  x@1.0.0:\n    resolution: {integrity: ${digest(1)}, tarball: ${tarball}}\n`,
    { file: 'pnpm-lock.yaml' },
  )

t.test('an address below the proxy is no bypass, anything like it is', t => {
  const address = `${registry}x/-/x-1.0.0.tgz`
  for (const lockfile of [
    npm({ resolved: address }),
    yarn(address),
    bun(address),
    pnpm(address),
  ])
    t.same(bypasses(lockfile, options), [], lockfile.format)
  t.same(bypasses(yarn(`${address}#00`), options), [])
  t.same(bypasses(bun(''), options), [], "bun's empty address is the registry it is set to")
  t.same(bypasses(npm({}), options), [], 'without address npm asks its registry')
  t.same(bypasses(yarn(address), { ...options, registry: registry.slice(0, -1) }), [])

  const near = {
    'another path': 'http://proxy.example:4877/x/-/x-1.0.0.tgz',
    'a longer path': 'http://proxy.example:4877/npmx/x/-/x-1.0.0.tgz',
    'another port': 'http://proxy.example:4878/npm/x/-/x-1.0.0.tgz',
    'another scheme': 'https://proxy.example:4877/npm/x/-/x-1.0.0.tgz',
    'a longer host': 'http://proxy.example:4877.evil.example/npm/x/-/x-1.0.0.tgz',
    'the proxy as user': 'http://proxy.example:4877@evil.example/npm/x/-/x-1.0.0.tgz',
    'a step out of the path': `${registry}../x/-/x-1.0.0.tgz`,
    'an encoded step': `${registry}%2e%2e/x/-/x-1.0.0.tgz`,
    'a backslash': `${registry}\\\\..\\\\x/-/x-1.0.0.tgz`,
  }
  for (const [what, resolved] of Object.entries(near))
    t.equal(bypasses(yarn(resolved), options)[0]?.reason, 'foreign-host', what)
  t.end()
})

t.test("npm's own registry: only npm goes to the proxy for it", t => {
  const address = `${npmRegistry}x/-/x-1.0.0.tgz`
  t.same(bypasses(npm({ resolved: address }), options), [])
  t.same(bypasses(npm({ resolved: address.replace('https:', 'http:') }), options), [])
  for (const lockfile of [yarn(address), bun(address), pnpm(address)])
    t.same(told(bypasses(lockfile, options)), ['x foreign-host rewrite'], lockfile.format)
  t.end()
})

t.test('who does it, and why', t => {
  const foreign = 'http://user:secret@mirror.example/x/-/x-1.0.0.tgz'
  const clients = (lockfile: ReturnType<typeof npm>) => bypasses(lockfile, options)[0]?.clients
  t.same(clients(npm({ resolved: foreign })), ['npm 11'], 'npm 12 refuses')
  t.same(clients(pnpm(foreign)), ['pnpm 10'], 'pnpm 11 and 12 refuse')
  t.same(clients(yarn(foreign)), ['yarn 1'])
  t.same(clients(bun(foreign)), ['bun'])
  const [found] = bypasses(yarn(foreign), options)
  t.match(found?.why, /mirror\.example, without encryption/)
  t.notMatch(found?.why, /secret/)
  t.equal(found?.line, 3)
  t.end()
})

t.test('an address of another package or version is told even on the proxy', t => {
  for (const [base, what] of [
    [registry, 'the proxy'],
    [npmRegistry, "npm's registry"],
    ['https://mirror.example/', 'a mirror'],
  ] as const) {
    const of = (path: string, name = 'x') =>
      told(bypasses(npm({ resolved: `${base}${path}` }, name), options))
    t.same(of('evil/-/evil-1.0.0.tgz'), ['x other-package'], what)
    t.same(of('x/-/x-1.0.1.tgz'), ['x other-package'], what)
    t.same(of('@evil/x/-/x-1.0.0.tgz'), ['x other-package'], what)
    t.same(of('x/-/x-1.0.0.tgz', '@s/x'), ['@s/x other-package'], what)
    const right = what === 'a mirror' ? ['@s/x foreign-host rewrite'] : []
    t.same(of('@s/x/-/x-1.0.0.tgz', '@s/x'), right, what)
    t.same(of('@s%2fx/-/x-1.0.0.tgz', '@s/x'), right, what)
    t.same(of('%40s/x/-/x-1.0.0.tgz', '@s/x'), right, what)
  }
  const built = npm({ version: '1.0.0+b1', resolved: `${registry}x/-/x-1.0.0.tgz` })
  t.same(bypasses(built, options), [], 'build metadata is no part of the file name')
  t.same(bypasses(npm({ resolved: `${registry}x/-/x-1.0.1.tgz` }), options)[0]?.clients, [
    'npm 11',
    'npm 12',
  ])
  t.end()
})

t.test('what is not rewritten', t => {
  const mirror = 'https://mirror.example/x/-/x-1.0.0.tgz'
  t.same(told(bypasses(yarn(mirror), options)), ['x foreign-host rewrite'])
  t.same(
    told(bypasses(yarn(mirror, { more: '' }), options)),
    ['x foreign-host'],
    'nothing pins the bytes',
  )
  t.same(
    told(bypasses(yarn(`${mirror}#${'0'.repeat(40)}`, { more: '' }), options)),
    ['x foreign-host rewrite'],
    'the sha1 behind the address does',
  )
  for (const odd of [
    'https://mirror.example/download/x/1.0.0/abc',
    'https://mirror.example/x/-/@s/x-1.0.0.tgz',
    'https://mirror.example/x/-/x-1.0.0.tgz?cache=0',
    'https://mirror.example/x/-/x-1.0.0.tar.gz',
  ])
    t.same(told(bypasses(yarn(odd), options)), ['x foreign-host'], odd)
  t.same(told(bypasses(yarn('ftp://mirror.example/x-1.0.0.tgz'), options)), ['x url'])
  const escaped = readLockfile(
    `{"lockfileVersion":3,"packages":{"node_modules/x":{"version":"1.0.0","integrity":"${digest(1)}","resolved":"https:\\/\\/mirror.example\\/x\\/-\\/x-1.0.0.tgz"}}}`,
    { file: 'package-lock.json' },
  )
  t.same(told(bypasses(escaped, options)), ['x foreign-host'], 'not there as it is written')
  t.end()
})

t.test('the samples: what is left are git and the tarball by address', t => {
  for (const { name, file, text } of samples) {
    const lockfile = read({ file, text })
    const { text: after, fixed, left } = fixBypasses(text, lockfile, options)
    const git = name === 'yarn-4' ? [] : ['gitty git']
    t.same(told(left).toSorted(), [...git, 'remote url'], name)
    t.equal(fixed, told(bypasses(lockfile, options)).length - left.length)
    // nothing but the hosts changed, on exactly the lines that had one
    t.equal(after.replaceAll(registry, lockedRegistry), text, name)
    const now = read({ file, text: after })
    t.same(told(bypasses(now, options)).toSorted(), [...git, 'remote url'])
    t.equal(now.packages.length, lockfile.packages.length)
    const again = fixBypasses(after, now, options)
    t.same([again.text, again.fixed], [after, 0])
    const withoutHost = name === 'yarn-4' || name.startsWith('pnpm')
    t.equal(fixed > 0, !withoutHost, name)
  }
  t.end()
})

t.test('pnpm and yarn 4 with explicit addresses', t => {
  const pnpm9 = sample('pnpm-9')
  const explicit = pnpm9.text.replace(
    /( {2}'@scope\/thing@1\.2\.3':\n.*)\}/,
    '$1, tarball: https://mirror.example/@scope/thing/-/thing-1.2.3.tgz}',
  )
  t.not(explicit, pnpm9.text)
  const fixedPnpm = fixBypasses(explicit, read({ ...pnpm9, text: explicit }), options)
  t.equal(fixedPnpm.fixed, 1)
  t.equal(fixedPnpm.text, explicit.replace('https://mirror.example/', registry))

  const yarn4 = sample('yarn-4')
  const archive = encodeURIComponent('https://mirror.example/leaf/-/leaf-1.0.0.tgz')
  const bound = yarn4.text.replace(
    '"leaf@npm:1.0.0"',
    `"leaf@npm:1.0.0::__archiveUrl=${archive}"`,
  )
  t.not(bound, yarn4.text)
  const lockfile = read({ ...yarn4, text: bound })
  t.same(told(bypasses(lockfile, options)).toSorted(), [
    'leaf foreign-host rewrite',
    'remote url',
  ])
  const fixedYarn = fixBypasses(bound, lockfile, options)
  t.same([fixedYarn.text, fixedYarn.fixed], [yarn4.text, 1])

  const more = bound.replace('::__archiveUrl=', '::hash=00&__archiveUrl=')
  t.same(
    told(bypasses(read({ ...yarn4, text: more }), options)).toSorted(),
    ['leaf foreign-host', 'remote url'],
    'with something else beside it it stays',
  )
  const double = bound.replace(archive, `${archive}&__archiveUrl=x`)
  t.throws(() => read({ ...yarn4, text: double }), { code: 'ELOCKFILE' })
  t.end()
})

t.test('a line of yarn 1 that stands for a name and its alias is rewritten once', t => {
  const text = `# yarn lockfile v1\n\nx@^1, "y@npm:x@^1":\n  version "1.0.0"\n  resolved "https://mirror.example/x/-/x-1.0.0.tgz#00"\n  integrity ${digest(1)}\n`
  const fixed = fixBypasses(text, readLockfile(text, { file: 'yarn.lock' }), options)
  t.equal(fixed.text, text.replace('https://mirror.example/', registry))
  t.end()
})

t.test('which lockfile a folder has', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-lockfile-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const put = (name: string, text: string | Buffer = '') => writeFile(join(folder, name), text)
  await t.rejects(findLockfile(folder), { code: 'ELOCKFILE' })
  await t.rejects(findLockfile(join(folder, 'none')), { code: 'ELOCKFILE' })
  await put('deno.lock')
  await t.rejects(findLockfile(folder), { code: 'ELOCKFILE', message: /deno\.lock alone/ })
  await put('bun.lockb')
  t.equal(await findLockfile(folder), join(folder, 'bun.lockb'))
  await put('bun.lock')
  t.equal(await findLockfile(folder), join(folder, 'bun.lock'), 'bun reads the text first')
  await put('package-lock.json')
  await t.rejects(findLockfile(folder), {
    code: 'ELOCKFILE',
    details: { found: ['package-lock.json', 'bun.lock'] },
    message: /package-lock\.json and bun\.lock/,
  })
  await rm(join(folder, 'bun.lock'))
  await rm(join(folder, 'bun.lockb'))
  t.equal(await findLockfile(folder), join(folder, 'package-lock.json'))
  await put('npm-shrinkwrap.json')
  const shrinkwrap = join(folder, 'npm-shrinkwrap.json')
  t.equal(await findLockfile(folder), shrinkwrap, 'as npm does')
  t.equal(await lockfileAt(undefined, folder), shrinkwrap)
  t.equal(await lockfileAt('.', folder), shrinkwrap, 'a folder stands for the one in it')
  t.equal(await lockfileAt('package-lock.json', folder), join(folder, 'package-lock.json'))
  t.equal(await lockfileAt('none', folder), join(folder, 'none'), 'told when it is read')

  await put('yarn.lock', 'caf\u00e9\n')
  t.equal(await loadLockfileText(join(folder, 'yarn.lock')), 'caf\u00e9\n')
  await put('yarn.lock', Buffer.from([0x61, 0xff, 0x62]))
  await t.rejects(loadLockfileText(join(folder, 'yarn.lock')), { code: 'ELOCKFILE' })
  await put(
    'bun.lockb',
    Buffer.from('#!/usr/bin/env bun\nbun-lockfile-format-v0\n\u0001\xff', 'latin1'),
  )
  const binary = await loadLockfileText(join(folder, 'bun.lockb'))
  t.throws(() => readLockfile(binary, { file: 'bun.lockb' }), { message: /save-text-lockfile/ })
  await t.rejects(loadLockfileText(join(folder, 'none')), {
    code: 'ELOCKFILE',
    message: /none:1:1: there is no such file/,
  })
  await t.rejects(loadLockfileText(folder), { code: 'ELOCKFILE' })
  // a hole: it takes no room on disk
  await put('large', '')
  await truncate(join(folder, 'large'), MAX_LOCKFILE + 1)
  await t.rejects(loadLockfileText(join(folder, 'large')), {
    code: 'ELOCKFILE',
    message: /at most/,
  })
})
