/**
 * One policy for three instances (one of them of two processes) on one PostgreSQL and one S3, changed
 * while they serve: nobody who asks an instance after it has acknowledged is answered by the old one.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import postgresClient from 'postgres'
import t from 'tap'
import { request } from 'undici'
import { membersOf } from '../../lib/rollout/roster.ts'
import { openLogKey } from '../../lib/sealing/log-key.ts'
import { openPublished } from '../../lib/rollout/published.ts'
import { openSharedStore } from '../../lib/store/shared/open-shared.ts'
import { runCli } from '../cli/console.ts'
import { eventually } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startRegistry } from '../support/registry.ts'
import { freePort } from '../support/servers/free-port.ts'
import { startSharedServers } from '../support/servers/shared.ts'

const { postgres, s3, skip } = await startSharedServers()
const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
  await postgres?.close()
  await s3?.close()
})

const root = t.testdir({})
const bin = resolve(import.meta.dirname, '../../bin/attestry.ts')
const names = ['one', 'two', 'three'] as const
const all = [...names, 'late'] as const
type Name = (typeof all)[number]
const ports = Object.fromEntries(
  await Promise.all(all.map(async name => [name, await freePort()] as const)),
) as Record<Name, number>
const workersOf = (name: Name) => (name === 'three' || name === 'late' ? 2 : 1)

/** `two` has no upstream of the name `acme`. */
const settingsOf = (name: Name | 'publisher', folder: string) =>
  [
    ...(name === 'publisher'
      ? []
      : [
          `listen: 127.0.0.1:${ports[name]}`,
          `cluster: { workers: ${workersOf(name)} }`,
          `server: { name: ${name} }`,
        ]),
    'policySource: store',
    'upstreams:',
    `  npm: { url: ${registry.url}, registryKeys: { file: ${join(root, 'keys.json')} } }`,
    ...(name === 'two' ? [] : [`  acme: { url: ${registry.url}, registryKeys: none }`]),
    `trust: { roots: [{ file: ${join(root, 'root.json')} }] }`,
    'storage:',
    `  path: ${join(folder, 'cache')}`,
    '  outage: 2s',
    `  postgres: { url: '${postgres?.url}', schema: policy, connections: 2 }`,
    `  s3: { url: '${s3?.url}/policy', accessKeyId: ${s3?.accessKeyId}, secretAccessKey: ${s3?.secretAccessKey} }`,
    `auditLog: { key: ${join(root, 'audit.key')}, repeats: 0s }`,
    'log: { level: info, format: json }',
    'verification: { workers: 1 }',
    '',
  ].join('\n')

const said = new Map<Name, string>()
const spawned = (name: Name, database?: string): ChildProcess => {
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'attestry.yaml')
  const settings = settingsOf(name, folder)
  writeFileSync(file, database ? settings.replace("/postgres'", `/${database}'`) : settings)
  const child = spawn(process.execPath, [bin, 'serve', '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    said.set(name, ((said.get(name) ?? '') + chunk.toString()).slice(-20_000))
  })
  t.teardown(async () => {
    const ended = child.exitCode !== null || child.signalCode !== null || once(child, 'exit')
    child.kill('SIGTERM')
    await Promise.race([ended, pause(5000).then(() => child.kill('SIGKILL'))])
  })
  return child
}

/** A connection of its own each time, so that every process of an instance is asked in turn. */
const get = async (name: Name, path: string, agent = 'test') => {
  const answer = await request(`http://127.0.0.1:${ports[name]}/${path}`, {
    reset: true,
    headers: { 'user-agent': agent },
    signal: AbortSignal.timeout(20_000),
  })
  return { status: answer.statusCode, text: await answer.body.text() }
}
const readiness = async (name: Name) =>
  JSON.parse((await get(name, '-/attestry/health/ready')).text) as Record<string, unknown>

const publish = async (args: readonly string[]) => {
  const begun = performance.now()
  const file = join(root, 'publisher.yaml')
  const ran = await runCli(['policy', 'publish', '-c', file, '--json', ...args], { cwd: root })
  const json = ran.stdout === '' ? {} : (JSON.parse(ran.stdout) as Record<string, unknown>)
  return { ...ran, json, took: performance.now() - begun }
}

