/**
 * Two instances of the command while PostgreSQL or S3 is frozen, read-only, full, slow, lying or moved
 * elsewhere: what is cached is served, nothing is served that is not on record, every answer comes in
 * bounded time, readiness tells, and all is well again without anybody's help.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { AwsClient } from 'aws4fetch'
import t, { type Test } from 'tap'
import { openSharedStore } from '../../lib/store/shared/open-shared.ts'
import { objectKey } from '../../lib/store/shared/shared-blobs.ts'
import type { Integrity } from '../../lib/types.ts'
import { auditEntry, codeOf, eventually, listAll } from '../contract/tools.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { noise, startRegistry } from '../support/registry.ts'
import { startWire } from '../support/servers/cut.ts'
import { freePort } from '../support/servers/free-port.ts'
import { startInstance, type Instance } from '../support/servers/instance.ts'
import { startPostgres } from '../support/servers/postgres.ts'
import { startSharedServers } from '../support/servers/shared.ts'
import { startS3Faults, type S3Fault } from '../support/servers/s3-faults.ts'

const { postgres, s3, skip } = await startSharedServers()
const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
const wire = await startWire(postgres?.port ?? 1)
const faults = await startS3Faults(s3?.port ?? 1)
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
  wire.close()
  faults.close()
  await postgres?.close()
  await s3?.close()
})

const root = t.testdir({})
const keys = { accessKeyId: s3?.accessKeyId ?? '', secretAccessKey: s3?.secretAccessKey ?? '' }
const bucket = { url: `http://127.0.0.1:${faults.port}/attestry/outages`, ...keys }
const database = {
  url: `postgres://attestry@127.0.0.1:${wire.port}/postgres`,
  schema: 'outages',
}
/** Milliseconds: `storage.outage`, and the longest one call waits; PostgreSQL half as much again. */
const OUTAGE = 1_000
const TIMEOUT = 2_000
/** In which every request is answered, on a machine that is busy with other things. */
const BOUND = 15_000

const wanted = new Map<string, { bytes: Buffer; integrity: Integrity }>()
let published = 0
/** A package that nobody has asked for yet. */
const fresh = async (size = 0): Promise<string> => {
  const name = `pkg-${published++}`
  const { tarball, integrity } = await registry.publish({
    name,
    version: '1.0.0',
    provenance: true,
    ...(size > 0 && { size }),
  })
  wanted.set(name, { bytes: tarball, integrity })
  return name
}

type Answer = { readonly status: number; readonly code: string; readonly milliseconds: number }
/** 200s of tarballs, by name: so often must the record have it. */
const served = new Map<string, number>()
const wrong: string[] = []
const slow: string[] = []

