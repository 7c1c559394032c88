/**
 * An upstream that turns hostile after it was honest: what was found out once does not speak for what
 * it says later.
 */
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { EvidenceRecord } from '../../lib/gate/evidence-facts.ts'
import type { PackageRecord } from '../../lib/gate/package-records.ts'
import { openPackages, type PackagesOptions } from '../../lib/gate/packages.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type Proxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const client = { address: '127.0.0.1' }

const open = async (t: Test, text = '', options: Partial<ProxyOptions> = {}) => {
  let clock = Date.parse('2026-06-01T00:00:00Z')
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    upstreamSettings: ['retries: 0'],
    settings: 'cache: { packumentTtl: 1m, staleWhileRevalidate: 0s }',
    policies: text === '' ? [] : [`version: 1\n${text}\n`],
    now: () => new Date(clock),
    ...options,
  })
  t.teardown(() => proxy.close())
  /** Lets time pass; by default so much that the upstream is asked again. */
  const pass = (seconds = 61) => {
    clock += seconds * 1000
  }
  return { proxy, pass }
}

const shown = async ({ gate }: Proxy, name: string) => {
  const { standing } = await gate.packument(name, 'full')
  return { hidden: [...standing.refused.keys()] }
}
const take = async ({ gate }: Proxy, name: string, version = '1.0.0') => {
  const { verdict, blob } = await gate.tarball({ name, version }, client)
  const codes = verdict.reasons.map(({ code }) => code)
  return { decision: verdict.decision, codes, given: blob !== undefined }
}
const allowed = { decision: 'allow', codes: [], given: true }
const refused = (code: string) => ({ decision: 'refuse', codes: [code], given: false })

