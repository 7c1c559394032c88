/** The contract on PostgreSQL and S3 as they are, and what only this store can be asked. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import openClient from 'postgres'
import t from 'tap'
import type { Test } from 'tap'
import { openSharedStore, type SharedStoreOptions } from '../../lib/store/shared/open-shared.ts'
import { AwsClient } from 'aws4fetch'
import { openCircuit } from '../../lib/store/shared/circuit.ts'
import { openPostgres } from '../../lib/store/shared/postgres.ts'
import { migrate, steps, type Step } from '../../lib/store/shared/postgres-migrations.ts'
import { objectKey } from '../../lib/store/shared/shared-blobs.ts'
import type { StoreEvent } from '../../lib/store/store-event.ts'
import { MiB, auditEntry, codeOf, eventually, keepBytes, listAll } from '../contract/tools.ts'
import { storeContract } from '../contract/store-contract.ts'
import { startSharedServers } from '../support/servers/shared.ts'

const { postgres, s3, skip } = await startSharedServers(['fsync=off'])
t.teardown(async () => {
  await postgres?.close()
  await s3?.close()
})

const root = t.testdir({})
const queries = new Set<string>()
const name = () => randomBytes(6).toString('hex')

/** A connection of our own. */
const connect = (t: Test, space?: string) => {
  const sql = openClient(postgres?.url ?? '', {
    max: 1,
    onnotice: () => undefined,
    ...(space !== undefined && { connection: { search_path: `space_${space}` } }),
  })
  t.teardown(() => sql.end())
  return sql
}

const optionsOf = (space: string): SharedStoreOptions => ({
  postgres: {
    url: postgres?.url ?? '',
    schema: `space_${space}`,
    connections: 4,
    timeout: 10_000,
    patience: 5_000,
  },
  s3: {
    url: `${s3?.url}/${space}`,
    region: 'us-east-1',
    accessKeyId: s3?.accessKeyId ?? '',
    secretAccessKey: s3?.secretAccessKey ?? '',
    timeout: 10_000,
    patience: 5_000,
  },
  path: join(root, name()),
  onQuery: text => queries.add(text),
})

/**
 * A store that waits for PostgreSQL only briefly. Its tables are made by a patient one, and on a busy
 * machine the way in can take longer than that too.
 */
const openImpatient = async (
  options: SharedStoreOptions,
  { timeout, patience }: { readonly timeout: number; readonly patience: number },
) => {
  await (await openSharedStore(options)).close()
  const impatient = { ...options, postgres: { ...options.postgres, timeout, patience } }
  for (let times = 1; ; times++) {
    try {
      return await openSharedStore({ ...impatient, path: join(root, name()) })
    } catch (error) {
      if (times === 20) throw error
    }
  }
}

const done = (call: () => Promise<unknown>) =>
  eventually(async () => (await codeOf(call)) === undefined)

await t.test('contract', { skip, timeout: 400_000 }, async t =>
  storeContract(t, async ({ space = name(), maxBytes } = {}) => {
    const options = optionsOf(space)
    return openSharedStore({ ...options, s3: { ...options.s3, maxBytes } })
  }),
)

/** Every node of a plan, as `EXPLAIN (FORMAT JSON)` gives it. */
const nodesOf = (plan: Record<string, unknown>): readonly Record<string, unknown>[] => [
  plan,
  ...((plan['Plans'] ?? []) as Record<string, unknown>[]).flatMap(nodesOf),
]

