/** Transparency logs that are asked: honest ones, forked ones, and such as do not answer. */
import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { knownLogs, openLogCheckpoint } from '../../lib/rekor/known-logs.ts'
import { openLogClient } from '../../lib/rekor/log-client.ts'
import { openLogWatch, type LogWatchEvent } from '../../lib/rekor/watch.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import { runCli } from '../cli/console.ts'
import { corpusFile, noCorpus } from '../support/corpus.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { entryBody } from '../support/sigstore/log-entry.ts'
import {
  forkOf,
  openOwnLog,
  serveLog,
  type LogServer,
  type OwnLog,
} from '../support/sigstore/own-log.ts'

const bodies = (from: number, to: number, what = 'entry') =>
  Array.from({ length: to - from }, (_, n) =>
    JSON.stringify({ apiVersion: '0.0.1', kind: 'dsse', spec: { [what]: from + n } }),
  )

const documentOf = (...entries: readonly object[]) =>
  Buffer.from(
    JSON.stringify({
      attestations: [{ bundle: { verificationMaterial: { tlogEntries: entries } } }],
    }),
  )

type Watched = {
  readonly log: OwnLog
  readonly server: LogServer
  /** What became of a document with these entries. */
  readonly see: (...entries: readonly object[]) => Promise<readonly LogWatchEvent[]>
  readonly faults: () => readonly string[]
}

/** A log of 300 entries that is watched, its server, and a memory that may be shared. */
const watched = async (
  t: Test,
  version: 1 | 2,
  { sample = 1, timeout = 2000 }: { sample?: number; timeout?: number } = {},
): Promise<Watched> => {
  const log = openOwnLog({ version, bodies: bodies(0, 300) })
  const server = await serveLog(log)
  const store = await openLocalStore({ path: join(t.testdir(), 'store') })
  const events: LogWatchEvent[] = []
  const watch = openLogWatch({
    logs: () => knownLogs([{ tlogs: [log.trusted(server.url)] }]),
    records: store.records,
    clientFor: known => openLogClient(known, { timeout, size: 64 * 1024 }),
    sample,
    onEvent: event => events.push(event),
  })
  t.teardown(async () => {
    await watch.close()
    await store.close()
    await server.close()
  })
  return {
    log,
    server,
    see: async (...entries) => {
      watch.see(documentOf(...entries), 'app@1.0.0')
      await watch.idle()
      return events.splice(0)
    },
    faults: () => Object.keys(watch.faults()),
  }
}

const kinds = (events: readonly LogWatchEvent[]) => events.map(({ event }) => event)

