/** Trust material: what the sigstore packages ship, files, and files that must be refused. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AttestryError } from '../../lib/errors.ts'
import { revision } from '../../lib/revision.ts'
import { loadTrust, type TrustOptions } from '../../lib/trust/load-trust.ts'
import { contentDigest } from '../../lib/trust/status.ts'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import {
  keysEndpoint,
  keysTarget,
  newKey,
  type KeysTarget,
} from '../support/sigstore/registry-keys.ts'
import { localSigstore } from '../support/local-sigstore.ts'

const folder = t.testdir()
let files = 0
const file = (content: unknown): { readonly file: string } => {
  const path = join(folder, `${++files}.json`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return { file: path }
}

/** The message of the ETRUST that loading must give. */
const refusal = async (t: Test, options: TrustOptions): Promise<string> => {
  try {
    await loadTrust(options)
  } catch (error) {
    t.ok(error instanceof AttestryError && error.code === 'ETRUST', String(error))
    return String(error)
  }
  t.fail('it was taken')
  return ''
}

t.test('what the sigstore packages ship', async t => {
  const trust = await loadTrust({ roots: ['public-good'], registryKeys: 'bundled' })
  t.equal(trust.roots.length, 1)
  t.equal(trust.sources.length, 2)
  t.match(trust.digest, /^[0-9a-f]{64}$/)
  for (const usage of ['npm:signatures', 'npm:attestations'])
    t.ok(
      trust.registryKeys.some(key => key.usage === usage && key.validUntil === undefined),
      `a key for ${usage} that has not ended`,
    )
  for (const { registry, validFrom } of trust.registryKeys) {
    t.equal(registry, npmRegistry, 'they are of the registry that npm asks by default')
    t.ok(validFrom !== undefined && Date.parse(validFrom) < Date.now())
  }
  const none = await loadTrust({ roots: ['public-good'], registryKeys: 'none' })
  t.strictSame(none.registryKeys, [])
  t.not(none.digest, trust.digest)
  const { roots, registryKeys } = trust
  t.equal(trust.digest, contentDigest({ roots, registryKeys, revision }), 'and what verifies')
})

t.test('the digest is over the content, not its spelling', async t => {
  const sigstore = await localSigstore()
  t.teardown(() => sigstore.close())
  const { trustedRoot } = sigstore
  const keys = keysTarget([newKey()])
  const load = async (root: unknown, content: unknown) =>
    loadTrust({ roots: [file(root)], registryKeys: file(content) })
  const one = await load(trustedRoot, keys)
  const reversed = Object.fromEntries(Object.entries(trustedRoot).toReversed())
  const two = await load(reversed, `\uFEFF${JSON.stringify(keys, null, 2)}`)
  t.equal(one.digest, two.digest)
  t.not(one.digest, (await load(trustedRoot, keysTarget([newKey()]))).digest, 'another key')
  const both = await loadTrust({
    roots: [file(trustedRoot), 'public-good'],
    registryKeys: 'none',
  })
  t.equal(both.roots.length, 2, 'several at once')
})

t.test('keys as TUF distributes them', async t => {
  const key = newKey({ usages: ['npm:attestations'], validUntil: '2027-01-01T00:00:00.000Z' })
  const { registryKeys } = await loadTrust({
    roots: ['public-good'],
    registryKeys: file(keysTarget([key])),
  })
  t.strictSame(registryKeys, [
    {
      keyId: key.keyId,
      usage: 'npm:attestations',
      spki: key.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
      validFrom: '2021-01-01T00:00:00.000Z',
      validUntil: '2027-01-01T00:00:00.000Z',
    },
  ])
})

t.test('keys of an endpoint are for signatures only', async t => {
  const keys = [newKey(), newKey({ validUntil: '2027-01-01T00:00:00.000Z' })]
  const { registryKeys } = await loadTrust({
    roots: ['public-good'],
    registryKeys: file(keysEndpoint(keys)),
  })
  t.match(registryKeys, [
    { usage: 'npm:signatures', validFrom: undefined, validUntil: undefined },
    { usage: 'npm:signatures', validFrom: undefined, validUntil: '2027-01-01T00:00:00.000Z' },
  ])
})

