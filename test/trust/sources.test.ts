/** Trust from files: own keys and chains, several roots at once, files that change; registry keys. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { openLiveExaminer } from '../../lib/evidence/live-examiner.ts'
import type { Examiner } from '../../lib/evidence/examiner.ts'
import { openVerification } from '../../lib/evidence/verification.ts'
import { followTrust, nextRefresh } from '../../lib/trust/follow-trust.ts'
import { healthOf } from '../../lib/trust/health.ts'
import { assembleTrust } from '../../lib/trust/load-trust.ts'
import { registryKeysOf } from '../../lib/trust/keys-source.ts'
import { openTrust } from '../../lib/trust/open-trust.ts'
import type { OpenRootSource } from '../../lib/trust/root-source.ts'
import type { SourceStatus } from '../../lib/trust/status.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import type { OwnKeys, RootSource } from '../../lib/trust/source.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { keysTarget, newKey } from '../support/sigstore/registry-keys.ts'
import { artifact, examineOnly, requestFor } from '../evidence/lab.ts'
import { failureOf, openLab, target, type Room } from './lab.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const rootA = JSON.stringify(sigstore.trustedRoot)

type Entry = {
  readonly baseUrl?: string
  readonly publicKey?: { readonly rawBytes: string }
  readonly certChain?: { readonly certificates: readonly { readonly rawBytes: string }[] }
}
const root = sigstore.trustedRoot as Readonly<Record<string, readonly Entry[]>>

const pem = (label: string, ...bodies: readonly string[]) =>
  bodies.map(body => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`).join('')
const certificates = (entry: Entry | undefined) =>
  (entry?.certChain?.certificates ?? []).map(({ rawBytes }) => rawBytes)

/** The local sigstore's keys and chains as files of PEM. */
const ownFiles = (t: Test) => {
  const folder = t.testdir()
  let files = 0
  const file = (text: string) => {
    const path = join(folder, `${++files}.pem`)
    writeFileSync(path, text)
    return path
  }
  const from = '2021-01-01T00:00:00.000Z'
  const log = ({ publicKey, baseUrl }: Entry) => ({
    key: file(pem('PUBLIC KEY', publicKey?.rawBytes ?? '')),
    from,
    url: baseUrl,
  })
  const authority = (entry: Entry) => ({
    certificates: file(pem('CERTIFICATE', ...certificates(entry))),
  })
  const keys: OwnKeys = {
    certificateAuthorities: root['certificateAuthorities']?.map(authority),
    tlogs: (root['tlogs'] ?? []).map(log),
    ctlogs: root['ctlogs']?.map(log),
    timestampAuthorities: root['timestampAuthorities']?.map(authority),
  }
  return { folder, file, from, keys }
}

const open = (t: Test, roots: readonly RootSource[], now = () => new Date()) =>
  openTrust({
    upstreams: [{ name: 'npm', roots, registryKeys: { kind: 'none' }, registries: [] }],
    terms: {
      folder: join(t.testdirName, 'kept'),
      network: false,
      userAgent: 'test',
      timeout: 1_000,
      deadline: 1_000,
      now,
    },
  })

