/** The worker threads: what happens when one of them does not do as it should. */
import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { examineWith } from '../../lib/evidence/examine.ts'
import { openExaminer } from '../../lib/evidence/open-examiner.ts'
import { openPool, type PoolOptions } from '../../lib/evidence/pool.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { isAttestryError } from '../../lib/errors.ts'
import { assembleTrust } from '../../lib/trust/load-trust.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { artifact, found, registry, requestFor } from './lab.ts'

const pool = (t: Test, options: Partial<PoolOptions> = {}) => {
  const opened = openPool({
    url: new URL('./odd-worker.ts', import.meta.url),
    workerData: undefined,
    size: 1,
    timeout: 20_000,
    memory: 64,
    queue: 100,
    ...options,
  })
  t.teardown(() => opened.close())
  return opened
}

/** Chunks of a kilobyte; tells how many were read. */
const source = (chunks: number, pause = 0) => {
  const seen = { read: 0 }
  const bytes = Readable.from(
    (async function* () {
      for (; seen.read < chunks; seen.read++) {
        if (pause > 0) await sleep(pause)
        yield new Uint8Array(1024)
      }
    })(),
  )
  return { seen, bytes }
}

t.test('answers, and errors', async t => {
  const { call, stream } = pool(t, { size: 2 })
  const many = Array.from({ length: 20 }, (_, i) => i)
  t.strictSame(await Promise.all(many.map(i => call('echo', i))), many)
  await t.rejects(call('refuse', 1), { message: 'no' })
  await t.rejects(
    call('echo', () => {}),
    /could not be cloned/,
  )
  t.equal(await call('echo', 'after'), 'after')
  t.equal(await stream('count', undefined, source(100).bytes), 100 * 1024)
  t.equal(await stream('count', undefined, Readable.from([])), 0)
})

t.test('a worker that fails takes only its own request with it', async t => {
  const { call } = pool(t, { timeout: 2000 })
  for (const name of ['crash', 'leave', 'forever', 'eat']) {
    const [lost, next] = await Promise.allSettled([call(name, 0), call('echo', name)])
    t.equal(lost.status, 'rejected', name)
    t.strictSame(next, { status: 'fulfilled', value: name })
  }
})

t.test('a worker that cannot start', async t => {
  const { call, stream } = pool(t, { workerData: 'broken' })
  await t.rejects(call('echo', 1), /broken/)
  const { bytes } = source(10)
  await t.rejects(stream('count', 1, bytes), /broken/)
  t.ok(bytes.destroyed)
})

t.test('no more may wait than the queue holds', async t => {
  const { call, stream } = pool(t, { queue: 1, timeout: 1500 })
  const first = call('forever', 0)
  const second = call('echo', 'second')
  await t.rejects(call('echo', 'third'), /Too many/)
  const { bytes } = source(10)
  await t.rejects(stream('count', 0, bytes), /Too many/)
  t.ok(bytes.destroyed)
  await t.rejects(first, /longer than 1500 ms/)
  t.equal(await second, 'second')
})

t.test('bytes are read no faster than they are taken', async t => {
  const { call, stream } = pool(t, { timeout: 1500 })
  const { bytes, seen } = source(10_000)
  const stalled = stream('stall', undefined, bytes)
  t.equal(await call('echo', 1), 1, 'a stream does not hold up calls')
  await t.rejects(stalled, /longer/)
  t.ok(seen.read < 100, `${seen.read} chunks were read`)
  t.ok(bytes.destroyed)
})

t.test('a stream that ends early, breaks or is slow', async t => {
  const { call, stream } = pool(t, { timeout: 1500 })
  const early = source(10_000)
  t.equal(await stream('first', undefined, early.bytes), 1024)
  t.ok(early.bytes.destroyed)
  t.ok(early.seen.read < 100)

  const broken = Readable.from(
    (async function* () {
      yield new Uint8Array(1)
      throw new Error('disk')
    })(),
  )
  await t.rejects(stream('count', undefined, broken), /disk/)

  const worker = await call('who', 0)
  await t.rejects(stream('count', undefined, source(10, 400).bytes), /longer/)
  t.equal(await call('who', 0), worker, 'a slow source is not the fault of the worker')

  await t.rejects(stream('forever', undefined, source(10).bytes), /longer/)
  t.not(await call('who', 0), worker, 'another one took its place')
})

