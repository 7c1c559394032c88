/** The audit log against somebody who can write to the database and the files beside it. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { keptCheckpointOf, openSealing, verifiersOf } from '../../lib/sealing/open-sealing.ts'
import type { SealerEvent } from '../../lib/sealing/sealer.ts'
import { verifyLog, type LogReport, type VerifyOptions } from '../../lib/sealing/verify-log.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import type { AuditLog } from '../../lib/store/store.ts'
import { parseCheckpoint, signCheckpoint } from '../../lib/transparency/checkpoint.ts'
import { parseVerifierKey } from '../../lib/transparency/note.ts'
import { signPruning } from '../../lib/sealing/pruning.ts'
import { openLogKey } from '../../lib/sealing/log-key.ts'
import { auditEntry } from '../contract/tools.ts'
import { forge, type Forger } from './forger.ts'

const root = t.testdir({})
const settings = { formerKeys: [], interval: 3_600_000 }
const keyFile = 'audit-log.key'
const checkpointFile = 'audit-log.checkpoint'

const open = async (t: Test, storage: string, more: object = {}) => {
  const store = await openLocalStore({ path: storage })
  const events: SealerEvent[] = []
  const place = { settings: { ...settings, ...more }, storage }
  const sealer = await openSealing({
    ...place,
    audit: store.audit,
    onEvent: event => events.push(event),
  })
  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    await sealer.close()
    await store.close()
  }
  t.teardown(close)
  const kinds = () => events.map(({ event }) => event)
  return { ...store, place, sealer, events, kinds, close }
}

const append = async (audit: AuditLog, from: number, to: number) => {
  const numbers = Array.from({ length: to - from }, (_, n) => from + n)
  await Promise.all(numbers.map(n => audit.append(auditEntry(`p${n % 3}`, `rule ${n}`))))
}

/** 700 entries; checkpoints kept elsewhere at 300 and at 600, the one in the store is of 600. */
const home = join(root, 'home')
const outside: { source: string; note: string }[] = []
let publicKey = ''

const verify = async (
  t: Test,
  storage: string,
  options: Partial<VerifyOptions> & { readonly kept?: boolean } = {},
): Promise<LogReport> => {
  const store = await openLocalStore({ path: storage })
  t.teardown(() => store.close())
  const place = { settings, storage }
  const note = options.kept === false ? undefined : await keptCheckpointOf(place).read()
  return verifyLog({
    audit: store.audit,
    keys: await verifiersOf(place),
    ...options,
    outside: [
      ...(note === undefined ? [] : [{ source: 'kept', note }]),
      ...(options.outside ?? []),
    ],
  })
}

const kindsOf = ({ findings }: LogReport) => [...new Set(findings.map(({ kind }) => kind))]

let copies = 0
/** A copy of home that was tampered with. */
const tampered = (work: (forger: Forger, storage: string) => void): string => {
  const storage = join(root, `copy${copies++}`)
  cpSync(home, storage, { recursive: true })
  forge(storage, forger => work(forger, storage))
  return storage
}

t.test('what is signed is proven', async t => {
  const { audit, sealer, events, close } = await open(t, home)
  t.equal(await sealer.seal(), undefined, 'nothing there')
  await append(audit, 0, 300)
  const first = (await sealer.seal()) ?? ''
  await append(audit, 300, 600)
  const second = (await sealer.seal()) ?? ''
  t.equal(await sealer.seal(), second, 'nothing new')
  outside.push({ source: 'at 300', note: first }, { source: 'at 600', note: second })
  t.same(
    events.map(event => event.event === 'checkpoint' && event.size),
    [300, 600],
  )
  t.same(sealer.state(), { size: 600, signed: 600 })
  t.equal(statSync(join(home, keyFile)).mode & 0o077, 0, 'the key is its owner’s')
  t.equal(readFileSync(join(home, checkpointFile), 'utf8'), second)
  const [event] = events
  publicKey = event?.event === 'checkpoint' ? event.key : ''

  // killed before anything more was signed
  await append(audit, 600, 700)
  cpSync(home, join(root, 'killed'), { recursive: true })
  await close()
  t.equal(parseCheckpoint(readFileSync(join(home, checkpointFile), 'utf8')).size, 700)
  rmSync(home, { recursive: true })
  cpSync(join(root, 'killed'), home, { recursive: true })

  const report = await verify(t, home, { outside, keys: [parseVerifierKey(publicKey)] })
  t.match(report, { size: 700, verified: 700, pruned: 0, unsigned: 100, findings: [], more: 0 })
  t.same(
    report.checkpoints.map(({ source, size }) => [source, size]),
    [
      ['at 300', 300],
      ['checkpoint in the store', 600],
      ['kept', 600],
      ['at 600', 600],
    ],
  )
})