const ask = async ({ url }: Instance, name: string): Promise<Answer> => {
  const started = performance.now()
  const answer = await fetch(`${url}${name}/-/${name}-1.0.0.tgz`, {
    signal: AbortSignal.timeout(60_000),
  })
  const bytes = Buffer.from(await answer.arrayBuffer())
  const milliseconds = Math.round(performance.now() - started)
  if (milliseconds > BOUND) slow.push(`${name}: ${milliseconds} ms`)
  const { status } = answer
  if (status !== 200)
    return { status, milliseconds, code: /\bE[A-Z]{4,}\b/.exec(String(bytes))?.[0] ?? '' }
  if (!wanted.get(name)?.bytes.equals(bytes)) wrong.push(name)
  served.set(name, (served.get(name) ?? 0) + 1)
  return { status, milliseconds, code: '' }
}
const packument = async ({ url }: Instance, name: string) => {
  const answer = await fetch(`${url}${name}`, { signal: AbortSignal.timeout(60_000) })
  await answer.arrayBuffer()
  return answer.status
}
/** Until it is remembered: the first verdict teaches something new. */
const warm = async (t: Test, instance: Instance, name: string) => {
  for (let times = 0; times < 3; times++) t.equal((await ask(instance, name)).status, 200)
}
const down = { status: 503, code: 'ESTOREDOWN' }
const isReady = ({ ready }: Instance) => ready()
const recovers = async (t: Test, instances: readonly Instance[]) => {
  for (const instance of instances) {
    const back = await eventually(() => isReady(instance))
    t.ok(back, back ? 'it is ready again' : instance.said().slice(-2000))
  }
}
/** What waits on its disk for PostgreSQL and S3. */
const backlog = async ({ url }: Instance, what: 'audit' | 'blobs'): Promise<number> => {
  const text = await (await fetch(`${url}-/attestry/metrics`)).text()
  const found = new RegExp(`^attestry_store_backlog{what="${what}"} (\\d+)$`, 'm').exec(text)
  return Number(found?.[1] ?? Number.NaN)
}
/** Connections of ours to the wire, by what the kernel says. */
const connections = (): number => {
  const port = `:${wire.port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .filter(line => {
      const [, , remote, state] = line.trim().split(/\s+/)
      return remote?.endsWith(port) && state === '01'
    }).length
}

t.test('two instances', { skip, timeout: 400_000 }, async t => {
  const files = { keys: join(root, 'keys.json'), root: join(root, 'root.json') }
  writeFileSync(files.keys, JSON.stringify(sigstore.registryKeys()))
  writeFileSync(files.root, JSON.stringify(sigstore.trustedRoot))
  const start = async (name: string) => {
    const instance = await startInstance({
      ...files,
      folder: join(root, name),
      port: await freePort(),
      upstream: registry.url,
      postgres: database,
      s3: bucket,
      storage: [`outage: ${OUTAGE}ms`],
      postgresSettings: `timeout: ${TIMEOUT}ms`,
      s3Settings: `timeout: ${TIMEOUT}ms`,
      settings: ['auditLog: { repeats: 0s }'],
    })
    t.teardown(() => instance.child.kill('SIGKILL'))
    return instance
  }
  const [one, two] = (await Promise.all(['one', 'two'].map(start))) as [Instance, Instance]
  const both = [one, two]
  const known = await fresh()
  for (const instance of both) {
    await warm(t, instance, known)
    t.equal(await packument(instance, known), 200)
  }

  await t.test('PostgreSQL is frozen', async t => {
    const [first, second, third] = [await fresh(), await fresh(), await fresh()]
    const before = connections()
    postgres?.freeze()
    t.teardown(() => postgres?.thaw())
    // what was under way when it froze waits; who comes later is told at once
    const early = Promise.all(Array.from({ length: 30 }, () => ask(one, first)))
    for (let turn = 0; turn < 20; turn++) {
      const { status, milliseconds } = await ask(one, known)
      t.equal(status, 200, 'what is remembered goes on being served')
      t.ok(milliseconds < 2_000, `${milliseconds} ms`)
    }
    t.equal(await packument(one, known), 200)
    t.ok(await eventually(async () => !(await isReady(one))), 'it is not ready')
    for (const answer of await early) t.match(answer, down)
    const late = await Promise.all(Array.from({ length: 30 }, () => ask(one, second)))
    for (const answer of late) t.match(answer, down)
    t.comment(
      `new versions: refused in ${(await early)[0]?.milliseconds} ms at first, ${late[0]?.milliseconds} ms later`,
    )
    await pause(TIMEOUT * 2)
    for (let turn = 0; turn < 20; turn++) t.match(await ask(one, known), { status: 200 })
    t.ok(connections() <= before + 8, `${before} connections before, ${connections()} now`)
    t.ok((await backlog(one, 'audit')) >= 20, 'their entries wait')
    postgres?.thaw()
    await recovers(t, both)
    t.ok(await eventually(async () => (await backlog(one, 'audit')) === 0), 'and are sent')
    t.match(await ask(one, first), { status: 200 })
    t.match(await ask(two, third), { status: 200 })
    // a lease that was asked for when it froze is nobody's now
    const started = performance.now()
    t.match(await ask(two, second), { status: 200 })
    t.ok(performance.now() - started < BOUND)
    await pause(500)
    t.ok(connections() <= before + 8, `${before} connections before, ${connections()} after`)
  })

  await t.test('PostgreSQL is read-only', async t => {
    const set = async (value: string) => {
      await postgres?.query(`ALTER SYSTEM SET default_transaction_read_only = ${value}`)
      await postgres?.query('SELECT pg_reload_conf()')
    }
    const [name, elsewhere] = [await fresh(), await fresh()]
    t.match(await ask(one, elsewhere), { status: 200 })
    await set('on')
    t.teardown(() => set('off'))
    t.ok(await eventually(async () => !(await isReady(one))), 'it is not ready')
    for (let turn = 0; turn < 10; turn++)
      t.match(await ask(one, known), { status: 200 }, 'what is remembered goes on being served')
    t.match(await ask(one, name), down, 'a new verdict cannot be put on record')
    t.match(await ask(two, elsewhere), down, 'nor can one that is new to this instance')
    t.equal(await packument(two, known), 200)
    t.match(two.said() + one.said(), /"event":"store-refusing"/)
    await set('off')
    await recovers(t, both)
    t.match(await ask(one, name), { status: 200 })
    t.match(await ask(two, elsewhere), { status: 200 })
  })

  const held = async (name: string) => {
    const { integrity } = wanted.get(name) ?? { integrity: 'sha512-' }
    const client = new AwsClient({ ...keys, service: 's3', region: 'us-east-1' })
    const url = `${s3?.url}/outages/${objectKey(integrity)}`
    return (await client.fetch(url, { method: 'HEAD' })).ok
  }
  const all = ['GET', 'HEAD', 'PUT', 'DELETE']

  for (const [title, what, readable] of [
    ['slows down', { status: 503, code: 'SlowDown' }, false],
    ['is frozen', 'frozen', false],
  ] satisfies [string, S3Fault, boolean][]) {
    await t.test(`S3 ${title}`, async t => {
      const [elsewhere, name] = [await fresh(), await fresh()]
      t.match(await ask(one, elsewhere), { status: 200 })
      faults.fault = { what, methods: all }
      t.teardown(() => (faults.fault = undefined))
      t.ok(await eventually(async () => !(await isReady(two))), 'it is not ready')
      t.match(await ask(two, known), { status: 200 }, 'what is at hand is served')
      t.match(await ask(two, elsewhere), readable ? { status: 200 } : down)
      const asked = faults.seen.get('GET') ?? 0
      const many = await Promise.all(Array.from({ length: 40 }, () => ask(two, elsewhere)))
      t.same(
        many.filter(({ status }) => status !== 503),
        [],
      )
      t.ok((faults.seen.get('GET') ?? 0) - asked < 10, 'it is not asked by everybody')
      t.match(await ask(two, name), { status: 200 }, 'a new one is verified, recorded and sent')
      t.match(await ask(one, name), { status: 200 }, 'by the other one as well')
      faults.fault = undefined
      await recovers(t, both)
      t.match(await ask(two, elsewhere), { status: 200 })
      t.ok(await eventually(() => held(name)), 'the bucket gets what it did not take')
    })
  }

  await t.test('S3 gives other bytes than it has', async t => {
    t.teardown(() => (faults.fault = undefined))
    for (const what of ['dripping', 'cut'] as const) {
      const name = await fresh(20_000)
      t.match(await ask(one, name), { status: 200 })
      faults.fault = { what, methods: ['GET'] }
      t.match(await ask(two, name), down, what)
      faults.fault = undefined
      t.ok(await eventually(async () => (await ask(two, name)).status === 200), what)
    }
    for (const what of ['short', 'spoiled'] as const) {
      const name = await fresh(20_000)
      t.match(await ask(one, name), { status: 200 })
      const fetched = registry.asked(`/${name}/-/${name}-1.0.0.tgz`).length
      faults.fault = { what, methods: ['GET'] }
      t.match(await ask(two, name), { status: 200 }, `${what}: fetched from the upstream again`)
      faults.fault = undefined
      t.equal(registry.asked(`/${name}/-/${name}-1.0.0.tgz`).length, fetched + 1)
      t.match(two.said(), /"event":"store-blob-damaged"/)
    }
  })

  await t.test('S3 takes nothing', async t => {
    const quota = (...more: string[]) =>
      s3?.admin('quota', ...more, '--quota-scope=user', '--uid=test')
    const limits: readonly [string, () => void, () => void][] = [
      [
        'read-only',
        () => {
          faults.fault = {
            what: { status: 403, code: 'AccessDenied' },
            methods: ['PUT', 'DELETE'],
          }
        },
        () => (faults.fault = undefined),
      ],
      [
        'no room',
        () => {
          faults.fault = {
            what: { status: 507, code: 'XMinioStorageFull' },
            methods: ['PUT'],
          }
        },
        () => (faults.fault = undefined),
      ],
      [
        'a quota of Ceph',
        () => {
          quota('set', '--max-objects=1')
          quota('enable')
        },
        () => quota('disable'),
      ],
    ]
    for (const [title, limit, lift] of limits) {
      const elsewhere = await fresh()
      t.match(await ask(one, elsewhere), { status: 200 })
      limit()
      t.teardown(lift)
      const name = await fresh()
      const refused = async () => {
        const other = await fresh()
        t.match(await ask(one, other), { status: 200 }, title)
        return !(await held(other))
      }
      t.ok(await eventually(refused), `${title}: it takes nothing`)
      t.match(await ask(one, name), { status: 200 }, `${title}: a new one is sent nevertheless`)
      t.match(await ask(two, name), { status: 200 }, `${title}: by the other one as well`)
      t.match(await ask(two, elsewhere), { status: 200 }, `${title}: what it has is read`)
      t.ok(await isReady(one), `${title}: no reason to send nobody here`)
      t.ok((await backlog(one, 'blobs')) > 0, `${title}: they wait for it`)
      lift()
      t.ok(await eventually(() => held(name)), `${title}: it gets it afterwards`)
    }
  })

  await t.test('PostgreSQL has no room for tables', async t => {
    const small = await startPostgres([], { room: 72 })
    if (!small) return void t.pass('disk full', { skip: 'no file system can be mounted here' })
    t.teardown(() => small.close())
    const common = { timeout: TIMEOUT, patience: OUTAGE }
    const store = await openSharedStore({
      postgres: { url: small.url, schema: 'full', connections: 2, ...common },
      s3: { ...bucket, url: `${bucket.url}/full`, region: 'us-east-1', ...common },
      path: join(root, 'full'),
    })
    t.teardown(() => store.close())
    await store.records.put('c', 'k', 1)
    const filler = join(small.data, 'filler')
    try {
      writeFileSync(filler, Buffer.alloc(100 * 1024 * 1024))
    } catch {
      // until there is no room left
    }
    const value = noise(200_000).toString('base64')
    let written = 0
    const code = await codeOf(async () => {
      for (; written < 200; written++) await store.records.put('c', `k${written}`, value)
    })
    t.equal(code, 'ESTOREDOWN', `after ${written} records`)
    t.equal(await store.records.get('c', 'k'), 1, 'what is there is read')
    await store.audit.append({ ...auditEntry('p'), fresh: false })
    const started = performance.now()
    await codeOf(() => store.records.put('c', 'again', value))
    t.ok(performance.now() - started < BOUND)
    writeFileSync(filler, '')
    t.ok(await eventually(async () => (await codeOf(() => store.check())) === undefined))
    await store.records.put('c', 'again', value)
    t.ok(await eventually(async () => (await listAll(store.audit.read())).length === 1))
  })

  const standby = await postgres?.standby()
  t.teardown(() => standby?.close())
  await t.test('another PostgreSQL takes over', async t => {
    if (!standby) return t.fail('no standby')
    await postgres?.query("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    await postgres?.query('SELECT pg_reload_conf()')
    const replicated = async () => {
      const [row] = (await postgres?.query('SELECT sync_state FROM pg_stat_replication')) ?? []
      return row?.['sync_state'] === 'sync'
    }
    t.ok(await eventually(replicated), 'it follows, and commits wait for it')
    // one that knows both of them, and no address that moves
    const common = { timeout: TIMEOUT, patience: OUTAGE }
    const hosts = [postgres, standby].map(server => `127.0.0.1:${server?.port}`).join(',')
    const third = await openSharedStore({
      postgres: {
        url: `postgres://attestry@${hosts}/postgres`,
        schema: 'several',
        connections: 2,
        ...common,
      },
      s3: { ...bucket, region: 'us-east-1', ...common },
      path: join(root, 'several'),
    })
    t.teardown(() => third.close())
    await third.records.put('c', 'before', 1)
    // verdicts are made, and put on record, at the moment it dies
    let going = true
    const client = async (instance: Instance) => {
      while (going) {
        const name = await fresh()
        for (let tries = 0; tries < 60; tries++) {
          if ((await ask(instance, name)).status === 200) break
          await pause(300)
        }
        await ask(instance, known)
      }
    }
    const clients = [...both, ...both].map(client)
    await pause(1_500)
    const before = served.size
    await postgres?.kill()
    t.match(await ask(one, known), { status: 200 })
    await standby.promote()
    wire.cut()
    await wire.mend(standby.port)
    await recovers(t, both)
    t.ok(await eventually(() => served.size > before + 8), 'new versions are admitted again')
    t.ok(await eventually(async () => (await codeOf(() => third.check())) === undefined))
    await third.records.put('c', 'after', 2)
    t.equal(await third.records.get('c', 'before'), 1)
    going = false
    await Promise.all(clients)
    for (const instance of both) t.match(await ask(instance, await fresh()), { status: 200 })
  })

  await t.test('everything that was served is on record', async t => {
    t.same(wrong, [], 'no wrong byte')
    t.same(slow, [], `every answer came within ${BOUND} ms`)
    const common = { timeout: 5_000, patience: 5_000 }
    const store = await openSharedStore({
      postgres: { ...database, connections: 2, ...common },
      s3: { ...bucket, region: 'us-east-1', ...common },
      path: join(root, 'reader'),
    })
    t.teardown(() => store.close())
    const missing = async () => {
      const found = new Map<string, number>()
      for await (const { decision, package: id, times = 1 } of store.audit.read())
        if (decision === 'allow') found.set(id.name, (found.get(id.name) ?? 0) + times)
      return [...served].filter(([name, times]) => (found.get(name) ?? 0) < times)
    }
    t.ok(await eventually(async () => (await missing()).length === 0))
    t.same(await missing(), [])
    t.equal((await store.audit.tree()).size, (await listAll(store.audit.texts())).length)
  })
})