t.test('keys and chains of our own', async t => {
  const { keys, file, from } = ownFiles(t)
  const attest = async (options = {}) => sigstore.attestProvenance({ ...artifact, ...options })
  const attestations = [
    await attest(),
    await attest({ entry: 'dsse-v2' }),
    await attest({ timestamp: true }),
  ]
  const under = async (own: OwnKeys) => {
    const trust = await open(t, [{ kind: 'keys', keys: own }])
    const verification = openVerification(trust.materialOf('npm'))
    return attestations.map(one => examineOnly(verification, one).provenance.state)
  }
  t.strictSame(await under(keys), ['verified', 'verified', 'verified'])
  const [ca] = keys.certificateAuthorities ?? []
  const [rekor, rekor2] = keys.tlogs
  if (!ca || !rekor || !rekor2) return t.fail('no material')
  t.strictSame(
    await under({ ...keys, tlogs: [rekor] }),
    ['verified', 'invalid', 'verified'],
    'a log that is not among them',
  )
  const ended = '2022-01-01T00:00:00.000Z'
  t.strictSame(
    await under({ ...keys, certificateAuthorities: [{ ...ca, from, until: ended }] }),
    ['invalid', 'invalid', 'invalid'],
    'an authority that had ended',
  )
  t.strictSame(
    await under({ ...keys, tlogs: [{ ...rekor, until: ended }, rekor2] }),
    ['invalid', 'verified', 'invalid'],
    'a log that had ended',
  )
  t.strictSame(
    await under({ tlogs: keys.tlogs }),
    ['invalid', 'invalid', 'invalid'],
    'logs alone prove no certificate',
  )

  t.test('files that are none', async t => {
    const [leafless] = root['certificateAuthorities'] ?? []
    const chain = certificates(leafless)
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey
    const rsaPem = rsa.export({ format: 'pem', type: 'spki' }) as string
    const spki = root['tlogs']?.[0]?.publicKey?.rawBytes ?? ''
    const two = pem('PUBLIC KEY', spki, spki)
    const withCa = (text: string) => ({
      ...keys,
      certificateAuthorities: [{ certificates: file(text) }],
    })
    const withLog = (text: string, more: object = { from }) => ({
      ...keys,
      tlogs: [{ key: file(text), ...more }],
    })
    const cases: Readonly<Record<string, readonly [OwnKeys, RegExp]>> = {
      'an empty chain': [withCa(''), /no certificate in PEM/],
      'a certificate that is none': [withCa(pem('CERTIFICATE', 'AAAA')), /cannot be read/],
      'a chain the wrong way round': [
        withCa(pem('CERTIFICATE', ...chain.toReversed())),
        /is not signed by|not one of a certificate authority/,
      ],
      'a chain without its root': [
        withCa(pem('CERTIFICATE', ...chain.slice(0, 1))),
        /not signed by itself; wanted the root/,
      ],
      'no key': [withLog('nothing'), /0 public keys in PEM/],
      'two keys': [withLog(two), /2 public keys in PEM/],
      'a key that is none': [withLog(pem('PUBLIC KEY', 'AAAA')), /cannot be read/],
      'a key without a start': [withLog(pem('PUBLIC KEY', spki), {}), /wanted from/],
      'a key of another kind': [withLog(rsaPem), /wanted ECDSA/],
      'a file that is not there': [
        { ...keys, tlogs: [{ key: '/nowhere.pem', from }] },
        /nowhere\.pem: ENOENT/,
      ],
      'authorities without logs of certificates': [{ ...keys, ctlogs: [] }, /no ctlogs/],
      'no logs': [{ ...keys, tlogs: [] }, /no tlogs/],
    }
    for (const [title, [own, said]] of Object.entries(cases)) {
      const error: unknown = await open(t, [{ kind: 'keys', keys: own }]).catch(
        (thrown: unknown) => thrown,
      )
      t.ok(error instanceof AttestryError && error.code === 'ETRUST', title)
      t.match(String(error), said, title)
    }
  })
  t.test('a log that signs with Ed25519 is named after its host', async t => {
    const { publicKey } = generateKeyPairSync('ed25519')
    const key = file(publicKey.export({ format: 'pem', type: 'spki' }) as string)
    const tlogs = [{ key, from, url: 'https://log.acme.example/2026/' }]
    const trust = await open(t, [{ kind: 'keys', keys: { tlogs } }])
    const der = publicKey.export({ format: 'der', type: 'spki' })
    const id = createHash('sha256')
      .update(Buffer.from('log.acme.example/2026\n\u0001'))
      .update(der.subarray(12))
      .digest('base64')
    t.match(trust.materialOf('npm').roots, [
      { tlogs: [{ logId: { keyId: id }, publicKey: { keyDetails: 'PKIX_ED25519' } }] },
    ])
  })
  t.test('their end is told early', async t => {
    const soon = new Date(Date.now() + 10 * 86_400_000).toISOString()
    const tlogs = [{ ...rekor, until: soon }]
    const [warning] = (await open(t, [{ kind: 'keys', keys: { tlogs } }])).status().warnings
    t.match(warning, { kind: 'expiring', message: /the last of its tlogs ends at/ })
    const both = [...tlogs, rekor2]
    const renewed = await open(t, [{ kind: 'keys', keys: { tlogs: both } }])
    t.strictSame(renewed.status().warnings, [], 'another goes on')
  })
})