/** The texts with one of them saying something else. */
const edited = (texts: readonly string[], at: number) =>
  texts.with(at, JSON.stringify(auditEntry(`p${at % 3}`, 'forged')))
const swapped = (texts: readonly string[], a: number, b: number) =>
  texts.with(a, texts[b] ?? '').with(b, texts[a] ?? '')
const without = (texts: readonly string[], at: number) => texts.toSpliced(at, 1)

t.test('without anything from outside', async t => {
  const cases: Record<string, [(forger: Forger, storage: string) => void, string[]]> = {
    'an entry edited': [f => f.rewrite(edited(f.texts(), 5), { hashes: false }), ['changed']],
    'edited, and its hashes': [f => f.rewrite(edited(f.texts(), 5)), ['rewritten']],
    'the last signed one edited, and its hashes': [
      f => f.rewrite(edited(f.texts(), 599)),
      ['rewritten'],
    ],
    'one edited that nobody signed for': [
      f => f.rewrite(edited(f.texts(), 650), { hashes: false }),
      ['changed'],
    ],
    'a character more': [
      f => f.sql("UPDATE audit SET entry = entry || ' ' WHERE seq = 9"),
      ['changed'],
    ],
    deleted: [f => f.sql('DELETE FROM audit WHERE seq = 400'), ['missing']],
    'deleted, numbered anew': [
      f => f.rewrite(without(f.texts(), 399), { hashes: false }),
      ['changed'],
    ],
    'deleted, numbered anew, and the hashes': [
      f => f.rewrite(without(f.texts(), 399)),
      ['rewritten'],
    ],
    'the first one deleted': [f => f.sql('DELETE FROM audit WHERE seq = 1'), ['missing']],
    'two in each other’s place': [
      f => f.rewrite(swapped(f.texts(), 10, 13), { hashes: false }),
      ['changed'],
    ],
    'two in each other’s place, and the hashes': [
      f => f.rewrite(swapped(f.texts(), 10, 13)),
      ['rewritten'],
    ],
    'cut off at the end': [f => f.sql('DELETE FROM audit WHERE seq > 500'), ['missing']],
    'cut off, and the hashes': [f => f.rewrite(f.texts().slice(0, 500)), ['truncated']],
    'all of it gone': [f => f.rewrite([]), ['truncated']],
    'cut off, the hashes, and the checkpoint in the store': [
      f => {
        f.rewrite(f.texts().slice(0, 500))
        f.sql('DELETE FROM audit_checkpoints')
      },
      ['truncated'],
    ],
    'an entry put behind the last': [
      f => f.sql(`INSERT INTO audit VALUES (701, 'p', '{"package":{"name":"p"}}')`),
      ['extra'],
    ],
    'filed under another name': [
      f => f.sql("UPDATE audit SET name = 'q' WHERE seq = 7"),
      ['misfiled'],
    ],
    'a hash of an entry': [
      f =>
        f.sql(
          'UPDATE audit_tiles SET hashes = zeroblob(8192) WHERE level = 0 AND position = 0',
        ),
      ['hashes', 'changed'],
    ],
    'a hash above': [
      f => f.sql('UPDATE audit_tiles SET hashes = zeroblob(64) WHERE level = 1'),
      ['rewritten', 'hashes'],
    ],
    'a tile gone': [
      f => f.sql('DELETE FROM audit_tiles WHERE level = 0 AND position = 2'),
      ['rewritten', 'hashes', 'changed'],
    ],
    'a checkpoint edited': [
      f => f.sql("UPDATE audit_checkpoints SET note = replace(note, '600', '500')"),
      ['checkpoint'],
    ],
    'a checkpoint that is none': [
      f => f.sql("UPDATE audit_checkpoints SET note = 'x'"),
      ['checkpoint'],
    ],
    'said to be pruned': [
      f => {
        f.sql('UPDATE audit_tree SET pruned = 256')
        f.sql('DELETE FROM audit WHERE seq <= 256')
      },
      ['pruned', 'missing'],
    ],
  }
  for (const [what, [work, wanted]] of Object.entries(cases))
    t.same(kindsOf(await verify(t, tampered(work))), wanted, what)

  const { findings } = await verify(
    t,
    tampered(f => f.sql('DELETE FROM audit WHERE seq IN (4, 5, 6, 8)')),
  )
  t.match(findings, [
    { kind: 'missing', seq: 4, detail: 'Entries 4 to 6 are missing.' },
    { kind: 'missing', seq: 8, detail: 'Entry 8 is missing.' },
  ])
})

