/** The audit log at work: written by a server, watched from outside, proven and pruned by commands. */
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { Registry } from '../../lib/observe/prom-client.ts'
import { list as listTar } from 'tar'
import t, { type Test } from 'tap'
import { openLog } from '../../lib/observe/log.ts'
import { receiversOf } from '../../lib/cli/store/received.ts'
import { observe } from '../../lib/observe/events.ts'
import { openMetrics } from '../../lib/observe/metrics.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import {
  openCheckpoint,
  parseCheckpoint,
  type Checkpoint,
} from '../../lib/transparency/checkpoint.ts'
import {
  consistencyRanges,
  leafHash,
  provesConsistency,
  rangeHash,
  rootHash,
} from '../../lib/transparency/merkle.ts'
import { parseVerifierKey } from '../../lib/transparency/note.ts'
import { parseTilePath, readEntryBundle, tilePath } from '../../lib/transparency/tile-path.ts'
import { nodesOf, tilesRead, widthOf, withTiles } from '../../lib/transparency/tiles.ts'
import { auditEntry, eventually } from '../contract/tools.ts'
import { forge } from '../sealing/forger.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})
await registry.publish({ name: 'app', version: '1.0.0' })
await registry.publish({ name: 'lib', version: '1.0.0' })

/** A folder with settings, and a storage of entries from the first hours of 2026. */
const site = async (t: Test, entries: number) => {
  const cwd = t.testdir()
  await writeSettings(cwd, {
    upstream: 'http://127.0.0.1:9/',
    trustedRoot: sigstore.trustedRoot,
    registryKeys: 'none',
  })
  const storage = join(cwd, 'store')
  const append = async (count: number, from = 0) => {
    const store = await openLocalStore({ path: storage })
    const numbers = Array.from({ length: count }, (_, n) => from + n)
    await Promise.all(
      numbers.map(n =>
        store.audit.append({
          ...auditEntry(`p${n % 3}`, `r${n}`),
          at: new Date(Date.UTC(2026, 0, 1, n)).toISOString(),
          client: { address: `10.0.0.${n % 5}`, ...(n % 7 === 0 && { name: 'ci' }) },
          decision: n % 2 === 0 ? 'allow' : 'refuse',
        }),
      ),
    )
    await store.close()
  }
  await append(entries)
  const run = (...argv: string[]) => runCli(['log', ...argv], { cwd })
  return { cwd, storage, append, run }
}