t.test('several at once, each with its scope', async t => {
  const { keys, folder } = ownFiles(t)
  const file = join(folder, 'root.json')
  writeFileSync(file, JSON.stringify(sigstore.trustedRoot))
  const issuers = ['https://gitlab.acme.example']
  const trust = await open(t, [
    { kind: 'public-good' },
    { kind: 'file', file, issuers },
    { kind: 'keys', keys },
  ])
  const { roots, scopes } = trust.materialOf('npm')
  t.equal(roots.length, 3)
  t.strictSame(scopes, [{}, { issuers }, {}])
  const free = await open(t, [
    { kind: 'public-good' },
    { kind: 'file', file },
    { kind: 'keys', keys },
  ])
  t.not(free.materialOf('npm').digest, trust.materialOf('npm').digest, 'scopes are part of it')
  t.notMatch(JSON.stringify(healthOf(trust.status())), folder, 'health names no folder')
})

t.test('files are followed', async t => {
  const folder = t.testdir({ 'root.json': JSON.stringify(sigstore.trustedRoot) })
  const file = join(folder, 'root.json')
  const trust = await open(t, [{ kind: 'file', file }])
  const errors: unknown[] = []
  const follower = followTrust({
    trust,
    interval: 0,
    look: 50,
    onError: error => errors.push(error),
  })
  t.teardown(() => follower.close())
  const before = trust.materialOf('npm').digest
  const until = async (what: string, holds: () => boolean) => {
    const end = performance.now() + 20_000
    while (!holds() && performance.now() < end) await new Promise(r => setTimeout(r, 20))
    t.ok(holds(), what)
  }
  const changed = { ...sigstore.trustedRoot, timestampAuthorities: [] }
  writeFileSync(`${file}.new`, JSON.stringify(changed))
  renameSync(`${file}.new`, file)
  await until('it is taken', () => trust.materialOf('npm').digest !== before)
  const good = trust.materialOf('npm').digest
  writeFileSync(file, JSON.stringify(changed).slice(0, 100))
  await until('half of it is not', () => trust.status().warnings.length > 0)
  t.equal(trust.materialOf('npm').digest, good)
  t.match(trust.status().sources, [{ failure: { refused: true } }])
  writeFileSync(file, JSON.stringify(sigstore.trustedRoot))
  await until('and then the whole', () => trust.materialOf('npm').digest === before)
  t.strictSame(trust.status().warnings, [])
  t.strictSame(errors, [])
})

t.test('when it is refreshed', async t => {
  const hour = 3_600_000
  const at = (since: number, failures: number, random: number) =>
    nextRefresh({ interval: 12 * hour, since, failures }, random)
  t.equal(at(0, 0, 0.5), 12 * hour)
  t.ok(at(0, 0, 0) < 11 * hour && at(0, 0, 1) > 13 * hour, 'a tenth earlier or later')
  t.ok(at(100 * hour, 0, 0) >= 1_000 && at(100 * hour, 0, 1) <= 15_000, 'soon, not at once')
  t.equal(at(0, 1, 0.5), hour / 6, 'ten minutes after a failure')
  t.equal(at(0, 3, 0.5), (4 * hour) / 6, 'then less often')
  t.equal(at(0, 50, 0.5), 12 * hour)
})

t.test('an examiner whose trust is replaced', async t => {
  const log: string[] = []
  const waiting: (() => void)[] = []
  const fake = (trust: string): Examiner => ({
    trust,
    examine: async ({ package: id, integrity }) => {
      await new Promise<void>(resolve => waiting.push(resolve))
      const fact = { state: 'absent' } as const
      return {
        package: id,
        integrity,
        registrySignature: fact,
        publishAttestation: fact,
        provenance: fact,
        trust,
      }
    },
    vouches: () => Promise.resolve([]),
    inspect: async () => ({ state: 'absent' }),
    close: async () => void log.push(`closed ${trust}`),
  })
  const material = (digest: string) => ({
    ...assembleTrust({ roots: [], registryKeys: [], sources: [] }),
    digest,
  })
  const live = await openLiveExaminer(async ({ digest }) => {
    if (digest === 'bad') throw new AttestryError('ETRUST', 'bad')
    return fake(digest)
  }, material('a'))
  const first = live.examine(requestFor())
  const second = live.examine(requestFor())
  await live.replace(material('b'))
  t.equal(live.trust, 'b')
  t.strictSame(log, [], 'it is not closed while it is at work')
  const third = live.examine(requestFor())
  waiting.shift()?.()
  t.equal((await first).trust, 'a', 'what was begun ends as it began')
  t.strictSame(log, [])
  for (const wake of waiting.splice(0)) wake()
  t.strictSame([(await second).trust, (await third).trust], ['a', 'b'])
  t.strictSame(log, ['closed a'])
  await t.rejects(live.replace(material('bad')), { code: 'ETRUST' })
  t.equal(live.trust, 'b', 'what cannot be opened leaves what was')
  await live.replace(material('c'))
  t.strictSame(log, ['closed a', 'closed b'], 'an idle one is closed at once')
  await live.close()
  t.strictSame(log, ['closed a', 'closed b', 'closed c'])
})