t.test('a forger with another key', async t => {
  const stranger = await openLogKey({ path: join(root, 'stranger.key'), create: true })
  if (!stranger) throw new Error('no key')
  const own = parseVerifierKey(publicKey)
  const posing = await openLogKey({ path: join(root, 'stranger.key'), origin: own.name })
  if (!posing) throw new Error('no key')
  const resign = (signer: typeof posing) => async (storage: string) => {
    const store = await openLocalStore({ path: storage })
    await store.audit.seal(tree => signCheckpoint(tree, [signer]))
    await store.close()
  }
  const rewritten = tampered(f => {
    f.rewrite(edited(f.texts(), 5))
    f.sql('DELETE FROM audit_checkpoints')
  })
  rmSync(join(rewritten, checkpointFile))
  await resign(posing)(rewritten)
  t.same(kindsOf(await verify(t, rewritten)), ['checkpoint'], 'by name, not by key')

  // the key in the storage, too: only who knows the key, or has a checkpoint, can tell
  cpSync(join(root, 'stranger.key'), join(rewritten, keyFile))
  const moved = { ...settings, origin: own.name }
  const store = await openLocalStore({ path: rewritten })
  t.teardown(() => store.close())
  const keys = await verifiersOf({ settings: moved, storage: rewritten })
  const { audit } = store
  t.same(kindsOf(await verifyLog({ audit, keys })), [], 'what cannot be seen from inside')
  t.same(kindsOf(await verifyLog({ audit, keys, outside })), ['checkpoint'])
  t.same(kindsOf(await verifyLog({ audit, keys: [own] })), ['checkpoint'])
  t.same(kindsOf(await verifyLog({ audit, keys: [own], outside })), ['checkpoint', 'rewritten'])

  const pruned = tampered(f => {
    f.sql('UPDATE audit_tree SET pruned = 256')
    f.sql('DELETE FROM audit WHERE seq <= 256')
    const word = { seq: 256, archive: '0'.repeat(64), at: '2026-01-01T00:00:00Z' }
    f.sql(`INSERT INTO audit_prunings VALUES (256, '${signPruning(word, posing)}')`)
  })
  t.same(kindsOf(await verify(t, pruned)), ['pruned', 'missing'])
})

