/**
 * Rules of the house that no linter knows. (Length, names, default exports and console are the
 * linter's: .oxlintrc.json.)
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { wantedNode } from '../lib/cli/node-version.ts'
import { errorTable } from '../lib/errors.ts'
import { revision } from '../lib/revision.ts'
import { npmRegistry } from '../lib/upstream/default-registry.ts'
import { importComplaints, rooms, specifiers } from './support/imports.ts'

const root = new URL('../', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, root))
const text = (file: string) => read(file).toString()

const tracked = execFileSync('git', ['ls-files', '-z'], {
  cwd: fileURLToPath(root),
  encoding: 'utf8',
  maxBuffer: 16 * 1024 * 1024,
})
  .split('\0')
  .filter(file => statSync(new URL(file, root), { throwIfNoEntry: false })?.isFile() === true)

const manifest = JSON.parse(text('package.json')) as {
  name: string
  engines: { node: string }
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}
const installed = new Set([...Object.keys(manifest.dependencies), manifest.name])
const sources = tracked.filter(file => /^(lib|bin)\/.*\.ts$/.test(file))

t.test('imports run one way', async t => {
  t.ok(sources.length > 20, `${sources.length} source files were found`)
  t.strictSame(
    sources.flatMap(file => importComplaints(file, text(file), installed)),
    [],
  )
})

t.test('an import the wrong way is found, however it is written', async t => {
  const wrong: readonly (readonly [file: string, source: string])[] = [
    ['lib/types.ts', `import type { ErrorCode } from './errors.ts'`],
    ['lib/errors.ts', `import { inspect } from 'node:util'`],
    ['lib/policy/match.ts', `import { readFile } from 'node:fs/promises'`],
    ['lib/policy/match.ts', `import type { Settings } from '../config/settings.ts'`],
    ['lib/evidence/bundle.ts', `export * from '../store/store.ts'`],
    ['lib/evidence/bundle.ts', `import { request } from 'undici'`],
    ['lib/evidence/bundle.ts', `import {\n  verify,\n} from 'sigstore'`],
    ['lib/trust/keys.ts', `const { openGate } = await import('../gate/gate.ts')`],
    ['lib/upstream/npm.ts', `import '../store/store.ts'`],
    ['lib/store/records.ts', `const x = new URL('../trust/root.json', import.meta.url)`],
    ['lib/gate/gate.ts', `import { route } from '../http/routes.ts'`],
    ['lib/gate/gate.ts', `type Io = import('../cli/io.ts').Io`],
    ['lib/http/routes.ts', `import { openStore } from '../store/store.ts'`],
    ['lib/http/routes.ts', `import { main } from '../cli/main.ts'`],
    ['lib/http/routes.ts', `import t from 'tap'`],
    ['lib/cli/serve.ts', `import { corpus } from '../../test/support/corpus.ts'`],
    ['lib/cli/serve.ts', `const fetch = createRequire(import.meta.url)('nock')`],
    ['lib/cli/serve.ts', `const x = await import(name)`],
    ['lib/gate/pool.ts', `new Worker(new URL('./worker.ts', import.meta.url))`],
    ['bin/attestry.ts', `import { openGate } from '../lib/gate/gate.ts'`],
    ['lib/attic/old.ts', `export const old = 1`],
  ]
  for (const [file, source] of wrong)
    t.equal(importComplaints(file, source, installed).length, 1, `${file}: ${source}`)
})

t.test('an import the right way passes, and prose is not an import', async t => {
  const right: readonly (readonly [file: string, source: string])[] = [
    ['lib/policy/match.ts', `import { x } from './glob.ts'\nimport semver from 'semver'`],
    ['lib/policy/digest.ts', `import { createHash } from 'node:crypto'`],
    ['lib/gate/gate.ts', `import type { Store } from '../store/store.ts'`],
    ['lib/cli/serve.ts', `const { a } = await import('../gate/gate.ts')`],
    ['lib/types.ts', `/** taken from './errors.ts' */\n// import './errors.ts'`],
  ]
  for (const [file, source] of right)
    t.strictSame(importComplaints(file, source, installed), [], `${file}: ${source}`)
})

t.test('every room of the table has its files', async t => {
  for (const room of Object.keys(rooms))
    t.ok(
      sources.some(file => file.startsWith(room)),
      room,
    )
})

t.test('every dependency is used', async t => {
  const used = new Set(sources.flatMap(file => specifiers(text(file))))
  for (const name of Object.keys(manifest.dependencies))
    t.ok(
      [...used].some(specifier => specifier === name || specifier.startsWith(`${name}/`)),
      name,
    )
})

t.test('docs/dependencies.md has a reason for every dependency', async t => {
  const page = text('docs/dependencies.md').split('## The lock file')[0] ?? ''
  const told = Array.from(page.matchAll(/^\| (`.*?`) +\|/gm), row => row[1]?.split(', ') ?? [])
  const names = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
  t.strictSame(told.flat().sort(), names.map(name => `\`${name}\``).sort())
})

t.test('what verifies does not change unnoticed', async t => {
  const lock = JSON.parse(text('package-lock.json')) as {
    packages: Record<string, { version: string }>
  }
  const libraries = ['@noble/curves', 'semver', 'tar'].map(name => `node_modules/${name}`)
  const hash = createHash('sha256')
  for (const [at, { version }] of Object.entries(lock.packages))
    if (
      /^node_modules\/@sigstore\/(bundle|core|protobuf-specs|verify)$/.test(at) ||
      libraries.includes(at)
    )
      hash.update(`${at} ${version}\n`)
  // remarks and layout do not count
  const code = (file: string) =>
    text(file)
      .split('\n')
      .map(line => line.trim())
      .filter(line => !/^(\/\/|\/?\*)/.test(line))
      .join('')
  for (const file of sources.filter(name => name.startsWith('lib/evidence/')))
    hash.update(`${file} ${code(file)}\n`)
  const found = hash.digest('base64url')
  t.strictSame(
    [revision, found],
    [1, 'AUt4N3t65DXXWDj9TDnyRmwPDi2s6jbTAsxRI1anM2o'],
    `lib/evidence, or what it leans on, has changed. Raise lib/revision.ts where it comes to other facts of the same claims (then what stores hold is found out again); in any case write here what was found: ${found}`,
  )
})

t.test('no file names the host of a registry', async t => {
  const { host } = new URL(npmRegistry)
  t.match(host, /^[a-z0-9-]+(\.[a-z0-9-]+)+$/)
  t.strictSame(
    tracked.filter(file => read(file).includes(host)),
    [],
  )
  t.notMatch(text('package-lock.json'), '"resolved"', 'the lock file names no place')
})

t.test('docs/errors.md lists the error table', async t => {
  const rows = text('docs/errors.md')
    .split('\n')
    .map(line => line.split('|').map(cell => cell.trim()))
    .filter(cells => /^`E[A-Z]+`$/.test(cells[1] ?? ''))
    .map(cells => [
      cells[1]?.slice(1, -1),
      Number(cells[2]),
      // `<` is escaped, for Markdown would take it for a tag
      cells[3]?.replaceAll(String.raw`\<`, '<'),
    ])
  t.strictSame(
    rows,
    Object.entries(errorTable).map(([code, { status, todo }]) => [code, status, todo]),
  )
})

t.test('one range of Node versions', async t => {
  t.equal(manifest.engines.node, wantedNode)
})