t.test('a manifest is compared again when it says something else', async t => {
  const lie = { manifest: { dependencies: { evil: '1.0.0' } } }

  t.test('with bytes that are here', async t => {
    const { manifest } = await registry.publish({ name: 'turned', version: '1.0.0' })
    const { proxy, pass } = await open(t)
    t.match(await take(proxy, 'turned'), allowed)
    registry.amend('turned', '1.0.0', { manifest: { ...manifest, description: 'the same' } })
    pass()
    await shown(proxy, 'turned')
    t.match(await take(proxy, 'turned'), allowed, 'not everything in it is compared')
    registry.amend('turned', '1.0.0', lie)
    pass()
    await shown(proxy, 'turned')
    t.match(await take(proxy, 'turned'), refused('MANIFEST_MISMATCH'))
    t.match(await shown(proxy, 'turned'), { hidden: ['1.0.0'] }, 'and it is known from then on')
  })

  t.test('also where other bytes were looked at in between', async t => {
    const { integrity } = await registry.publish({ name: 'between', version: '1.0.0' })
    const { proxy, pass } = await open(t)
    t.match(await take(proxy, 'between'), allowed)
    // facts are kept of one integrity for each version
    const other = `sha512-${'A'.repeat(86)}==`
    const signatures = [sigstore.signRegistry('between', '1.0.0', other)]
    registry.amend('between', '1.0.0', { integrity: other, signatures })
    pass()
    await proxy.gate.assess({ name: 'between', version: '1.0.0' })
    const again = [sigstore.signRegistry('between', '1.0.0', integrity)]
    registry.amend('between', '1.0.0', { ...lie, integrity, signatures: again })
    pass()
    await shown(proxy, 'between')
    t.match(await take(proxy, 'between'), refused('MANIFEST_MISMATCH'))
  })

  t.test('also what is kept of a time when it was not told what was compared', async t => {
    await registry.publish({ name: 'older', version: '1.0.0' })
    const { proxy, pass } = await open(t)
    t.match(await take(proxy, 'older'), allowed)
    const { records } = proxy.store
    const kept = await records.get<EvidenceRecord>('evidence', 'older@1.0.0')
    const manifest = { state: 'verified', compared: [] }
    await records.put('evidence', 'older@1.0.0', {
      ...kept,
      evidence: { ...kept?.evidence, manifest },
    })
    registry.amend('older', '1.0.0', lie)
    pass()
    const next = await open(t, '', { storage: join(proxy.folder, 'store') })
    next.pass()
    await shown(next.proxy, 'older')
    t.match(await take(next.proxy, 'older'), refused('MANIFEST_MISMATCH'))
  })

  t.test('bytes that are gone by then are brought again', async t => {
    await registry.publish({ name: 'evicted', version: '1.0.0' })
    const { proxy, pass } = await open(t)
    const { integrity } = (
      await proxy.gate.tarball({ name: 'evicted', version: '1.0.0' }, client)
    ).blob ?? { integrity: 'sha512-' }
    registry.amend('evicted', '1.0.0', lie)
    pass()
    await shown(proxy, 'evicted')
    const { blobs } = proxy.store
    const working = { ...blobs }
    Object.assign(blobs, {
      open: async (...asked: Parameters<typeof working.open>) => {
        await blobs.delete(integrity)
        return working.open(...asked)
      },
    })
    t.match(await take(proxy, 'evicted'), refused('MANIFEST_MISMATCH'))
    t.equal(registry.asked(/^\/evicted\/-\//).length, 2)
  })
})

t.test('what was absent is examined when it is claimed', async t => {
  const published = await registry.publish({ name: 'claims', version: '1.0.0' })
  const { proxy, pass } = await open(t)
  t.match(await take(proxy, 'claims'), allowed)
  const forged = await registry.publish({ name: 'claims', version: '0.9.0', provenance: true })
  registry.amend('claims', '1.0.0', { ...published, attestations: forged.attestations })
  pass()
  await shown(proxy, 'claims')
  t.match(await take(proxy, 'claims'), { decision: 'refuse', given: false })
  t.match(await shown(proxy, 'claims'), { hidden: ['1.0.0'] })
})

t.test('what verified for some bytes says nothing of others', async t => {
  await registry.publish({ name: 'others', version: '1.0.0', provenance: true })
  const { proxy, pass } = await open(t)
  t.match(await take(proxy, 'others'), allowed)
  const integrity = `sha512-${'C'.repeat(86)}==`
  registry.amend('others', '1.0.0', { integrity, signatures: [], attestations: [] })
  pass()
  await shown(proxy, 'others')
  const { input } = await proxy.gate.assess({ name: 'others', version: '1.0.0' })
  const { registrySignature, publishAttestation, provenance, bytes, manifest } = input.evidence
  t.same(
    [registrySignature, publishAttestation, provenance].map(({ state }) => state),
    ['absent', 'absent', 'absent'],
  )
  t.same([bytes, manifest], [undefined, undefined])
})

t.test('of two that admit other bytes at once the first is right', async t => {
  await registry.publish({ name: 'raced', version: '1.0.0' })
  const { proxy } = await open(t)
  const { records, blobs } = proxy.store
  const working = { ...records }
  const other = { integrity: `sha512-${'B'.repeat(86)}==`, size: 1, at: '', upstream: 'npm' }
  Object.assign(records, {
    putIfAbsent: async (...[kind, key, value]: Parameters<typeof working.putIfAbsent>) => {
      if (kind === 'pin') await working.put(kind, key, other)
      return working.putIfAbsent(kind, key, value)
    },
  })
  t.match(await take(proxy, 'raced'), refused('INTEGRITY_MISMATCH'))
  const { integrity } = (await proxy.gate.assess({ name: 'raced', version: '1.0.0' })).input
    .evidence
  t.equal(await blobs.stat(integrity), undefined, 'nobody can read them')
})

t.test('provenance is not lost with the releases that had it', async t => {
  await registry.publish({ name: 'vanish', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'vanish', version: '1.0.1', provenance: true })
  const { proxy, pass } = await open(t)
  await take(proxy, 'vanish', '1.0.0')
  await registry.publish({ name: 'vanish', version: '1.0.2' })
  for (const version of ['1.0.0', '1.0.1']) registry.unpublish('vanish', version)
  pass()
  t.match(await shown(proxy, 'vanish'), { hidden: ['1.0.2'] })
  t.match(await take(proxy, 'vanish', '1.0.2'), refused('DOWNGRADED'))
})

t.test('nor by a version that has no place among the others', async t => {
  const range = `rules: [{ packages: [placeless], versions: ">=1.0.0", deny: { reason: x } }]`
  const { proxy, pass } = await open(t, range)
  const baseline = await open(t)
  // npm and pnpm install them where a dist-tag names them
  for (const version of ['1.0.1beta', 'evil', '1.0.0.1']) {
    await registry.publish({ name: 'loose', version: '1.0.0', provenance: true })
    await registry.publish({ name: 'loose', version })
    t.match(await take(baseline.proxy, 'loose', version), refused('DOWNGRADED'), version)
    await registry.publish({ name: 'placeless', version })
    t.match(await take(proxy, 'placeless', version), refused('DENIED'), version)
    baseline.pass()
    pass()
  }
})

t.test('nor does who published them cease to count', async t => {
  const numbers = { acme: '1', thief: '2' }
  const release = async (
    version: string,
    owner: keyof typeof numbers,
    publishedAt: string,
    builtAt = publishedAt,
  ) => {
    const publisher = { repository: `${owner}/taken`, repositoryId: numbers[owner] }
    const { integrity } = await registry.publish({ name: 'taken', version, publishedAt })
    const artifact = { name: 'taken', version, integrity }
    const registryUrl = new URL(npmRegistry).origin
    registry.amend('taken', version, {
      attestations: [
        await sigstore.attestPublish({
          ...artifact,
          registry: registryUrl,
          signedAt: publishedAt,
        }),
        await sigstore.attestProvenance({ ...artifact, publisher, signedAt: builtAt }),
      ],
    })
  }
  await release('1.0.0', 'acme', '2026-01-01T00:00:00Z')
  const { proxy, pass } = await open(t)
  t.match(await take(proxy, 'taken', '1.0.0'), allowed)
  await release('1.0.1', 'thief', '2026-03-01T00:00:00Z', '2026-01-02T00:00:00Z')
  registry.unpublish('taken', '1.0.0')
  pass()
  t.match(await take(proxy, 'taken', '1.0.1'), refused('PUBLISHER_CHANGED'))

  t.test('and one that did not stand for long speaks for nobody', async t => {
    registry.unpublish('taken', '1.0.1')
    await release('1.0.2', 'thief', '2026-03-02T00:00:00Z')
    pass()
    t.match(await take(proxy, 'taken', '1.0.2'), refused('PUBLISHER_CHANGED'))
  })
})

t.test('age is of the bytes', async t => {
  const minimumAge = 'defaults: { minimumAge: 3d }'
  const early = { signed: false, publishedAt: '2026-05-01T00:00:00Z' }
  const exchange = (name: string, version = '1.0.0') =>
    registry.publish({ name, version, ...early, files: { 'evil.js': 'x' } })

  t.test('a version whose bytes are exchanged is as new as these', async t => {
    await registry.publish({ name: 'seat', version: '1.0.0', ...early })
    const { proxy, pass } = await open(t, minimumAge)
    t.match(await shown(proxy, 'seat'), { hidden: [] }, 'by the packument it is old enough')
    await exchange('seat')
    pass()
    t.match(await shown(proxy, 'seat'), { hidden: ['1.0.0'] })
    t.match(await take(proxy, 'seat'), refused('TOO_NEW'))
    pass(3 * 86_400)
    t.match(await take(proxy, 'seat'), allowed)
  })

  t.test('and one that was away when it comes back', async t => {
    const name = 'back'
    await registry.publish({ name, version: '0.9.0', ...early })
    const { proxy, pass } = await open(t, minimumAge)
    await shown(proxy, name)
    await registry.publish({ name, version: '1.0.0', ...early })
    pass()
    t.match(await shown(proxy, name), { hidden: ['1.0.0'] }, 'it appeared')
    pass(4 * 86_400)
    t.match(await shown(proxy, name), { hidden: [] })
    registry.unpublish(name, '1.0.0')
    pass()
    await shown(proxy, name)
    const kept = await proxy.store.records.get<PackageRecord>('package', name)
    t.same(kept?.appeared, {}, 'what is gone takes no room')
    await exchange(name)
    pass()
    t.match(await shown(proxy, name), { hidden: ['1.0.0'] })
  })

  t.test('not one of which another digest is told as well', async t => {
    const { integrity } = await registry.publish({ name: 'more', version: '1.0.0', ...early })
    registry.amend('more', '1.0.0', { integrity: undefined })
    const { proxy, pass } = await open(t, minimumAge)
    await shown(proxy, 'more')
    registry.amend('more', '1.0.0', { integrity })
    pass()
    t.match(await shown(proxy, 'more'), { hidden: [] })
    registry.amend('more', '1.0.0', { integrity: undefined })
    pass()
    t.match(await shown(proxy, 'more'), { hidden: ['1.0.0'] }, 'but one of which less is told')
  })
})

t.test('what time hides is not in the document that was made before', async t => {
  await registry.publish({ name: 'waived', version: '1.0.0' })
  await registry.publish({ name: 'waived', version: '1.1.0' })
  const { proxy, pass } = await open(
    t,
    'rules: [{ packages: [waived@1.1.0], allow: { reason: x, until: 2026-06-01T01:00:00Z } }]',
    { settings: 'cache: { packumentTtl: 1d }' },
  )
  const listed = async () => {
    const { representation } = await proxy.gate.packument('waived', 'full')
    const text = gunzipSync(representation.gzip).toString()
    return Object.keys((JSON.parse(text) as { versions: object }).versions)
  }
  t.same(await listed(), ['1.0.0', '1.1.0'])
  t.ok(proxy.gate.ready.packument('waived', 'full'))
  pass(3600)
  t.notOk(proxy.gate.ready.packument('waived', 'full'))
  t.same(await listed(), ['1.0.0'])
})

t.test('a version that is called like something every object has', async t => {
  for (const version of ['constructor', 'toString', '__proto__'])
    await registry.publish({ name: 'odd', version, signed: false })
  const { proxy, pass } = await open(t, 'defaults: { minimumAge: 3d }')
  await shown(proxy, 'odd')
  pass()
  await registry.publish({ name: 'odd', version: 'valueOf', signed: false })
  t.match(await shown(proxy, 'odd'), { hidden: ['valueOf'] })
  await t.rejects(proxy.gate.manifest('odd', 'hasOwnProperty'), { code: 'ENOTFOUND' })
})

t.test('of a package that was read no older head is held', async t => {
  const body = Buffer.from('{"name":"app","versions":{"1.0.0":{}}}')
  const old = { upstream: 'npm', raw: 'sha512-first', fetchedAt: 0, versions: [], appeared: {} }
  const start = (memory: number) => {
    let stored: object = { ...old, lookedAt: '2026-01-01T00:00:00.000Z' }
    let staged: Buffer
    const state = {
      reading: async () => Promise.resolve(),
      answer: { kind: 'found', body } as object,
    }
    const packages = openPackages({
      store: {
        records: {
          get: async () => {
            const found = stored
            await state.reading()
            return found
          },
          swap: async (...[, , , after]: [string, string, object, object]) => {
            stored = after
            return Promise.resolve(true)
          },
        },
        blobs: {
          get: async () => Promise.resolve(undefined),
          stage: async () =>
            Promise.resolve({
              write: async (bytes: Buffer) => Promise.resolve(void (staged = bytes)),
              finish: async () => Promise.resolve(),
              commit: async () => Promise.resolve({ integrity: `sha512-${staged.length}` }),
            }),
        },
      },
      upstreamFor: () => ({
        name: 'npm',
        packument: async () => Promise.resolve(state.answer),
      }),
      alone: async (_: string, done: () => unknown, work: () => unknown) =>
        (await done()) ?? (await work()),
      tell: () => {},
      now: () => new Date(0),
      ttl: 1000,
      negativeTtl: 1000,
      memory,
    } as unknown as PackagesOptions)
    return { packages, state }
  }

  t.test('when what was read is gone again', async t => {
    const { packages } = start(8)
    t.equal((await packages.head('app'))?.raw, 'sha512-first')
    const { raw } = await packages.get('app', -1)
    t.not(raw, 'sha512-first')
    t.notOk(packages.fresh('app'), 'there is no room for it')
    t.not(packages.freshHead('app')?.raw, 'sha512-first')
    t.equal((await packages.head('app'))?.raw, raw)
  })

  t.test('when the upstream has it no more', async t => {
    const { packages, state } = start(8)
    state.answer = { kind: 'missing' }
    await t.rejects(packages.get('app', -1), { code: 'ENOTFOUND' })
    t.equal(await packages.head('app'), undefined, 'though it is kept, and not old')
  })

  t.test('when it was read while the head was looked up', async t => {
    const { packages, state } = start(1_000_000)
    state.reading = async () => {
      state.reading = async () => Promise.resolve()
      await packages.get('app', -1)
    }
    const { raw } = (await packages.head('app')) ?? {}
    t.not(raw, 'sha512-first')
    t.equal(packages.fresh('app')?.raw, raw)
  })
})
