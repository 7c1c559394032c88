import { spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { openLocalStore } from '../../lib/store/local.ts'
import type { StoreEvent } from '../../lib/store/store-event.ts'
import type { Store } from '../../lib/store/store.ts'
import type { Integrity } from '../../lib/types.ts'
import {
  auditEntry,
  integrityOf,
  listAll,
  readAll,
  rootNow,
  rootOfTexts,
} from '../contract/tools.ts'
import { recordValue } from './crash-record.ts'
import type { RecordValue } from './crash-record.ts'

const writer = fileURLToPath(new URL('crash-writer.ts', import.meta.url))

type Acknowledged = {
  readonly blobs: Set<Integrity>
  /** Highest round acknowledged of each key. */
  readonly records: Map<string, number>
  readonly pins: Set<string>
  readonly audit: Set<string>
  /** What the writer said at its end, when it had one. */
  last: string
}

const nothing = (): Acknowledged => ({
  blobs: new Set(),
  records: new Map(),
  pins: new Set(),
  audit: new Set(),
  last: '',
})

const take = (line: string, into: Acknowledged): void => {
  const [what, name = '', round = ''] = line.split(' ')
  if (what === 'blob') into.blobs.add(name as Integrity)
  else if (what === 'record') into.records.set(name, Number(round))
  else if (what === 'pin') into.pins.add(name)
  else if (what === 'audit') into.audit.add(name)
  else into.last = line
}

/** Runs a writer; `kill` is given the means to kill it and when it acknowledged something. */
const runWriter = async (
  args: readonly string[],
  into: Acknowledged,
  kill?: (kill: () => void, began: Promise<void>) => Promise<void>,
): Promise<void> => {
  const child = spawn(process.execPath, [writer, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const began = new Promise<void>(resolve => {
    lines.on('line', line => {
      take(line, into)
      resolve()
    })
  })
  await kill?.(() => child.kill('SIGKILL'), Promise.race([began, ended]))
  await ended
}

/** Every acknowledged write is there and whole. */
const checkAcknowledged = async (t: Test, store: Store, seen: Acknowledged): Promise<void> => {
  let blobs = 0
  for (const integrity of seen.blobs) {
    const bytes =
      blobs % 2 ? await store.blobs.get(integrity) : await readAll(store.blobs, integrity)
    if (bytes && integrityOf(bytes) === integrity) blobs += 1
  }
  t.equal(blobs, seen.blobs.size, `${blobs} blobs`)
  let records = 0
  for (const [key, round] of seen.records) {
    const value = await store.records.get<RecordValue>('crash', key)
    // A later round may have been written and not told.
    if (value && value.round >= round) records += 1
  }
  t.equal(records, seen.records.size, `${records} records`)
  const pins = new Set((await listAll(store.records.list('pin'))).map(([key]) => key))
  t.ok(seen.pins.isSubsetOf(pins), `${seen.pins.size} pins`)
  const rules = new Set((await listAll(store.audit.read())).map(({ rule }) => rule))
  t.ok(seen.audit.isSubsetOf(rules), `${seen.audit.size} audit entries`)
  const { size } = await store.audit.tree()
  const root = Buffer.from(await rootOfTexts(store.audit))
  t.ok(root.equals(await rootNow(store.audit, size)), 'the tree is that of the entries')
}

/** Nothing is half there, acknowledged or not. Returns the bytes of all blob files. */
const checkWhole = async (t: Test, path: string, store: Store): Promise<number> => {
  for (const [, value] of await listAll(store.records.list<RecordValue>('crash'))) {
    t.same(value, recordValue(value.round))
  }
  for (const entry of await listAll(store.audit.read())) {
    t.match(entry, auditEntry('p', entry.rule))
  }
  const root = join(path, 'blobs', 'sha512')
  let size = 0
  for (const shard of await readdir(root)) {
    for (const name of await readdir(join(root, shard))) {
      const bytes = await readFile(join(root, shard, name))
      size += bytes.length
      const digest = createHash('sha512').update(bytes).digest('hex')
      if (digest !== shard + name) t.fail(`${shard}${name} is not what its name says`)
    }
  }
  return size
}

t.test('killed at any moment, it keeps what it acknowledged and nothing half', async t => {
  const path = join(t.testdir({}), 'store')
  const all = nothing()
  for (let run = 0; run < 15; run += 1) {
    const seen = nothing()
    await runWriter([path, `run${run}`], seen, async (kill, began) => {
      // Two in fifteen are killed while they open.
      if (run % 7 !== 6) await began
      await pause(randomInt(150))
      kill()
    })
    t.equal(seen.last, '', 'it did not end by itself')
    const events: StoreEvent[] = []
    const store = await openLocalStore({ path, log: event => events.push(event) })
    t.same(await readdir(join(path, 'tmp')), [], 'nothing is left in tmp')
    await checkAcknowledged(t, store, seen)
    await store.close()
    t.same(
      events.filter(({ event }) => /damaged|failed/.test(event)),
      [],
    )
    for (const name of seen.blobs) all.blobs.add(name)
    for (const entry of seen.records) all.records.set(...entry)
    for (const name of seen.pins) all.pins.add(name)
    for (const name of seen.audit) all.audit.add(name)
  }
  t.ok(all.blobs.size > 0 && all.records.size > 0 && all.pins.size > 0 && all.audit.size > 0)

  // By the time of this clock no commit can still be under way.
  const later = () => new Date(Date.now() + 600_000)
  const store = await openLocalStore({ path, now: later })
  t.teardown(() => store.close())
  await checkAcknowledged(t, store, all)
  const size = await checkWhole(t, path, store)
  await store.collect()
  t.equal(await store.blobs.size(), size, 'the sum of sizes was repaired')
})

t.test('several processes at once share one store, from its first moment', async t => {
  const path = join(t.testdir({}), 'store')
  const seen = ['one', 'two', 'three'].map(name => ({ name, ...nothing() }))
  await Promise.all(seen.map(each => runWriter([path, each.name, '30'], each)))
  const store = await openLocalStore({ path })
  t.teardown(() => store.close())
  for (const each of seen) {
    t.equal(each.last, 'closed')
    t.equal(each.pins.size, 30)
    t.equal(each.audit.size, 150)
    await checkAcknowledged(t, store, each)
  }
  const size = await checkWhole(t, path, store)
  t.equal(await store.blobs.size(), size)
  t.equal((await listAll(store.audit.read())).length, 450)
})