t.test('every query has an index', { skip }, async t => {
  const space = name()
  const store = await openSharedStore(optionsOf(space))
  // what the contract does not ask for by itself
  await store.collect()
  await store.close()
  const sql = connect(t, space)
  // with scans of whole tables made dear, one is chosen only where there is no other way
  await sql`SET enable_seqscan = off`
  await sql`SET plan_cache_mode = force_generic_plan`
  const scanned = async (text: string) => {
    const count = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(found => Number(found[1])))
    await sql.unsafe(`PREPARE asked AS ${text}`)
    const values =
      count > 0 ? `(${Array.from({ length: count }, () => 'NULL').join(', ')})` : ''
    const [row] = await sql.unsafe(`EXPLAIN (FORMAT JSON) EXECUTE asked${values}`)
    await sql.unsafe('DEALLOCATE asked')
    const [top] = (row?.['QUERY PLAN'] ?? []) as { Plan: Record<string, unknown> }[]
    return nodesOf(top?.Plan ?? {})
      .filter(node => node['Node Type'] === 'Seq Scan')
      .map(node => String(node['Relation Name']))
  }
  t.same(await scanned("SELECT key FROM records WHERE value = 'x'"), ['records'], 'it can fail')
  const asked = [...queries].filter(
    text =>
      /^\s*(SELECT|INSERT|UPDATE|DELETE)\b/.test(text) && !/pg_database|migrations/.test(text),
  )
  t.ok(asked.length > 25, `${asked.length} queries`)
  for (const text of asked)
    t.same(await scanned(text), [], text.replaceAll(/\s+/g, ' ').slice(0, 90))
})

t.test('tables', { skip }, async t => {
  const postgresOf = (t: Test, space: string) => {
    const lifetime = { closed: false }
    const found = openPostgres(optionsOf(space).postgres, { lifetime, log: () => undefined })
    t.teardown(() => found.close())
    return found
  }

  t.test('instances that start together make them once', async t => {
    const space = name()
    const found = await Promise.all(
      Array.from({ length: 4 }, () => migrate(postgresOf(t, space)).then(({ found }) => found)),
    )
    t.same(
      found.filter(version => version === 0),
      [0],
    )
  })

  t.test('an older version goes on where the newer one says that it may', async t => {
    const space = name()
    const wider: Step = { runs: 1, sql: 'ALTER TABLE records ADD COLUMN note text' }
    const narrower: Step = { runs: 3, sql: 'ALTER TABLE records DROP COLUMN note' }
    const old = await openSharedStore(optionsOf(space))
    t.teardown(() => old.close())
    await old.records.put('c', 'k', 1)
    await migrate(postgresOf(t, space), [...steps, wider])
    await old.records.put('c', 'k', 2)
    t.equal(await old.records.swap('c', 'k', 2, 3), true)
    const again = await openSharedStore(optionsOf(space))
    t.equal(await again.records.get('c', 'k'), 3, 'an old one that starts again')
    await again.close()
    await migrate(postgresOf(t, space), [...steps, wider, narrower])
    await t.rejects(openSharedStore(optionsOf(space)), { code: 'ESTORE' })
  })

  t.test('the audit log lets nothing be changed, by whatever hand', async t => {
    const space = name()
    const store = await openSharedStore(optionsOf(space))
    t.teardown(() => store.close())
    await store.audit.append(auditEntry('p'))
    const sql = connect(t, space)
    for (const text of ["UPDATE audit SET entry = '{}'", 'DELETE FROM audit', 'TRUNCATE audit'])
      await t.rejects(sql.unsafe(text), /append-only/, text)
    t.equal((await listAll(store.audit.read())).length, 1)
  })
})

t.test('who waited in vain has waited for all', async t => {
  class Silence extends Error {}
  const open = () =>
    openCircuit({
      part: 's3',
      name: 'it',
      isDown: error => error instanceof Silence,
      isSilent: error => error instanceof Silence,
      patience: 50,
    })
  let calls = 0
  const silent = async () => {
    calls += 1
    await pause(100)
    throw new Silence('nothing')
  }
  const alone = open()
  t.equal(await codeOf(() => alone.run('ask', silent)), 'ESTOREDOWN')
  t.equal(await codeOf(() => alone.run('ask', silent)), 'ESTOREDOWN')
  t.equal(calls, 1, 'nobody else waits for it, nor does the same one twice')
  const busy = open()
  const others = setInterval(() => void busy.run('ask', async () => 1), 10)
  t.teardown(() => clearInterval(others))
  t.equal(await codeOf(() => busy.run('ask', silent)), 'ESTOREDOWN')
  t.equal(await busy.run('ask', async () => 2), 2, 'it answers others')
})