t.test('the record of a server, watched from outside', async t => {
  const lines: string[] = []
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      lines.push(...String(chunk).trimEnd().split('\n'))
      done()
    },
  })
  const log = openLog({ level: 'info', format: 'json', stream })
  const metrics = openMetrics({ registry: new Registry(), version: '0' })
  t.teardown(() => metrics.close())
  const storage = join(t.testdir(), 'store')
  const settings = [
    'server: { adminToken: swordfish }',
    'access: anonymous',
    'auditLog: { interval: 100ms, repeats: 0s, origin: npm.acme.example/audit }',
  ].join('\n')
  const options = {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    storage,
    settings,
  }
  const proxy = await startProxy({ ...options, observer: observe({ log, metrics }) })
  let closing: Promise<void> | undefined
  const close = () => (closing ??= proxy.close())
  t.teardown(close)
  const get = (path: string, token = 'swordfish') =>
    fetch(`${proxy.url}-/attestry/log/${path}`, {
      headers: token === '' ? {} : { authorization: `Bearer ${token}` },
    })
  const bytes = async (path: string) => {
    const answer = await get(path)
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`)
    return Buffer.from(await answer.arrayBuffer())
  }
  t.equal((await get('checkpoint')).status, 404, 'nothing is signed yet')
  for (const name of ['app', 'lib', 'app'])
    t.equal((await fetch(`${proxy.url}${name}/-/${name}-1.0.0.tgz`)).status, 200)

  const signed = async (size: number): Promise<Checkpoint> => {
    for (let tries = 0; tries < 250; tries += 1) {
      const answer = await get('checkpoint')
      const text = await answer.text()
      const key = lines
        .map(line => JSON.parse(line) as { event: string; key: string })
        .find(({ event }) => event === 'audit-log-checkpoint')?.key
      // it is told a moment after it is kept
      if (answer.status === 200 && key !== undefined && parseCheckpoint(text).size >= size) {
        t.match(answer.headers.get('content-type'), 'text/plain; charset=utf-8')
        return openCheckpoint(text, [parseVerifierKey(key)])
      }
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    throw new Error(`no checkpoint of ${size}`)
  }
  const first = await signed(3)
  t.equal(first.origin, 'npm.acme.example/audit')
  const texts = readEntryBundle(await bytes('tile/entries/000.p/3'))
  t.match(
    texts.map(text => JSON.parse(String(text)) as object),
    ['app', 'lib', 'app'].map(name => ({ package: { name }, decision: 'allow' })),
  )
  t.ok((await bytes('tile/0/000.p/3')).equals(Buffer.concat(texts.map(leafHash))))

  for (let n = 0; n < 4; n += 1) await fetch(`${proxy.url}lib/-/lib-1.0.0.tgz`)
  const second = await signed(7)
  const proof = await withTiles(
    node => consistencyRanges(first.size, second.size).map(range => rangeHash(range, node)),
    async tile => bytes(tilePath({ ...tile, width: widthOf(second.size, tile) })),
  )
  t.ok(provesConsistency(first, second, proof), 'nothing of before was changed')

  for (const [path, status] of Object.entries({
    'tile/0/000': 404,
    'tile/0/000.p/8': 404,
    'tile/entries/000.p/8': 404,
    'tile/entries/001.p/1': 404,
    'tile/1/000.p/1': 404,
    'tile/0/0': 404,
    'tile/64/000': 404,
    nothing: 404,
  }))
    t.equal((await get(path)).status, status, path)
  for (const path of ['checkpoint', 'tile/0/000.p/3', 'tile/entries/000.p/3']) {
    t.equal((await get(path, '')).status, 401, `${path} is for operators`)
    t.equal((await get(path, 'wrong')).status, 401, path)
    t.match((await get(path)).headers.get('cache-control'), /no-store|private/)
  }

  const health = async () =>
    (await (await fetch(`${proxy.url}-/attestry/health/ready`)).json()) as object
  // a checkpoint is told a moment after it is kept
  const counted = async () =>
    (await metrics.text()).text.includes('\nattestry_audit_log_signed_entries 7\n')
  t.ok(await eventually(counted))
  const { text } = await metrics.text()
  t.match(await health(), { status: 'ready', auditLog: 'signed' })
  t.match(text, /^attestry_audit_log_entries 7$/m)
  t.match(text, /^attestry_audit_log_signed_entries 7$/m)
  t.match(text, /^attestry_audit_log_fault 0$/m)

  // while it runs
  forge(storage, f => f.rewrite(f.texts().toReversed()))
  await fetch(`${proxy.url}lib/-/lib-1.0.0.tgz`)
  for (let tries = 0; tries < 250; tries += 1) {
    if (lines.some(line => line.includes('audit-log-contradiction'))) break
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  t.match(await health(), { status: 'ready', auditLog: 'fault' })
  t.match((await metrics.text()).text, /^attestry_audit_log_fault 1$/m)
  t.equal((await signed(7)).size, 7, 'nothing more is signed')
  await close()
  t.equal(lines.filter(line => line.includes('audit-log-contradiction')).length, 1)

  const open = await startProxy({ ...options, storage: join(t.testdirName, 'b'), settings: '' })
  t.teardown(() => open.close())
  const at = `${open.url}-/attestry/log/`
  t.equal((await fetch(`${at}checkpoint`)).status, 404)
  t.equal((await fetch(`${at}tile/0/000.p/1`)).status, 404)
  t.equal((await fetch(`${at}tile/entries/000.p/1`)).status, 401, 'without a token: nobody')
})

t.test('verify, checkpoint, key', async t => {
  const { cwd, storage, append, run } = await site(t, 300)
  t.match(await run('key'), { code: 2, stderr: /ENOTFOUND/ })
  t.match(await run('verify'), {
    code: 2,
    stdout: '300 entries verified of 300; no checkpoint holds.\n',
  })
  const made = await run('checkpoint')
  t.match(made, { code: 0, stdout: /^attestry\/[0-9a-f]{16}\n300\n/ })
  await writeFile(join(cwd, 'kept'), made.stdout)
  const key = (await run('key')).stdout.trim()
  t.match(openCheckpoint(made.stdout, [parseVerifierKey(key)]), { size: 300 })
  t.match(JSON.parse((await run('key', '--json')).stdout), { key, origin: key.split('+')[0] })
  t.match(JSON.parse((await run('checkpoint', '--json')).stdout), {
    size: 300,
    checkpoint: made.stdout,
  })
  await append(10, 300)
  t.match(await run('verify', '--checkpoint', 'kept', '--key', key), {
    code: 0,
    stdout:
      '310 entries verified of 310; 3 checkpoints hold, the newest for 300; 10 not signed for yet.\n',
  })
  const report = JSON.parse((await run('verify', '--json')).stdout) as object
  t.match(report, { result: 'verified', size: 310, unsigned: 10, findings: [] })

  const copy = join(cwd, 'copy')
  await cp(storage, copy, { recursive: true })
  forge(copy, f => f.rewrite(f.texts().toReversed(), { hashes: false }))
  const forged = await run('verify', '--storage', copy)
  t.match(forged, { code: 1, stdout: /^Entry 1 is not the text that was recorded\.\n/ })
  t.match(forged.stdout, /and 210 more\.\n0 entries verified of 310;/)
  t.match(JSON.parse((await run('verify', '--storage', copy, '--json')).stdout), {
    result: 'refuted',
    more: 210,
  })
  forge(copy, f => f.rewrite(f.texts().slice(0, 200)))
  t.match(await run('verify', '--storage', copy, '--checkpoint', 'kept'), {
    code: 1,
    stdout: /kept: it was signed for 300 entries, and there are 200/,
  })
  t.match(await run('checkpoint', '--storage', copy), { code: 2, stderr: /ELOG/ })

  await writeFile(join(cwd, 'none'), 'x')
  for (const argv of [
    ['verify', '--checkpoint', 'nowhere'],
    ['verify', '--key', 'x'],
    ['verify', '--archive', 'none'],
    ['verify', '--limit', '3'],
  ])
    t.equal((await run(...argv)).code, 2, argv.join(' '))
  t.match(await run('verify', '--checkpoint', 'none'), { code: 1, stdout: /none: That is no/ })
  t.match(await run('checkpoint', '--storage', 'empty'), { code: 2, stderr: /ENOTFOUND/ })
  t.match(await run('verify', '--storage', 'empty'), { code: 0 })
  const wide = await runCli(['log', 'verify'], { cwd, columns: 80 })
  t.match(wide.stderr, /verifying/, 'progress on a terminal')
})

t.test('one entry for several', async t => {
  const { run, storage } = await site(t, 0)
  const store = await openLocalStore({ path: storage })
  const { name, version } = { name: 'p', version: '1.0.0' }
  const given = (at: string, more: object = {}) =>
    store.audit.append({ ...auditEntry(name), at, decision: 'allow', reasons: [], ...more })
  await given('2026-01-01T00:00:00.000Z')
  await given('2026-01-01T00:00:01.000Z', { last: '2026-01-02T00:00:01.000Z', times: 41 })
  await given('2026-01-03T00:00:00.000Z')
  const sent = { package: { name, version } }
  const received = async (since?: string) =>
    receiversOf(store.audit, sent, since === undefined ? undefined : new Date(since))
  t.match(await received(), [
    { first: '2026-01-01T00:00:00.000Z', last: '2026-01-03T00:00:00.000Z', times: 43 },
  ])
  t.match(await received('2026-01-02'), [{ times: 42 }], 'what lasts into the time counts')
  await store.close()
  const { stdout } = await run('show', '--since', '2026-01-02', '--limit', '2')
  t.match(stdout, /^2 .* for 127\.0\.0\.1 {2}41 times until 2026-01-02T00:00:01\.000Z$/m)
  t.match(await run('verify'), { stdout: /^3 entries verified of 3/ })
})

t.test('show', async t => {
  const { run } = await site(t, 60)
  const seen = async (...argv: string[]) => {
    const { stdout, code } = await run('show', '--json', ...argv)
    t.equal(code, 0)
    const lines = stdout === '' ? [] : stdout.trimEnd().split('\n')
    return lines.map(line => JSON.parse(line) as { seq: number; decision: string })
  }
  t.equal((await seen()).length, 60)
  t.equal((await seen('--package', 'p1')).length, 20)
  t.equal((await seen('--package', 'p1@1.0.0', '--decision', 'allow')).length, 10)
  t.equal((await seen('--package', 'p1@2.0.0')).length, 0)
  t.equal((await seen('--client', '10.0.0.3')).length, 12)
  t.equal((await seen('--client', 'ci')).length, 9)
  t.equal((await seen('--since', '2026-01-03')).length, 12)
  t.equal((await seen('--since', '2026-01-02T00:30:00Z')).length, 35)
  t.equal((await seen('--since', '1d')).length, 0)
  t.same(
    (await seen('--limit', '2')).map(({ seq }) => seq),
    [59, 60],
  )
  const { stdout } = await run('show', '--limit', '1')
  t.equal(
    stdout,
    '60  2026-01-03T11:00:00.000Z  refuse  p2@1.0.0  by r59 (DENIED)  for 10.0.0.4\n',
  )
  for (const argv of [
    ['--since', 'soon'],
    ['--decision', 'maybe'],
    ['--limit', '0'],
  ])
    t.match(await run('show', ...argv), { code: 2, stderr: /EUSAGE/ }, argv.join(' '))
})

t.test('prune', async t => {
  const { cwd, storage, append, run } = await site(t, 700)
  const made = await run('checkpoint')
  await writeFile(join(cwd, 'kept'), made.stdout)
  // 600 hours: two whole tiles
  const before = '2026-01-26'
  t.match(await run('prune', '--before', '2026-01-05', '--out', 'old.tar'), {
    code: 0,
    stdout: 'No whole tile of entries is that old.\n',
  })
  t.match(await run('prune', '--before', before, '--out', 'old.tar'), {
    code: 0,
    stdout: /^Entries 1 to 512 are in old\.tar, .* sha256 [0-9a-f]{64}\.\n$/,
  })
  t.match(await run('prune', '--before', before, '--out', 'old.tar'), {
    code: 2,
    stderr: /EUSAGE/,
  })
  t.match(await run('verify', '--checkpoint', 'kept'), {
    code: 0,
    stdout: /^188 entries verified of 700; 512 pruned, 0 of them in archives given; /,
  })
  t.match(await run('verify', '--checkpoint', 'kept', '--archive', 'old.tar'), {
    code: 0,
    stdout: /^188 entries verified of 700; 512 pruned, 512 of them in archives given; /,
  })
  t.match((await run('show')).stdout, /^513 /)

  // the file proves itself, with nothing but the key
  const files = new Map<string, Buffer>()
  await listTar({
    file: join(cwd, 'old.tar'),
    onReadEntry: entry => {
      const chunks: Buffer[] = []
      entry.on('data', (chunk: Buffer) => chunks.push(chunk))
      entry.on('end', () => files.set(entry.path, Buffer.concat(chunks)))
    },
  })
  const key = parseVerifierKey((await run('key')).stdout)
  const { size, root } = openCheckpoint(String(files.get('checkpoint')), [key])
  const tileIn = (tile: { level: number; index: number }) =>
    files.get(tilePath({ ...tile, width: widthOf(size, tile) })) ?? Buffer.alloc(0)
  t.ok(Buffer.from(rootHash(size, nodesOf(tileIn))).equals(root))
  t.ok(tilesRead(node => rootHash(size, node)).length > 0)
  const bundles = [...files.keys()].map(parseTilePath).filter(tile => tile?.level === 'entries')
  t.equal(bundles.length, 2)
  for (const index of bundles.map(tile => tile?.index ?? 0)) {
    const entries = readEntryBundle(files.get(`tile/entries/00${index}`) ?? Buffer.alloc(0))
    t.ok(Buffer.concat(entries.map(leafHash)).equals(tileIn({ level: 0, index })))
  }

  // an archive in which somebody changed a letter
  const bytes = await readFile(join(cwd, 'old.tar'))
  await writeFile(
    join(cwd, 'forged.tar'),
    Buffer.from(bytes.toString('latin1').replace('"r7"', '"r8"'), 'latin1'),
  )
  t.match(await run('verify', '--archive', 'forged.tar'), {
    code: 1,
    stdout: /forged\.tar: entries 1 to 256 are not those that were pruned/,
  })

  // and on
  await append(300, 700)
  t.match(await run('prune', '--before', '2026-02-03', '--out', 'more.tar'), {
    code: 0,
    stdout: /^Entries 513 to 768 are in more\.tar/,
  })
  t.match(
    await run(
      'verify',
      '--archive',
      'old.tar',
      '--archive',
      'more.tar',
      '--checkpoint',
      'kept',
    ),
    {
      code: 0,
      stdout: /^232 entries verified of 1000; 768 pruned, 768 of them/,
    },
  )

  // what is not as it was recorded is not dropped
  const copy = join(cwd, 'copy')
  await cp(storage, copy, { recursive: true })
  forge(copy, f =>
    f.sql("UPDATE audit SET entry = replace(entry, 'r900', 'r901') WHERE seq = 901"),
  )
  t.match(await run('prune', '--storage', copy, '--before', '2027-01-01', '--out', 'bad.tar'), {
    code: 0,
    stdout: /769 to 768|No whole/,
  })
  await append(200, 1000)
  await cp(storage, join(cwd, 'copy2'), { recursive: true })
  forge(join(cwd, 'copy2'), f =>
    f.sql("UPDATE audit SET entry = replace(entry, 'r900', 'r901') WHERE seq = 901"),
  )
  t.match(
    await run('prune', '--storage', 'copy2', '--before', '2027-01-01', '--out', 'bad.tar'),
    {
      code: 2,
      stderr: /not what was recorded; nothing is pruned/,
    },
  )
  t.match((await run('show', '--storage', 'copy2')).stdout, /^769 /, 'nothing is gone')
  for (const argv of [
    ['--before', '2026-01-01'],
    ['--out', 'x'],
    ['--before', 'x', '--out', 'y'],
  ])
    t.match(await run('prune', ...argv), { code: 2, stderr: /EUSAGE/ })
})