t.test('files that are no trusted root', async t => {
  const sigstore = await localSigstore()
  t.teardown(() => sigstore.close())
  const root = sigstore.trustedRoot as Record<string, Record<string, unknown>[]>
  const first = (key: string, change: object) => ({
    ...root,
    [key]: [{ ...root[key]?.[0], ...change }],
  })
  const key = root.tlogs?.[0]?.publicKey as object
  const cases: Readonly<Record<string, readonly [RegExp, unknown]>> = {
    'not JSON': [/JSON/, '{'],
    'a list': [/object/, []],
    'another kind of document': [/mediaType/, { keys: [] }],
    'no logs': [/tlogs/, { ...root, tlogs: [] }],
    'no authorities': [/certificateAuthorities/, { ...root, certificateAuthorities: [] }],
    'logs that are no list': [/tlogs/, { ...root, tlogs: {} }],
    'a log without a start': [
      /tlogs\[0\].*start/,
      first('tlogs', { publicKey: { ...key, validFor: {} } }),
    ],
    'a log without a period': [
      /tlogs\[0\].*start/,
      first('tlogs', { publicKey: { ...key, validFor: undefined } }),
    ],
    'a certificate log without a start': [
      /ctlogs\[0\]/,
      first('ctlogs', { publicKey: { ...key, validFor: {} } }),
    ],
    'an authority without a start': [
      /certificateAuthorities\[0\]/,
      first('certificateAuthorities', { validFor: {} }),
    ],
    'a timestamp authority without a start': [
      /timestampAuthorities\[0\]/,
      first('timestampAuthorities', { validFor: {} }),
    ],
    'an end that is no time': [
      /end/,
      first('certificateAuthorities', {
        validFor: { start: '2026-01-01T00:00:00Z', end: 'soon' },
      }),
    ],
    'a key that is none': [
      /key or certificate/,
      first('tlogs', { publicKey: { ...key, rawBytes: 'AAAA' } }),
    ],
    'a log that is null': [/tlogs\[0\]/, { ...root, tlogs: [null] }],
  }
  for (const [title, [said, content]] of Object.entries(cases)) {
    const given = file(content)
    const message = await refusal(t, { roots: [given], registryKeys: 'none' })
    t.ok(said.test(message) && message.includes(given.file), `${title}: ${message}`)
  }
  const { tlogs = [] } = root
  const nulls = tlogs.map(log => ({
    ...log,
    publicKey: { ...key, validFor: { start: '2026-01-01T00:00:00Z', end: null } },
  }))
  const open = await loadTrust({
    roots: [file({ ...root, tlogs: nulls })],
    registryKeys: 'none',
  })
  t.equal(open.roots.length, 1, 'null is no end')
})

t.test('files that are no registry keys', async t => {
  const [key] = keysTarget([newKey()]).keys
  const [endpoint] = keysEndpoint([newKey()]).keys
  if (key === undefined || endpoint === undefined) return t.fail('no keys')
  const { publicKey } = key
  const withPublic = (change: object) => ({
    keys: [{ ...key, publicKey: { ...publicKey, ...change } }],
  })
  const twice: KeysTarget = keysTarget([newKey({ keyId: 'x' }), newKey({ keyId: 'x' })])
  const cases: Readonly<Record<string, readonly [RegExp, unknown]>> = {
    'not JSON': [/JSON/, 'keys'],
    'no list': [/"keys"/, {}],
    'an empty list': [/empty/, { keys: [] }],
    'an entry that is null': [/keys\[0\]/, { keys: [null] }],
    'an unknown usage': [/keyUsage/, { keys: [{ ...key, keyUsage: 'npm:all' }] }],
    'no usage': [/keyUsage/, { keys: [{ ...key, keyUsage: undefined }] }],
    'no id': [/keyId/, { keys: [{ ...key, keyId: '' }] }],
    'no public key': [/publicKey/, { keys: [{ ...key, publicKey: undefined }] }],
    'another algorithm': [/keyDetails/, withPublic({ keyDetails: 'PKIX_ED25519' })],
    'bytes that are no key': [/rawBytes/, withPublic({ rawBytes: 'AAAA' })],
    'no start': [/start/, withPublic({ validFor: {} })],
    'a start that is no time': [/start/, withPublic({ validFor: { start: 'soon' } })],
    'an end that is no time': [/expires/, { keys: [{ ...endpoint, expires: 'soon' }] }],
    'an endpoint key that is none': [/key is not/, { keys: [{ ...endpoint, key: 'AAAA' }] }],
    'two keys of one name': [/two different keys/, twice],
  }
  for (const [title, [said, content]] of Object.entries(cases)) {
    const given = file(content)
    const message = await refusal(t, { roots: ['public-good'], registryKeys: given })
    t.ok(said.test(message) && message.includes(given.file), `${title}: ${message}`)
  }
})

t.test('files that are not there, or too large, or too many to choose from', async t => {
  const missing = { file: join(folder, 'missing.json') }
  t.match(await refusal(t, { roots: [missing], registryKeys: 'none' }), 'missing.json')
  t.match(await refusal(t, { roots: ['public-good'], registryKeys: missing }), 'missing.json')
  const large = file('x'.repeat(1024 * 1024 + 1))
  t.match(await refusal(t, { roots: [large], registryKeys: 'none' }), 'at most')
  t.match(await refusal(t, { roots: [], registryKeys: 'none' }), 'at least one')
})