t.test('whoever asks whether it is ready, it is looked once', { skip }, async t => {
  const asked: string[] = []
  const store = await openSharedStore({
    ...optionsOf(name()),
    onQuery: text => asked.push(text),
  })
  t.teardown(() => store.close())
  await Promise.all(Array.from({ length: 50 }, () => store.check()))
  const looks = () => asked.filter(text => text.includes('INSERT INTO checks')).length
  t.equal(looks(), 1)
  await store.check()
  t.equal(looks(), 2, 'but not remembered')
})

t.test('a synchronous standby that is away', { skip }, async t => {
  if (!postgres) return
  const store = await openImpatient(optionsOf(name()), { timeout: 400, patience: 200 })
  t.teardown(() => store.close())
  t.ok(await done(() => store.records.put('c', 'k', 1)))
  const set = async (value: string) => {
    await postgres.query(`ALTER SYSTEM SET synchronous_standby_names = '${value}'`)
    await postgres.query('SELECT pg_reload_conf()')
  }
  await set('nobody')
  t.teardown(() => set(''))
  const waiting = async () => {
    const [row] = await postgres.query(`SELECT count(*)::int AS count FROM pg_stat_activity
      WHERE application_name LIKE 'attestry %' AND wait_event = 'SyncRep'`)
    return Number(row?.['count'])
  }
  // the setting reaches every process of the server in its time
  t.ok(
    await eventually(
      async () => (await codeOf(() => store.records.put('c', 'k', 2))) !== undefined,
    ),
  )
  for (let times = 0; times < 12; times++) {
    await codeOf(() => store.records.put('c', `k${times}`, times))
    await pause(250)
  }
  t.ok((await waiting()) <= 6, `${await waiting()} commits wait`)
  t.ok(await done(() => store.records.get('c', 'k')), 'what is there is read')
  t.ok(await store.records.get('c', 'k'))
  await set('')
  t.ok(await done(() => store.check()))
  t.ok(await eventually(async () => (await waiting()) === 0), 'nothing is left')
})

t.test('a server with a certificate', { skip }, async t => {
  if (!postgres) return
  const pem = (file: string) =>
    readFileSync(join(import.meta.dirname, '../support/tls', file), 'utf8')
  const set = async (on: boolean) => {
    await postgres.query(`ALTER SYSTEM SET ssl = ${on ? 'on' : 'off'}`)
    await postgres.query('SELECT pg_reload_conf()')
  }
  for (const part of ['cert', 'key']) {
    postgres.write(`${part}.pem`, pem(`a.${part}.pem`))
    await postgres.query(`ALTER SYSTEM SET ssl_${part}_file = '${part}.pem'`)
  }
  await set(true)
  t.teardown(() => set(false))
  const open = async (ca: string) => {
    const options = optionsOf(name())
    const url = options.postgres.url.replace('127.0.0.1', 'localhost')
    return openSharedStore({ ...options, postgres: { ...options.postgres, url, ca } })
  }
  const store = await open(pem('a.cert.pem'))
  t.teardown(() => store.close())
  await store.records.put('c', 'k', 1)
  t.equal(await store.records.get('c', 'k'), 1)
  await t.rejects(open(pem('b.cert.pem')), /certificate/)
})

t.test('a server that takes connections and ends them', async t => {
  let taken = 0
  const nobody = createServer(socket => {
    taken += 1
    socket.on('error', () => undefined)
    socket.destroy()
  }).listen(0, '127.0.0.1')
  await once(nobody, 'listening')
  t.teardown(() => nobody.close())
  const { port } = nobody.address() as AddressInfo
  const found = openPostgres(
    {
      url: `postgres://attestry@127.0.0.1:${port}/postgres`,
      schema: 'none',
      connections: 4,
      timeout: 1_000,
      patience: 2_000,
    },
    { lifetime: { closed: false }, log: () => undefined },
  )
  t.teardown(() => found.close())
  const ask = () => codeOf(() => found.run('ask', sql => sql`SELECT 1`))
  const started = performance.now()
  t.same(await Promise.all(Array.from({ length: 20 }, ask)), Array(20).fill('ESTOREDOWN'))
  const seconds = (performance.now() - started) / 1000
  t.ok(taken > 1 && taken < 20 + 12 * seconds, `${taken} connections in ${seconds} s`)
})