for (const version of [1, 2] as const) {
  t.test(`Rekor v${version}`, async t => {
    t.test('one history, growing, also shown out of order', async t => {
      const { log, see, faults } = await watched(t, version)
      t.same(kinds(await see(log.entry(5, { size: 200 }))), ['consistent'])
      for (const body of bodies(300, 700)) log.add(body)
      t.same(kinds(await see(log.entry(650, { size: 690 }))), ['consistent'])
      t.same(kinds(await see(log.entry(5, { size: 6 }))), ['consistent'], 'an older one')
      t.same(kinds(await see(log.entry(5))), ['consistent'], 'the same again')
      t.same(faults(), [])
    })

    t.test('two trees of one size', async t => {
      const { log, see, faults } = await watched(t, version)
      t.same(kinds(await see(log.entry(5))), ['consistent'])
      const other = forkOf(log, 290, bodies(290, 300, 'other'))
      const [event] = await see(other.entry(295))
      t.match(event, { event: 'fork', log: log.origin, detail: /^app@1\.0\.0: .*300 entries/ })
      for (const note of event?.checkpoints ?? [])
        t.match(
          openLogCheckpoint(note, knownLogs([{ tlogs: [log.trusted('http://x.example')] }])),
          { size: 300 },
          'the evidence is told: both are signed',
        )
      t.equal(event?.checkpoints?.length, 2)
      t.same(faults(), [log.origin])
      t.same(kinds(await see(log.entry(5))), ['consistent'])
      t.same(faults(), [log.origin], 'a later proof clears nothing')
    })

    t.test('a bundle of another history than the log shows', async t => {
      const { log, see } = await watched(t, version)
      const other = forkOf(log, 100, bodies(100, 150, 'other'))
      const found = await see(other.entry(120))
      // a tree that is there to be computed from convicts; a proof that does not hold accuses
      t.same(kinds(found), [version === 2 ? 'fork' : 'unproven'])
      t.equal(found[0]?.checkpoints?.length, 2)
    })

    t.test('a log that goes on from another history than it showed before', async t => {
      const { log, server, see } = await watched(t, version)
      t.same(kinds(await see(log.entry(5))), ['consistent'])
      const other = forkOf(log, 250, bodies(250, 400, 'other'))
      server.show(other)
      t.same(kinds(await see(other.entry(5))), [version === 2 ? 'fork' : 'unproven'])
    })

    t.test('a log that goes back', async t => {
      const { log, server, see } = await watched(t, version)
      t.same(kinds(await see(log.entry(5))), ['consistent'])
      server.show(forkOf(log, 250))
      const answers = kinds(await see(log.entry(5)))
      // the smaller tree is the beginning of the larger; only v1 can still prove it here
      t.ok(['consistent', 'unreachable', 'unproven'].includes(answers[0] ?? ''))
      t.not(answers[0], 'fork')
    })

    t.test('a checkpoint that somebody else signed', async t => {
      const { log, server, see } = await watched(t, version)
      const posing = openOwnLog({ version, origin: log.origin, bodies: log.bodies })
      server.show(posing)
      t.same(kinds(await see(log.entry(5))), ['unproven'])
      const stranger = openOwnLog({ version, bodies: bodies(0, 9) })
      t.same(await see(stranger.entry(5)), [], 'of a log that nobody trusts')
    })

    t.test('a log that does not answer as it should', async t => {
      const { log, server, see, faults } = await watched(t, version, { timeout: 300 })
      const faulty: Record<string, (response: ServerResponse) => void> = {
        'an error': response => response.writeHead(500).end('no'),
        'nothing there': response => response.writeHead(404).end(),
        'too much': response => response.end(Buffer.alloc(128 * 1024)),
        'another place': response =>
          response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
        'a connection cut off': response => response.destroy(),
        'no answer in time': () => undefined,
      }
      for (const [what, fault] of Object.entries(faulty)) {
        server.fault = (_, response) => {
          fault(response)
          return true
        }
        t.same(kinds(await see(log.entry(5))), ['unreachable'], what)
      }
      server.fault = (_, response) => {
        response.end('{"treeID":"77","signedTreeHead":7')
        return true
      }
      const garbled = kinds(await see(log.entry(5)))
      t.same(garbled, [version === 1 ? 'unreachable' : 'unproven'], 'not understood')
      server.fault = undefined
      t.same(kinds(await see(log.entry(5))), ['consistent'])
      if (version === 1) t.same(faults(), [], 'not to answer is no fault')
    })
  })
}

t.test('a promise is looked up', async t => {
  const { log, server, see, faults } = await watched(t, 1)
  const promised = (index: number) => ({ ...log.entry(index), inclusionProof: undefined })
  t.same(kinds(await see(promised(7))), ['consistent'])
  t.ok(server.requests.some(path => path.endsWith('/entries?logIndex=7')))
  const never = { ...promised(7), canonicalizedBody: Buffer.from('{"x":1}').toString('base64') }
  t.same(kinds(await see(never)), ['broken-promise'])
  t.same(kinds(await see({ ...promised(7), logIndex: '301' })), ['broken-promise'])
  t.equal(faults().length, 1)
})

t.test('what is looked at, and whom is asked', async t => {
  const { log, server, see } = await watched(t, 1, { sample: 0 })
  t.same(await see(log.entry(5)), [])
  t.same(server.requests, [], 'nothing is sampled')
  for (const document of ['', 'null', '{"attestations":[null,{"bundle":7}]}']) {
    const store = await openLocalStore({ path: join(t.testdir(), 'odd') })
    const watch = openLogWatch({
      logs: () => [],
      records: store.records,
      clientFor: known => openLogClient(known),
      sample: 1,
      onEvent: event => t.fail(event.detail),
    })
    watch.see(Buffer.from(document), 'x@1.0.0')
    await watch.close()
    await store.close()
  }
  const [known] = knownLogs([{ tlogs: [log.trusted('http://rekor.example')] }])
  if (!known) throw new Error('no log')
  await t.rejects(openLogClient(known).checkpoint(log.origin), { code: 'EREKOR' }, 'not https')
  t.same(knownLogs([{}, { tlogs: [{}, { publicKey: { rawBytes: 'AAAA' }, logId: {} }] }]), [])
})

t.test('checkpoints of the real logs', { skip: noCorpus }, async t => {
  const root = readFileSync(corpusFile('trusted_root.json'), 'utf8')
  const attestations = readFileSync(corpusFile('sigstore@5.0.0', 'attestations.json'), 'utf8')
  const logs = knownLogs([JSON.parse(root) as object])
  t.same(
    logs.map(({ version }) => version),
    [1, 2],
  )
  const notes = [...attestations.matchAll(/"envelope":\s*("rekor(?:[^"\\]|\\.)*")/g)].map(
    match => JSON.parse(match[1] ?? '""') as string,
  )
  t.ok(notes.length > 0)
  for (const note of notes)
    t.match(openLogCheckpoint(note, logs), { origin: /^rekor\.sigstore/ })
})