const policies = {
  'open.yaml': 'version: 1\n',
  'denies.yaml':
    'version: 1\nrules:\n  - packages: ["wanted@1.0.0"]\n    deny: { reason: known to be bad }\n',
  'reserves.yaml': 'version: 1\nrules: [{ packages: ["@acme/*"], upstream: acme }]\n',
  'broken.yaml':
    'version: 1\nrules:\n  - packages: [wanted]\n    require: { provenence: any }\n',
}

type Asked = {
  readonly name: Name
  readonly agent: string
  readonly begun: number
  readonly kind: 'tarball' | 'packument'
  /** Answered by a policy that lets the version in. */
  readonly open: boolean
  readonly status: number
}

t.test('one policy for all', { skip, timeout: 300_000 }, async t => {
  writeFileSync(join(root, 'keys.json'), JSON.stringify(sigstore.registryKeys()))
  writeFileSync(join(root, 'root.json'), JSON.stringify(sigstore.trustedRoot))
  await openLogKey({ path: join(root, 'audit.key'), create: true })
  for (const [name, text] of Object.entries(policies)) writeFileSync(join(root, name), text)
  writeFileSync(join(root, 'publisher.yaml'), settingsOf('publisher', join(root, 'publisher')))
  for (const name of ['wanted', 'other-1', 'other-2'])
    await registry.publish({ name, version: '1.0.0', provenance: true })
  await registry.publish({ name: 'wanted', version: '1.0.1', provenance: true })

  await t.test('nothing is served by no policy', async t => {
    const child = spawned('one')
    const [code] = (await once(child, 'exit')) as [number]
    t.equal(code, 2)
    t.match(said.get('one'), /EPOLICY/)
  })

  await t.test('published before anybody is there', async t => {
    const { code, json } = await publish(['open.yaml', '-m', 'to begin with', '--expect', '0'])
    t.equal(code, 0)
    t.match(json, { published: true, revision: 1, instances: [], message: 'to begin with' })
  })
  for (const name of names) spawned(name)
  const store = await openSharedStore({
    postgres: {
      url: postgres?.url ?? '',
      schema: 'policy',
      connections: 2,
      timeout: 5000,
      patience: 5000,
    },
    s3: {
      url: `${s3?.url}/policy`,
      region: 'us-east-1',
      accessKeyId: s3?.accessKeyId ?? '',
      secretAccessKey: s3?.secretAccessKey ?? '',
      timeout: 5000,
      patience: 5000,
    },
    path: join(root, 'reader'),
  })
  t.teardown(() => store.close())
  const members = () => membersOf(store.records)
  const allBy = (revision: number) => async () => {
    const found = await members()
    return found.length === 4 && found.every(member => member.revision === revision)
  }
  const began = await eventually(allBy(1))
  t.ok(began, began ? 'four processes judge by it' : [...said.values()].join('\n'))

  await t.test('a version that is served is refused, under load', async t => {
    const asked: Asked[] = []
    let stop = false
    let count = 0
    const ask = async (name: Name) => {
      const agent = `asked-${count++}`
      const begun = performance.now()
      if (count % 5 === 0) return void (await get(name, `other-${(count % 2) + 1}`))
      if (count % 2 === 0) {
        const { status } = await get(name, 'wanted/-/wanted-1.0.0.tgz', agent)
        asked.push({ name, agent, begun, kind: 'tarball', open: status === 200, status })
      } else {
        const { status, text } = await get(name, 'wanted', agent)
        const { versions = {} } = JSON.parse(text) as { versions?: object }
        const open = '1.0.0' in versions
        asked.push({ name, agent, begun, kind: 'packument', open, status })
      }
    }
    const clients = names.flatMap(name =>
      Array.from({ length: 2 * workersOf(name) }, async () => {
        while (!stop) {
          await ask(name)
          await pause(4)
        }
      }),
    )
    // every process has it in memory
    const served = (since: number) =>
      names.every(
        name =>
          asked.filter(one => one.name === name && one.open && one.begun > since).length > 20,
      )
    t.ok(await eventually(() => served(0)), 'it is served by all')

    /** When it was seen that all processes of an instance had acknowledged. */
    const acknowledged = new Map<Name, number>()
    const watch = (async () => {
      while (acknowledged.size < names.length && !stop) {
        const found = await members()
        for (const name of names) {
          const own = found.filter(member => member.name === name)
          const done =
            own.length === workersOf(name) && own.every(({ revision }) => revision === 2)
          if (done && !acknowledged.has(name)) acknowledged.set(name, performance.now())
        }
        await pause(5)
      }
    })()
    const begun = performance.now()
    const { code, json, stderr, took } = await publish(['denies.yaml'])
    t.equal(code, 0, stderr)
    t.match(json, { published: true, revision: 2, acknowledged: true })
    t.equal((json['instances'] as unknown[]).length, 4)
    const ended = performance.now()
    const afterwards = (name: Name, kind: Asked['kind']) =>
      asked.filter(
        one =>
          one.name === name &&
          one.kind === kind &&
          one.begun > (acknowledged.get(name) ?? Infinity),
      )
    const enough = () =>
      names.every(name =>
        (['tarball', 'packument'] as const).every(kind => afterwards(name, kind).length > 20),
      )
    t.ok(await eventually(enough), 'all acknowledge, and are asked again and again')
    stop = true
    await Promise.all([...clients, watch])
    t.ok(took < 10_000, 'a policy reaches every instance')
    const times = names.map(
      name => `${name} ${Math.round((acknowledged.get(name) ?? Number.NaN) - begun)} ms`,
    )
    t.comment(
      `policy publish ended after ${Math.round(took)} ms, of which ${String(json['milliseconds'])} ms from publishing to the last acknowledgement; seen: ${times.join(', ')}`,
    )

    const digests = { old: '', next: String(json['policyDigest']) }
    const after = asked.filter(one => one.begun > (acknowledged.get(one.name) ?? Infinity))
    const late = after.filter(({ open }) => open)
    t.same(late, [], 'nobody was answered by the old policy after the acknowledgement')
    t.ok(after.every(one => one.status === (one.kind === 'tarball' ? 403 : 200)))
    const afterAll = asked.filter(one => one.begun > ended && one.open)
    t.same(afterAll, [], 'nor after the command said so')

    const agents = new Set(after.filter(o => o.kind === 'tarball').map(({ agent }) => agent))
    let recorded = 0
    for await (const entry of store.audit.read({ name: 'wanted' })) {
      if (!agents.has(entry.client.agent ?? '')) continue
      recorded += 1
      if (entry.policyDigest !== digests.next) t.fail(`${entry.seq}: by another policy`)
      if (entry.decision !== 'refuse') t.fail(`${entry.seq}: ${entry.decision}`)
    }
    t.equal(recorded, agents.size, 'each is on record, by the new policy')
    for (const name of names)
      t.match(await readiness(name), { policy: digests.next, rollout: { revision: 2 } })
  })

  await t.test('what is broken is not published', async t => {
    const { code, stderr } = await publish(['broken.yaml'])
    t.equal(code, 2)
    t.match(stderr, /broken\.yaml:4:\d+: .*provenence/)
    t.match(stderr, /EPOLICY/)
    t.match(await readiness('one'), { rollout: { revision: 2 } })
  })

  await t.test('an instance that cannot judge by it', async t => {
    const { code, json } = await publish(['reserves.yaml', '--wait', '20s'])
    t.equal(code, 2)
    const instances = json['instances'] as Record<string, unknown>[]
    t.same(
      instances.map(({ name, state, revision }) => [name, state, revision]),
      [
        ['one', 'acknowledged', 3],
        ['three', 'acknowledged', 3],
        ['three', 'acknowledged', 3],
        ['two', 'refused', 2],
      ],
    )
    t.match(
      instances.find(({ name }) => name === 'two'),
      { why: /acme/ },
    )
    t.match(await readiness('two'), {
      rollout: { revision: 2, refused: { revision: 3, message: /acme/ } },
    })
    t.match(said.get('two'), /"event":"policy-refused"/)
    t.match((await get('two', '-/attestry/metrics')).text, /^attestry_policy_refused 1$/m)
    t.equal((await get('two', 'wanted/-/wanted-1.0.0.tgz')).status, 403, 'by revision 2')
    t.equal((await get('one', 'wanted/-/wanted-1.0.0.tgz')).status, 200, 'by revision 3')

    const back = await publish(['--revision', '2', '-m', 'back'])
    t.equal(back.code, 0)
    t.match(back.json, { revision: 4, again: 2 })
    t.match(await readiness('two'), { rollout: { revision: 4, refused: undefined } })
    const metrics = (await get('three', '-/attestry/metrics')).text
    t.match(metrics, /^attestry_policy_revision 4$/m, 'of two processes')
    t.match(metrics, /^attestry_policy_info\{.*policy="denies.yaml"\} 1$/m)
    for (const name of names)
      t.equal((await get(name, 'wanted/-/wanted-1.0.0.tgz')).status, 403)
  })

  await t.test('without a notification, and without any word', async t => {
    const published = openPublished(store.records, { publish: async () => undefined })
    const [first, second] = [await published.revision(1), await published.revision(2)]
    const put = async (content: NonNullable<typeof first>) => {
      const { layers, views, policyDigest } = content
      const publication = { content: { layers, views }, policyDigest, by: 'me', at: new Date() }
      return published.publish(publication, await published.newest())
    }
    if (!first || !second) return t.fail('they are kept')
    const begun = performance.now()
    const { revision } = await put(first)
    // a change that is on record, of which no NOTIFY tells
    const sql = postgresClient(postgres?.url ?? '', { max: 1 })
    await sql`WITH counted AS (UPDATE policy.change_count SET seq = seq + 1 RETURNING seq)
      INSERT INTO policy.changes SELECT seq, gen_random_uuid(), 'policy', '5' FROM counted`
    await sql.end()
    t.ok(await eventually(allBy(revision)))
    t.comment(`found without NOTIFY after ${Math.round(performance.now() - begun)} ms`)
    const again = performance.now()
    t.ok(await eventually(allBy((await put(second)).revision)))
    t.comment(`found without any word after ${Math.round(performance.now() - again)} ms`)
  })

  await t.test('PostgreSQL is away', async t => {
    await postgres?.stop()
    const { code, stderr } = await publish(['open.yaml'])
    t.equal(code, 2)
    t.match(stderr, /ESTOREDOWN/)
    for (const name of names)
      t.equal((await get(name, 'wanted/-/wanted-1.0.0.tgz')).status === 200, false)

    const ended = async (child: ChildProcess) => ((await once(child, 'exit')) as [number])[0]
    const waiting = () => /"event":"waiting"/.test(said.get('late') ?? '')
    const given = spawned('late')
    t.ok(await eventually(waiting), said.get('late') ?? '')
    given.kill('SIGTERM')
    t.equal(await ended(given), 0, 'it can be told to stop while it waits')
    said.delete('late')
    spawned('late')
    t.ok(await eventually(waiting), said.get('late') ?? '')
    t.match(await get('late', '-/attestry/health/live'), { status: 200 })
    for (const path of ['-/attestry/health/ready', 'wanted', 'other-1/-/other-1-1.0.0.tgz']) {
      const answer = await request(`http://127.0.0.1:${ports.late}/${path}`)
      t.equal(answer.statusCode, 503, path)
      t.equal(answer.headers['retry-after'], '10')
      t.match(await answer.body.json(), { code: 'ESTOREDOWN', error: /PostgreSQL/ })
    }
    const told = [...(said.get('late') ?? '').matchAll(/"event":"waiting".*"msg":"([^"]*)"/g)]
    t.ok(told.length > 0)
    const away = (said.get('late') ?? '').split('"event":"store-unreachable"').length - 1
    t.ok(away <= 1, `and ${away} times that the store is away`)
    t.equal(new Set(told.map(([, why]) => why)).size, told.length, 'each reason is told once')

    await postgres?.start()
    const ready = async () => (await get('late', '-/attestry/health/ready')).status === 200
    t.ok(await eventually(ready), 'who waited is ready by itself')
    t.equal((await get('late', 'wanted/-/wanted-1.0.0.tgz')).status, 403)
    const served = () => (said.get('late') ?? '').split('"event":"worker-serving"').length === 3
    t.ok(await eventually(served), 'both of its processes serve')
    t.ok(await eventually(async () => (await publish(['open.yaml'])).code === 0))
    for (const name of names)
      t.equal((await get(name, 'wanted/-/wanted-1.0.0.tgz')).status, 200)
  })

  await t.test('what is wrong for good is not waited for', async t => {
    said.delete('one')
    const child = spawned('one', 'missing')
    const [code] = (await once(child, 'exit')) as [number]
    t.equal(code, 2)
    t.match(said.get('one'), /database "missing" does not exist[^]*ESTORE:/)
  })
})