t.test('a frozen server', { skip }, async t => {
  const events: StoreEvent[] = []
  const options = { ...optionsOf(name()), log: (event: StoreEvent) => events.push(event) }
  const [first, second] = await Promise.all(
    [options, options].map(each => openImpatient(each, { timeout: 600, patience: 300 })),
  )
  t.teardown(() => Promise.all([first?.close(), second?.close()]))
  if (!first || !second || !postgres) throw new Error('no store')
  const run = (store: typeof first, key: string, wait: number) =>
    store.leases.run(key, async () => 1, { wait })
  t.ok(await done(() => run(first, 'k', 1000)))
  postgres.freeze()
  t.teardown(() => postgres.thaw())
  const started = performance.now()
  const calls = [
    run(first, 'k', 10_000),
    ...Array.from({ length: 12 }, (_, index) => first.records.put('c', `${index}`, index)),
    ...Array.from({ length: 12 }, () => first.audit.append(auditEntry('p'))),
    ...Array.from({ length: 12 }, () => first.audit.tree()),
    first.check(),
  ]
  const codes = await Promise.all(calls.map(call => codeOf(() => call)))
  t.same([...new Set(codes)], ['ESTOREDOWN'])
  // 0.9 s for an answer, as much for a connection of the few that transactions have
  t.ok(performance.now() - started < 6_000, `${performance.now() - started} ms`)
  t.equal(await codeOf(() => first.check()), 'ESTOREDOWN')
  t.ok(events.some(({ event }) => event === 'unreachable'))
  postgres.thaw()
  t.ok(await done(() => first.check()))
  // it may have been taken behind the back of who asked for it
  let ran = false
  t.ok(await done(async () => ({ ran } = await run(second, 'k', 2_000))))
  t.ok(ran, 'a lease that nobody got is free')
})

t.test('an object that is not what its name says is never given out', { skip }, async t => {
  const space = name()
  const first = await openSharedStore(optionsOf(space))
  t.teardown(() => first.close())
  const bytes = randomBytes(3 * MiB)
  const integrity = await keepBytes(first.blobs, bytes)
  const client = new AwsClient({
    accessKeyId: s3?.accessKeyId ?? '',
    secretAccessKey: s3?.secretAccessKey ?? '',
    service: 's3',
  })
  const url = `${s3?.url}/${space}/${objectKey(integrity)}`
  const spoiled = Buffer.from(bytes)
  spoiled[spoiled.length - 1] = (spoiled.at(-1) ?? 0) ^ 1
  t.ok((await client.fetch(url, { method: 'PUT', body: spoiled })).ok)

  const events: StoreEvent[] = []
  const second = await openSharedStore({
    ...optionsOf(space),
    log: event => events.push(event),
  })
  t.teardown(() => second.close())
  t.same(await second.blobs.stat(integrity), { integrity, size: bytes.length })
  t.equal(await second.blobs.open(integrity), undefined)
  t.equal(await second.blobs.stat(integrity), undefined, 'it counts as missing from now on')
  t.ok(events.some(({ event }) => event === 'blob-damaged'))
  t.ok((await first.blobs.get(integrity))?.equals(bytes), 'a copy that was checked is good')
  await first.blobs.delete(integrity)
  await keepBytes(second.blobs, bytes)
  t.ok((await first.blobs.get(integrity))?.equals(bytes), 'and it can come back')
  // a longer one, and none
  t.ok((await client.fetch(url, { method: 'PUT', body: Buffer.concat([bytes, bytes]) })).ok)
  t.equal(await first.blobs.verify(integrity), false)
  await keepBytes(first.blobs, bytes)
  t.ok((await client.fetch(url, { method: 'DELETE' })).ok)
  const third = await openSharedStore(optionsOf(space))
  t.teardown(() => third.close())
  t.equal(await third.blobs.get(integrity), undefined)
})