t.test('closed', async t => {
  const { call, stream, close } = pool(t, { queue: 10 })
  const running = t.rejects(call('forever', 0), /closed/)
  const waiting = t.rejects(call('echo', 0), /closed/)
  await close()
  await Promise.all([running, waiting])
  await t.rejects(call('echo', 0), /closed/)
  await t.rejects(stream('count', 0, source(1).bytes), /closed/)
})

t.test('the examiner gives what examining without a worker gives', async t => {
  const sigstore = await localSigstore()
  t.teardown(() => sigstore.close())
  const trust = assembleTrust({
    roots: [sigstore.trustedRoot],
    registryKeys: parseRegistryKeys(sigstore.registryKeys(), 'local', registry),
    sources: [],
  })
  const examiner = await openExaminer({ trust, workers: 2 })
  t.teardown(() => examiner.close())
  t.equal(examiner.trust, trust.digest)

  const attestations = found(
    await sigstore.attestProvenance(artifact),
    await sigstore.attestPublish({ ...artifact, registry }),
  )
  const { name, version, integrity } = artifact
  const signatures = [sigstore.signRegistry(name, version, integrity)]
  const request = requestFor(attestations, { signatures })
  const evidence = await examiner.examine(request)
  t.strictSame(evidence, examineWith(openVerification(trust), request))
  t.match(evidence, {
    registrySignature: { state: 'verified' },
    publishAttestation: { state: 'verified' },
    provenance: { state: 'verified' },
  })
  if (attestations.kind === 'found')
    t.ok(attestations.body.length > 0, 'the body is still ours')

  const none = gzipSync(Buffer.alloc(1024))
  const fact = await examiner.inspect(Readable.from([none]), { name })
  t.match(fact, { state: 'invalid', code: 'MANIFEST_MISMATCH' })
  for (const bytes of [none, gzipSync(randomBytes(300_000))]) {
    const whole = await examiner.inspect(bytes, { name })
    t.strictSame(whole, await examiner.inspect(Readable.from([bytes]), { name }))
    t.ok(bytes.length > 0, 'the bytes are still ours')
  }
  const broken = new Readable({ read() {} })
  broken.destroy(new Error('disk'))
  t.match(await examiner.inspect(broken, { name }), { state: 'unavailable', detail: /disk/ })
})

t.test('an examiner that cannot answer says unavailable, never invalid', async t => {
  const trust = assembleTrust({ roots: [], registryKeys: [], sources: [] })
  const examiner = await openExaminer({ trust })
  await examiner.close()
  const unavailable = { state: 'unavailable', detail: /closed/ }
  t.match(await examiner.examine(requestFor(found())), {
    registrySignature: unavailable,
    publishAttestation: unavailable,
    provenance: unavailable,
    trust: trust.digest,
  })
  t.match(await examiner.inspect(source(1).bytes, {}), unavailable)
})

t.test('trust material that cannot be used is told at once', async t => {
  const trust = assembleTrust({
    roots: [],
    registryKeys: [{ keyId: 'x', usage: 'npm:signatures', spki: 'AAAA' }],
    sources: [],
  })
  const error: unknown = await openExaminer({ trust }).catch((thrown: unknown) => thrown)
  t.ok(isAttestryError(error) && error.code === 'ETRUST', String(error))
})

t.test('a program that forgets to close still ends, and not before its answer', async t => {
  const program = `
    const { openPool } = await import(${JSON.stringify(new URL('../../lib/evidence/pool.ts', import.meta.url).href)})
    const { call } = openPool({ url: new URL(${JSON.stringify(new URL('./odd-worker.ts', import.meta.url).href)}), size: 1, timeout: 20000, memory: 64, queue: 10 })
    process.stdout.write(await call('echo', 'answered'))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const timer = setTimeout(() => child.kill(), 20_000)
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  t.equal(code, 0)
  t.equal(Buffer.concat(chunks).toString(), 'answered')
})