t.test('registry keys', async t => {
  const [key, next] = [newKey(), newKey()]
  const { host } = new URL(npmRegistry)
  const npmKeys = { [`${host}/keys.json`]: JSON.stringify(keysTarget([key])) }
  const { repository, source, open, refused } = await openLab(t, {
    targets: { ...target(rootA), ...npmKeys },
  })
  const ids = (room: Room) => room.materialOf('npm').registryKeys.map(({ keyId }) => keyId)
  const room = await open(undefined, { registryKeys: { kind: 'tuf' } })
  t.strictSame(ids(room), [key.keyId, key.keyId])
  t.equal(room.materialOf('npm').registryKeys[0]?.registry, npmRegistry)

  t.test('are rotated', async t => {
    const both = { [`${host}/keys.json`]: JSON.stringify(keysTarget([next])) }
    repository.publish({ targets: { ...target(rootA), ...both } })
    await room.renew()
    t.strictSame(ids(room), [next.keyId, next.keyId])
  })
  t.test("an upstream's own come before npm's", async t => {
    const own = { 'npm.acme.example/npm/keys.json': JSON.stringify(keysTarget([key])) }
    repository.publish({ targets: { ...target(rootA), ...npmKeys, ...own } })
    const registries = ['https://npm.acme.example/npm/', npmRegistry]
    await room.renew()
    const acme = await open(undefined, { registryKeys: { kind: 'tuf' }, registries })
    await acme.renew()
    t.equal(acme.materialOf('npm').registryKeys[0]?.registry, 'https://npm.acme.example/npm/')
  })
  t.test('that cannot be read leave those that were', async t => {
    const before = ids(room)
    repository.publish({ targets: { ...target(rootA), [`${host}/keys.json`]: '{"keys":[]}' } })
    await room.renew()
    t.strictSame(ids(room), before)
    t.match(failureOf(room), { refused: true, message: /"keys" is empty/ })
    t.strictSame(ids(await open(undefined, { registryKeys: { kind: 'tuf' } })), before)
  })
  t.test('that are gone', async t => {
    repository.publish({ targets: target(rootA) })
    t.match(
      await (
        await openLab(t, { targets: target(rootA) })
      ).refused(undefined, { registryKeys: { kind: 'tuf' } }),
      /no TUF/,
    )
    const auto = await open(undefined, { registryKeys: { kind: 'auto' } })
    await auto.renew()
    t.equal(auto.status().upstreams[0]?.keysFrom, 'registry keys (as shipped in @sigstore/tuf)')
  })
  t.test("those that sigstore's repository has given up are not brought back", async t => {
    const gone = (repository: 'public-good' | 'other'): OpenRootSource => ({
      scope: {},
      document: () => ({}),
      target: () => undefined,
      repository,
      remote: true,
      renew: async () => undefined,
      settled: async () => false,
      status: () => room.status().sources[0] as SourceStatus,
    })
    const from = (repository: 'public-good' | 'other') =>
      registryKeysOf({ kind: 'auto' }, [gone(repository)], [npmRegistry])
    t.strictSame((await from('public-good')).keys, [])
    t.ok((await from('other')).keys.length > 0)
  })
  t.test('a root that is tied to issuers gives none', async t => {
    repository.publish({ targets: { ...target(rootA), ...npmKeys } })
    await room.renew()
    t.strictSame(ids(await open(undefined, { registryKeys: { kind: 'tuf' } })), ids(room))
    const tied = { ...source, issuers: ['https://gitlab.com'] } as RootSource
    t.match(await refused([tied], { registryKeys: { kind: 'tuf' } }), /no TUF repository/)
  })
})
