/** What a server loads before it answers: counted in files, for time depends on the machine. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { asksForCluster } from '../../lib/cli/serve/foresight.ts'
import { loadSettings } from '../../lib/config/settings.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
await registry.publish({ name: 'lib', version: '1.0.0', provenance: true })

const root = fileURLToPath(new URL('../../', import.meta.url))
const notes = new URL('./note-loading.ts', import.meta.url).href

const packageOf = (url: string) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
const packagesOf = (lines: readonly string[]) =>
  new Set(lines.flatMap(line => packageOf(line) ?? []))
const before = (lines: readonly string[], mark: string) => lines.slice(0, lines.indexOf(mark))

/** A server that answers; its notes, and what it takes to end it. */
const start = async (t: Test, settings: string) => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-start-'))
  const written = join(folder, 'notes')
  await mkdir(written)
  const file = await writeSettings(folder, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    settings,
  })
  const args = ['--import', notes, 'bin/attestry.ts', 'serve', '-c', file]
  const child = spawn(process.execPath, [...args, '--log-level', 'info'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'pipe'],
    env: { NOTES: written, XDG_CACHE_HOME: join(folder, 'cache') },
  })
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  let url: string | undefined
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
    url = /"url":"(http:[^"]+)"/.exec(said)?.[1]
  })
  const over = () => child.exitCode !== null || child.signalCode !== null
  while (url === undefined && !over()) await sleep(10)
  if (url === undefined) throw new Error(`it ended: ${said}`)
  const at = url
  return {
    get: async (path: string) => {
      const answer = await request(new URL(path, at), { reset: true })
      await answer.body.dump()
      return answer.statusCode
    },
    notes: async (process: string) =>
      (await readFile(join(written, process), 'utf8')).trimEnd().split('\n'),
    compiled: () => readdir(join(folder, 'cache', 'attestry'), { recursive: true }),
    end: async () => {
      child.kill('SIGTERM')
      await exited
      return child.exitCode
    },
  }
}

/** What most servers never need, and what all need only when they are asked for something. */
const later = [
  'koa',
  'undici',
  '@marcbachmann/cel-js',
  '@noble/curves',
  '@noble/ciphers',
  '@sigstore/tuf',
  'tar',
  'postgres',
  'aws4fetch',
]

t.test('one process', { timeout: 120_000 }, async t => {
  const server = await start(t, '')
  t.equal(await server.get('-/ping'), 200)
  t.equal(await server.get('lib'), 200, 'whoever needs more waits for it and has it')
  const all = await server.notes('first')
  const files = before(all, 'listen').filter(line => line.startsWith('file:'))
  t.ok(files.length > 300, 'the notes are there')
  t.ok(
    files.length < 680,
    `${files.length} files; look at what was added before you raise this`,
  )
  const packages = packagesOf(files)
  t.same(
    later.filter(name => packages.has(name)),
    [],
    'loaded behind the first answer',
  )
  t.notOk(before(all, 'listen').includes('fetch'), "nor the client of Node's fetch")
  t.ok(packagesOf(all).has('koa') && packagesOf(all).has('undici'), 'and then they are')
  t.equal(await server.end(), 0)
  const compiled = await server.compiled()
  t.ok(compiled.length > files.length / 2, 'compiled code is kept by a server told to end')
})

t.test('a cluster', { timeout: 120_000 }, async t => {
  const server = await start(t, 'cluster: { workers: 2 }')
  t.equal(await server.get('lib'), 200)
  const first = await server.notes('first')
  const beforeFork = packagesOf(before(first, 'fork'))
  t.same(
    [...beforeFork].filter(name => ['zod', 'yaml', 'pino'].includes(name)),
    [],
  )
  t.ok(packagesOf(first).has('zod'), 'the settings were read behind the fork')
  const served = ['koa', 'lru-cache', '@sigstore/verify', '@sigstore/core', 'prom-client']
  t.same(
    served.filter(name => packagesOf(first).has(name)),
    ['prom-client'],
    'the first process serves nothing',
  )
  const worker = packagesOf(before(await server.notes('worker-1'), 'listen'))
  t.same(
    later.filter(name => worker.has(name)),
    [],
  )
  // the second worker is still starting, and after 30 s it would be killed
  const told = performance.now()
  t.equal(await server.end(), 0)
  t.ok(performance.now() - told < 25_000, 'whoever is told to stop while it starts hears of it')
})

t.test('whether there will be a cluster', async t => {
  const written: readonly (readonly [text: string, workers: number | 'several'])[] = [
    ['', 1],
    ['verification: { workers: 4 }', 1],
    ['cluster: { workers: 1 }\nverification: { workers: 2 }', 1],
    ['cluster: { workers: 3 }', 3],
    ['cluster:\n  workers: 2', 2],
    ['cluster:\n  # as many as there are\n  workers: "2"', 1],
    ['# cluster: { workers: 2 }', 1],
    ['cluster: { workers: auto }', 'several'],
  ]
  for (const [text, workers] of written) {
    const told = asksForCluster(text, {})
    t.equal(told, workers !== 1, text)
    if (workers === 'several' || text.includes('"')) continue
    const settings = await loadSettings({ env: {}, cwd: '/', held: text })
    t.equal(settings.cluster.workers, workers, 'as the settings are understood')
  }
  t.notOk(asksForCluster(undefined, {}))
  const env = { ATTESTRY_CLUSTER_WORKERS: '2' }
  t.ok(asksForCluster('cluster: { workers: 1 }', env))
  const settings = await loadSettings({ env, cwd: '/', held: 'cluster: { workers: 1 }' })
  t.equal(settings.cluster.workers, 2)
  t.notOk(asksForCluster('cluster: { workers: 2 }', { ATTESTRY_CLUSTER_WORKERS: '1' }))
})

t.test('a guess that was wrong', { timeout: 120_000 }, async t => {
  const one = await start(t, 'cluster: { workers: 0x1 }')
  t.equal(await one.get('-/ping'), 200)
  const alone = await one.notes('first')
  t.ok(alone.includes('fork') && alone.includes('listen'), 'it serves by itself')
  t.equal(await one.end(), 0)

  const two = await start(t, 'cluster: { "workers": 2 }')
  t.equal(await two.get('-/ping'), 200)
  const first = await two.notes('first')
  t.ok(packagesOf(before(first, 'fork')).has('zod'), 'forked when the settings were read')
  t.ok((await two.notes('worker-1')).includes('listen'))
  t.equal(await two.end(), 0)
})