t.test('a server that watches, and a search', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  await registry.publish({ name: 'app', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'lib', version: '1.0.0' })
  const log = openOwnLog({ version: 1, bodies: bodies(0, 20) })
  const server = await serveLog(log)
  t.teardown(() => server.close())
  const { tlogs } = sigstore.trustedRoot as { tlogs: { logId: object }[] }
  const options = {
    upstream: registry.url,
    trustedRoot: { ...sigstore.trustedRoot, tlogs: [log.trusted(server.url), ...tlogs] },
    registryKeys: sigstore.registryKeys(),
  }
  const events: LogWatchEvent[] = []
  const proxy = await startProxy({
    ...options,
    settings: '',
    trustSettings: ['watchLogs: 100'],
    observer: { onLogWatch: event => events.push(event) },
  })
  t.teardown(() => proxy.close())
  t.equal((await fetch(`${proxy.url}app/-/app-1.0.0.tgz`)).status, 200)
  for (let tries = 0; tries < 250 && events.length === 0; tries += 1)
    await new Promise(resolve => setTimeout(resolve, 20))
  // the mock's log takes entries and answers nothing
  t.match(events[0], { event: 'unreachable', detail: /^app@1\.0\.0: Rekor/ })
  const ready = await fetch(`${proxy.url}-/attestry/health/ready`)
  t.match(await ready.json(), { transparencyLogs: 'consistent' })

  const { attestations } = (await (
    await fetch(`${proxy.url}-/npm/v1/attestations/app@1.0.0`)
  ).json()) as {
    attestations: {
      bundle: {
        dsseEnvelope: Parameters<typeof entryBody>[1]
        verificationMaterial: { certificate?: { rawBytes: string } }
      }
    }[]
  }
  const found = attestations.find(({ bundle }) => bundle.verificationMaterial.certificate)
  const { dsseEnvelope, verificationMaterial } = found?.bundle ?? {}
  const rawBytes = verificationMaterial?.certificate?.rawBytes ?? ''
  if (!dsseEnvelope) throw new Error('no provenance')
  const index = log.add(
    JSON.stringify(
      entryBody('dsse', dsseEnvelope, {
        kind: 'certificate',
        der: Buffer.from(rawBytes, 'base64'),
      }),
    ),
  )
  const { dist } = (await (await fetch(`${proxy.url}app/1.0.0`)).json()) as {
    dist: { integrity: string }
  }
  const hash = `sha512:${Buffer.from(dist.integrity.slice(7), 'base64').toString('hex')}`
  log.indexed.set(hash, [index])

  const cwd = t.testdir()
  await writeSettings(cwd, options)
  const run = (...argv: string[]) => runCli(['log', 'search', ...argv], { cwd })
  t.match(await run('app@1.0.0'), {
    code: 0,
    stdout:
      /^20  \d{4}-.*  dsse  by https:\/\/github\.com\/acme\/app\/.* \(https:\/\/token\.actions/,
  })
  t.match(JSON.parse((await run('app@1.0.0', '--json')).stdout), {
    package: 'app@1.0.0',
    hash,
    rekor: server.url,
    found: 1,
    entries: [{ logIndex: 20, kind: 'dsse', proven: true }],
  })
  t.match(await run('lib@1.0.0'), { code: 1, stdout: /^0 entries about lib@1\.0\.0/ })
  server.show(openOwnLog({ version: 1, bodies: log.bodies }))
  server.fault = (url, response) => {
    if (url.pathname !== '/api/v1/index/retrieve') return false
    response.end(JSON.stringify(['0'.repeat(64), ...log.indexedUuids(hash)]))
    return true
  }
  t.match(await run('app@1.0.0'), { code: 2, stdout: /NOT PROVEN/ }, 'another log’s word')
  server.fault = (_, response) => {
    response.writeHead(503).end()
    return true
  }
  t.match(await run('app@1.0.0'), { code: 2, stderr: /EREKOR/ })
  t.match(await run('app@1.0.0', '--rekor', 'http://rekor.example'), {
    code: 2,
    stderr: /EREKOR/,
  })
  for (const argv of [[], ['app'], ['app@1.0.0', 'lib@1.0.0']])
    t.match(await run(...argv), { code: 2, stderr: /EUSAGE/ })
  t.match(await run('none@1.0.0'), { code: 2, stderr: /ENOTFOUND/ })
})
