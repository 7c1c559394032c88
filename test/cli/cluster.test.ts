/** Several processes on one port and one store: `attestry serve` with `cluster.workers`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { openLocalStore } from '../../lib/store/local.ts'
import type { StoredAuditEntry } from '../../lib/store/store.ts'
import { rootNow, rootOfTexts } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { keysTarget, newKey } from '../support/sigstore/registry-keys.ts'

if (process.platform === 'win32') {
  t.pass('signals and /proc are of other systems', { skip: 'Windows' })
  process.exit(0)
}

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
await registry.publish({ name: 'lib', version: '1.0.0', provenance: true })

const allows = 'version: 1\n'
const denies = 'version: 1\nrules: [{ packages: [lib], deny: { reason: no } }]\n'
const root = fileURLToPath(new URL('../../', import.meta.url))

type Line = Record<string, unknown>

const until = async (what: string, holds: () => boolean | Promise<boolean>) => {
  const deadline = Date.now() + 30_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await sleep(20)
  }
}

const start = async (t: Test, workers: number, more = '', options: string[] = []) => {
  const folder = await mkdtemp(join(tmpdir(), 'attestry-cluster-'))
  const file = await writeSettings(folder, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [allows],
    settings: `cluster: { workers: ${workers} }\n${more}`,
  })
  const args = ['bin/attestry.ts', 'serve', '-c', file, '--log-level', 'info', ...options]
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'pipe'],
    env: {},
  })
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  const lines: Line[] = []
  let other = ''
  createInterface(child.stderr).on('line', line => {
    if (line.startsWith('{')) lines.push(JSON.parse(line) as Line)
    else other += `${line}\n`
  })
  const of = (event: string) => lines.filter(line => line['event'] === event)
  /** A connection of its own each time, so that every worker is asked in turn. */
  const get = async (path: string) => {
    const url = new URL(path, String(of('listening')[0]?.['url']))
    const answer = await request(url, { reset: true })
    return { status: answer.statusCode, text: await answer.body.text() }
  }
  const everywhere = async (path: string) => {
    const answers = []
    for (let i = 0; i < workers * 2; i++) answers.push((await get(path)).status)
    return [...new Set(answers)]
  }
  const ready = async () => {
    await until(`${workers} workers`, () => of('worker-serving').length >= workers)
  }
  return { folder, file, child, exited, of, get, everywhere, ready, other: () => other }
}