t.test('what only a checkpoint kept elsewhere shows', async t => {
  // everything as it was at 300, the signed checkpoint of then with it
  const back = tampered((f, storage) => {
    f.rewrite(f.texts().slice(0, 300))
    f.sql('DELETE FROM audit_checkpoints')
    const { note = '' } = outside[0] ?? {}
    f.sql(`INSERT INTO audit_checkpoints VALUES (300, '2026-01-01', '${note}')`)
    writeFileSync(join(storage, checkpointFile), note)
  })
  t.same(kindsOf(await verify(t, back)), [])
  t.match(await verify(t, back, { outside }), {
    findings: [{ kind: 'truncated', detail: /^at 600: .* 600 entries, and there are 300/ }],
  })

  const tail = tampered(f => f.rewrite(edited(f.texts(), 650)))
  t.match(await verify(t, tail), { unsigned: 100, findings: [] }, 'nobody had signed for it')
  const bare = tampered((f, storage) => {
    f.sql('DELETE FROM audit_checkpoints')
    rmSync(join(storage, checkpointFile))
  })
  t.match(await verify(t, bare), { checkpoints: [], unsigned: 700, findings: [] })
})

t.test('nothing is signed that contradicts what was', async t => {
  const signs = async (t: Test, storage: string, more: object = {}) => {
    const opened = await open(t, storage, more)
    await append(opened.audit, 0, 3)
    const note = await opened.sealer.seal()
    await opened.sealer.seal()
    const { checkpoints } = await opened.audit.tree()
    await opened.close()
    return { note, kinds: opened.kinds(), state: opened.sealer.state(), checkpoints }
  }
  const refused = { note: undefined, kinds: ['contradiction'], state: { fault: String } }
  t.match(
    await signs(
      t,
      tampered(f => f.rewrite(edited(f.texts(), 5))),
    ),
    refused,
    'rewritten',
  )
  t.match(
    await signs(
      t,
      tampered(f => f.rewrite(f.texts().slice(0, 500))),
    ),
    refused,
    'cut off, held to the store',
  )
  const cut = (f: Forger) => {
    f.rewrite(f.texts().slice(0, 500))
    f.sql('DELETE FROM audit_checkpoints')
  }
  t.match(await signs(t, tampered(cut)), { ...refused, checkpoints: [] }, 'held to the file')
  t.match(
    await signs(
      t,
      tampered((f, storage) => {
        cut(f)
        rmSync(join(storage, checkpointFile))
      }),
    ),
    { note: /\n503\n/ },
    'nothing left to be held to',
  )
  const keyless = tampered((_, storage) => rmSync(join(storage, keyFile)))
  t.match(
    await signs(t, keyless),
    { ...refused, checkpoints: { length: 1 } },
    'the key is gone',
  )
  t.notOk(existsSync(join(keyless, keyFile)), 'and no other is made')
  t.match(
    await signs(
      t,
      tampered(() => {}),
      { origin: 'another.example' },
    ),
    refused,
    'origin',
  )

  const { audit, sealer, place, kinds } = await open(
    t,
    tampered(() => {}),
  )
  t.match(await sealer.seal(), /\n700\n/)
  forge(place.storage, f => {
    f.rewrite(f.texts().slice(0, 600))
    f.sql('DELETE FROM audit_checkpoints')
    rmSync(join(place.storage, checkpointFile))
  })
  await append(audit, 0, 200)
  t.equal(await sealer.seal(), undefined, 'this process remembers, too')
  t.same(kinds(), ['checkpoint', 'contradiction'])
})

t.test('a new key, and the old one known as a former one', async t => {
  const storage = tampered((_, storage) => rmSync(join(storage, keyFile)))
  const origin = parseVerifierKey(publicKey).name
  await openLogKey({ path: join(storage, keyFile), create: true })
  const { sealer, place, audit, kinds } = await open(t, storage, {
    origin,
    formerKeys: [publicKey],
  })
  t.match(await sealer.seal(), /\n700\n/)
  t.same(kinds(), ['checkpoint'])
  const keys = await verifiersOf(place)
  t.match(await verifyLog({ audit, keys, outside }), { findings: [], unsigned: 0 })
  t.match(await verifyLog({ audit, keys: keys.slice(0, 1), outside }), {
    findings: [{ kind: 'checkpoint' }, { kind: 'checkpoint' }],
  })
})

