import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { asAnnounced } from './demo.ts'
import { findNpm } from './npm.ts'
import { wrap } from './print.ts'

const run = (file: string, env: NodeJS.ProcessEnv) =>
  new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    const path = fileURLToPath(new URL(file, import.meta.url))
    execFile(process.execPath, [path], { env, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 99), stdout, stderr })
    })
  })

const plain = { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined }

t.test('the demonstration comes out as announced', async t => {
  const { code, stdout, stderr } = await run('demo.ts', plain)
  t.equal(code, 0, stdout + stderr)
  for (const word of ['UNSIGNED', 'WRONG_SUBJECT', 'IDENTITY_MISMATCH', 'DOWNGRADED']) {
    t.match(stdout, word)
  }
  t.notMatch(stdout, '\u001b', 'no colours where none are wanted')
  t.same(
    stdout.split('\n').filter(line => line.length > 80),
    [],
    'it fits a terminal of 80 columns',
  )
})

t.test('an outcome counts only when it is the one announced', async t => {
  const result = (code: number | null, output: string, installed: readonly string[]) => ({
    run: { code, output, stdout: output, stderr: '' },
    installed,
  })
  const scene = { title: '', tale: '', spec: 'a@1.0.0', publish: () => Promise.resolve() }
  const admits = { ...scene, admits: 'a@1.0.0' }
  t.ok(asAnnounced(admits, result(0, '', ['a@1.0.0'])))
  t.notOk(asAnnounced(admits, result(0, '', ['a@1.0.1'])))
  t.notOk(asAnnounced(admits, result(0, '', ['a@1.0.0', 'b@1.0.0'])))
  t.notOk(asAnnounced(admits, result(1, '', ['a@1.0.0'])))
  const refuses = { ...scene, refuses: 'UNSIGNED' as const }
  t.ok(asAnnounced(refuses, result(1, 'npm error UNSIGNED', [])))
  t.notOk(
    asAnnounced(refuses, result(1, 'npm error ECONNREFUSED', [])),
    'refused for another reason',
  )
  t.notOk(asAnnounced(refuses, result(1, 'npm error UNSIGNED', ['a@1.0.0'])))
  t.notOk(asAnnounced(refuses, result(0, 'UNSIGNED', [])))
  t.notOk(asAnnounced(refuses, result(null, 'UNSIGNED', [])), 'it took too long')
})

t.test('npm is found where it is', async t => {
  const dir = t.testdir({
    direct: { node_modules: { npm: { bin: { 'npm-cli.js': '' } } } },
    unix: { lib: { node_modules: { npm: { bin: { 'npm-cli.js': '' } } } }, bin: {} },
    wrapper: { npm: '#!/bin/sh' },
    linked: {},
  })
  const inside = (...path: string[]) => join(dir, ...path, 'npm', 'bin', 'npm-cli.js')
  t.equal(findNpm({ PATH: join(dir, 'direct') }), inside('direct', 'node_modules'))
  t.equal(findNpm({ PATH: join(dir, 'unix', 'bin') }), inside('unix', 'lib', 'node_modules'))
  await mkdir(join(dir, 'linked', 'bin'))
  await symlink(inside('direct', 'node_modules'), join(dir, 'linked', 'bin', 'npm'))
  t.equal(findNpm({ PATH: join(dir, 'linked', 'bin') }), inside('direct', 'node_modules'))
  const path = [join(dir, 'wrapper'), join(dir, 'direct')].join(delimiter)
  t.equal(findNpm({ PATH: path }), inside('direct', 'node_modules'), 'a wrapper is passed by')
  await writeFile(join(dir, 'npm-cli.js'), '')
  const running = { npm_execpath: join(dir, 'npm-cli.js'), PATH: path }
  t.equal(findNpm(running), join(dir, 'npm-cli.js'), 'the npm that runs us comes first')
  const other = { npm_execpath: join(dir, 'pnpm.cjs'), PATH: path }
  t.equal(findNpm(other), inside('direct', 'node_modules'), 'another package manager does not')
  t.ok(existsSync(findNpm(process.env) ?? ''), 'and here')
})

t.test('lines break at spaces, and long words where they must', async t => {
  t.same(wrap('one two three', 7), ['one two', 'three'])
  t.same(wrap('abcdefghij k', 4), ['abcd', 'efgh', 'ij k'])
  t.same(wrap('', 4), [])
})