/** Processes below one, by what the kernel says. */
const childrenOf = (pid: number): readonly number[] =>
  readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .map(Number)
    .filter(each => {
      try {
        const stat = readFileSync(`/proc/${each}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid
      } catch {
        return false
      }
    })

t.test('two workers', { timeout: 120_000 }, async t => {
  const { folder, child, exited, of, get, everywhere, ready } = await start(t, 2)
  await ready()
  t.equal(of('listening').length, 1, 'told once')
  t.match(of('listening')[0], { workers: 2 })
  const tarball = 'lib/-/lib-1.0.0.tgz'
  t.same(await everywhere(tarball), [200])
  t.equal(registry.asked(/^\/lib\/-\//).length, 1, 'what one fetched the other does not')

  t.test('one changed policy for all of them', async t => {
    await writeFile(join(folder, 'policy-0.yaml'), denies)
    child.kill('SIGHUP')
    await until('the new policy', () => of('policy-adopted').length === 1)
    await until('a denial', async () => (await get(tarball)).status === 403)
    await sleep(50)
    t.same(await everywhere(tarball), [403])
    t.same(await everywhere('lib'), [403])
    const digests = new Set<unknown>()
    for (let i = 0; i < 4; i++) {
      const { policy } = JSON.parse((await get('/-/attestry/health/ready')).text) as Line
      digests.add(policy)
    }
    t.same([...digests], [of('policy-adopted')[0]?.['policyDigest']])
    t.equal(of('policy-adopted').length, 1, 'told once')
  })

  t.test('metrics are of all of them', async t => {
    const before = await get('/-/attestry/metrics')
    const count = (text: string) =>
      Number(/^attestry_requests_total\{route="ping",\S+ (\d+)$/m.exec(text)?.[1] ?? 0)
    for (let i = 0; i < 6; i++) await get('/-/ping')
    const { text } = await get('/-/attestry/metrics')
    t.equal(count(text) - count(before.text), 6)
    t.match(text, /^attestry_workers 2$/m)
    t.match(text, /^attestry_policy_info\{.*policy="policy-0.yaml"\} 1$/m)
  })

  t.test('other trust for all of them', async t => {
    const keys = join(folder, 'keys.json')
    await registry.publish({ name: 'keyed', version: '1.0.0' })
    const keyed = 'keyed/-/keyed-1.0.0.tgz'
    t.same(await everywhere(keyed), [200])
    await writeFile(keys, JSON.stringify(keysTarget([newKey()])))
    child.kill('SIGHUP')
    await until('two with other trust', () => of('trust-adopted').length === 2)
    t.same(await everywhere(keyed), [403])
    const { text } = await get('/-/attestry/metrics')
    t.match(text, /^attestry_trust_info\{upstream="npm",digest="[0-9a-f]{64}"\} 1$/m)
    t.match(text, /^attestry_trust_failing\{source="trusted_root.json"\} 0$/m)
    await writeFile(keys, '{')
    child.kill('SIGHUP')
    await until('a refusal', () => of('trust-refused').length > 0)
    t.same(await everywhere(keyed), [403], 'what was in force stays')
    await writeFile(keys, JSON.stringify(sigstore.registryKeys()))
    child.kill('SIGHUP')
    await until('the old trust', () => of('trust-adopted').length === 4)
    t.same(await everywhere(keyed), [200])
  })

  if (process.platform === 'linux')
    t.test('one that is killed is replaced, and goes by what is in force', async t => {
      const [victim] = childrenOf(child.pid ?? 0)
      process.kill(victim ?? 0, 'SIGKILL')
      await until('another worker', () => of('worker-serving').length === 3)
      t.match(of('worker-ended')[0], { signal: 'SIGKILL', pause: 100 })
      t.same(await everywhere(tarball), [403], 'the policy as it was changed')
      t.match((await get('/-/attestry/metrics')).text, /^attestry_worker_ends_total 1$/m)
    })

  t.test('a request under way is answered, and then all are gone', async t => {
    await writeFile(join(folder, 'policy-0.yaml'), allows)
    child.kill('SIGHUP')
    await until('the old policy', () => of('policy-adopted').length === 2)
    await registry.publish({ name: 'slow', version: '1.0.0' })
    registry.faults.delay = 700
    t.teardown(() => registry.heal())
    const asked = get('slow')
    await sleep(300)
    const below = childrenOf(child.pid ?? 0)
    child.kill('SIGTERM')
    t.equal((await asked).status, 200)
    t.same(await exited, [0, null])
    t.same(
      below.filter(pid => childrenOf(process.pid).includes(pid)),
      [],
    )
    for (const pid of below) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
    t.equal(of('stopped').length, 1)
  })
})

/** How often the record says that a tarball was sent to whom asked for it here, and by how many entries. */
const recorded = async (folder: string) => {
  const store = await openLocalStore({ path: join(folder, 'store') })
  try {
    const entries: StoredAuditEntry[] = []
    for await (const entry of store.audit.read()) entries.push(entry)
    const given = (fresh: boolean) =>
      entries.reduce((sum, entry) => sum + (entry.fresh === fresh ? (entry.times ?? 1) : 0), 0)
    const root = Buffer.from(await rootOfTexts(store.audit))
    return {
      count: entries.length,
      times: given(true) + given(false),
      repeats: given(false),
      whole: root.equals(await rootNow(store.audit, entries.length)),
    }
  } finally {
    await store.close()
  }
}

t.test('repeated verdicts', { timeout: 120_000 }, async t => {
  const tarball = 'lib/-/lib-1.0.0.tgz'
  const gathering = 'auditLog: { repeats: 10m }'

  t.test('are all counted when all is told to end', async t => {
    const { folder, child, exited, get, everywhere, ready } = await start(t, 2, gathering)
    await ready()
    t.same(await everywhere(tarball), [200])
    for (let i = 0; i < 40; i++) await get(tarball)
    child.kill('SIGTERM')
    t.same(await exited, [0, null])
    const { count, times, whole } = await recorded(folder)
    t.equal(times, 44)
    t.ok(count < 22, `${count} entries of which some stand for several`)
    t.ok(whole)
  })

  t.test('after kill -9 only their number is lost', async t => {
    const { folder, child, exited, of, get } = await start(t, 1, gathering)
    await until('the port', () => of('listening').length > 0)
    for (let i = 0; i < 40; i++) t.equal((await get(tarball)).status, 200)
    // what is written at once is written behind the answer
    await until('a repeat', async () => (await recorded(folder)).repeats > 0)
    child.kill('SIGKILL')
    await exited
    const { times, repeats, whole } = await recorded(folder)
    t.equal(repeats, 1, 'that it was given again')
    t.equal(times, 2, 'and at first')
    t.ok(whole)
  })
})

t.test('drained: not ready at once, served as before, gone in time', async t => {
  const begin = async (t: Test) => {
    const started = await start(t, 2, 'server: { drain: 4s }')
    await started.ready()
    t.same(await started.everywhere('/-/attestry/health/ready'), [200])
    return started
  }
  await t.test('the first process is told', async t => {
    const { child, exited, everywhere, of, get } = await begin(t)
    const asked = performance.now()
    child.kill('SIGTERM')
    await until('no worker that is ready', async () =>
      (await everywhere('/-/attestry/health/ready')).every(status => status === 503),
    )
    t.same(await everywhere('lib/-/lib-1.0.0.tgz'), [200])
    t.same(await everywhere('/-/attestry/health/live'), [200])
    t.equal((await get('lib')).status, 200)
    t.same(await exited, [0, null])
    const took = performance.now() - asked
    t.ok(took > 4_000 && took < 30_000, `${took} ms`)
    t.same(of('worker-ended'), [])
    t.equal(of('stopped').length, 1)
  })
  await t.test('all are told at once, as service managers do', async t => {
    const { child, exited, everywhere, of } = await begin(t)
    const asked = performance.now()
    for (const pid of [child.pid ?? 0, ...childrenOf(child.pid ?? 0)])
      process.kill(pid, 'SIGTERM')
    await until('no worker that is ready', async () =>
      (await everywhere('/-/attestry/health/ready')).every(status => status === 503),
    )
    t.same(await everywhere('lib/-/lib-1.0.0.tgz'), [200])
    t.same(await exited, [0, null])
    t.ok(performance.now() - asked > 4_000)
    t.same(of('worker-ended'), [])
  })
  await t.test('a second signal skips the waiting', async t => {
    const { child, exited, of, ready } = await start(t, 2, 'server: { drain: 5m }')
    await ready()
    child.kill('SIGTERM')
    await until('the word that it stops', () => of('stopping').length > 0)
    child.kill('SIGTERM')
    t.same(await exited, [0, null])
  })
  await t.test('workers end when the first process is killed', async t => {
    const { child, exited } = await begin(t)
    const workers = childrenOf(child.pid ?? 0)
    t.equal(workers.length, 2)
    child.kill('SIGKILL')
    await exited
    await until('nobody', () =>
      workers.every(pid => {
        try {
          return process.kill(pid, 0) && false
        } catch {
          return true
        }
      }),
    )
  })
})

t.test('what is wrong with the settings is told once, and ends it', async t => {
  const { exited, file, other } = await start(t, 3, 'server: { tls: { cert: a, key: b } }')
  t.same(await exited, [2, null], file)
  t.equal(other().split('ECONFIG').length - 1, 1, other())
})

t.test('so are policies that cannot be judged by', async t => {
  const { exited, folder, other, child } = await start(t, 2, '', ['--policy', 'package.json'])
  t.same(await exited, [2, null], folder)
  t.equal(other().split('EPOLICY').length - 1, 1, other())
  t.same(childrenOf(child.pid ?? 0), [])
})

t.test('a worker that cannot be started ends it with its code', async t => {
  const blocker = await start(t, 1)
  await until('the port', () => blocker.of('listening').length > 0)
  const { port } = new URL(String(blocker.of('listening')[0]?.['url']))
  const { exited, other } = await start(t, 2, '', ['--listen', `127.0.0.1:${port}`])
  t.same(await exited, [2, null])
  t.match(other(), /cannot listen on 127\.0\.0\.1/)
  t.equal(other().split('ECONFIG').length - 1, 1, other())
})