t.test('instances on one store agree on one key', async t => {
  const store = await openLocalStore({ path: join(root, 'agreed') })
  t.teardown(() => store.close())
  const { audit, records } = store
  const folder = (name: string) => join(root, 'agreed', name)
  for (const name of ['a', 'b', 'c']) mkdirSync(folder(name), { recursive: true })
  const start = async (name: string, more: object = {}) => {
    const place = { settings: { ...settings, ...more }, storage: folder(name) }
    const sealer = await openSealing({ ...place, audit, records })
    t.teardown(() => sealer.close())
    return sealer
  }
  const refused = { code: 'ELOGKEY', status: 500 }
  const keyOf = async (name: string, origin?: string) =>
    (await openLogKey({ path: join(folder(name), keyFile), create: true, origin }))
      ?.verifierKey ?? ''

  // of two that start at once with a key of their own only one may go on
  await keyOf('a')
  await keyOf('b')
  const both = await Promise.allSettled([start('a'), start('b')])
  t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const [first, second] = both[0]?.status === 'fulfilled' ? ['a', 'b'] : ['b', 'a']
  const lost = both.find(one => one.status === 'rejected')
  t.match(lost?.reason, { ...refused, details: { wanted: await keyOf(first) } })
  await t.rejects(start('c'), refused, 'none of its own')
  t.notOk(existsSync(join(folder('c'), keyFile)), 'and none is made')
  await t.rejects(start(first, { origin: 'other.example' }), refused, 'another name')
  await append(audit, 0, 3)
  t.ok(await (await start(first)).seal())

  // replaced on purpose: who says so may go on, and from then on the old one may not
  const old = await keyOf(first)
  const origin = parseVerifierKey(old).name
  t.ok(await (await start(second, { origin, formerKeys: [old] })).seal())
  await t.rejects(start(first), refused)
  t.ok(await start(second, { origin, formerKeys: [old] }))

  // a log that was signed before there was an agreement
  await records.delete('audit-log', 'key')
  await append(audit, 3, 4)
  t.ok(await (await start(second, { origin, formerKeys: [old] })).seal())
  await records.delete('audit-log', 'key')
  await t.rejects(start('c'), refused)
  await keyOf('c')
  await t.rejects(start('c'), refused)
  t.ok(await start(second, { origin }))
})

t.test('signing goes on by itself, and a disk that fails is told', async t => {
  const storage = join(root, 'running')
  const { audit, sealer, kinds } = await open(t, storage, { interval: 20 })
  await append(audit, 0, 5)
  // It is told when the file is written; what the state says is true a moment earlier.
  for (let tries = 0; tries < 250 && kinds().length === 0; tries += 1)
    await new Promise(resolve => setTimeout(resolve, 20))
  t.same(sealer.state(), { size: 5, signed: 5 })
  rmSync(join(storage, checkpointFile))
  const folder = await open(t, join(root, 'odd'), {
    checkpoint: join(root, 'none', 'c'),
  })
  await append(folder.audit, 0, 1)
  await folder.sealer.seal()
  t.equal(await folder.sealer.seal(), undefined)
  t.same(folder.kinds().slice(0, 1), ['failed'], 'no such folder; told once')
  t.same(kinds(), ['checkpoint'])

  writeFileSync(join(root, 'odd', 'no.key'), 'no key')
  await t.rejects(openLogKey({ path: join(root, 'odd', 'no.key') }), { code: 'ECONFIG' })
  const odd = { settings: { ...settings, formerKeys: [`${publicKey}x`] }, storage: home }
  await t.rejects(verifiersOf(odd), { code: 'ECONFIG' })
  await t.rejects(openLogKey({ path: join(root, 'odd') }), { code: 'ESTORE' })
  await t.rejects(openLogKey({ path: join(root, 'none', 'a.key'), create: true }), {
    code: 'ESTORE',
  })
  t.equal(await openLogKey({ path: join(root, 'none.key') }), undefined)
})
