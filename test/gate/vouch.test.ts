/** Vouches through the whole proxy: what they admit, what lies next to it, and when they stop. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openSigner, type SignerOptions } from '../../lib/attest/signer.ts'
import { signingKeyOf } from '../../lib/attest/signing-key.ts'
import { vouchStatement, type VouchPredicate } from '../../lib/evidence/vouch.ts'
import type { Integrity, PackageId } from '../../lib/types.ts'
import { integrityOf, localSigstore, oidcToken } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const ourKey = signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
const otherKey = signingKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
const google = 'https://accounts.google.com'
const security = 'security@acme.example'
const admin = 'admin-token-of-this-test'

const policy = `version: 1
identities:
  team: { issuer: '${google}', subject: '${security}' }
  key: { key: '${ourKey.keyId}' }
rules:
  - name: ours
    packages: [signed-by-us]
    require: { signature: { key: '${sigstore.keys[0]?.keyId}' } }
  - name: theirs
    packages: [signed-by-them]
    require: { signature: key }
  - name: reviewed
    packages: ['*']
    require: { anyOf: [{ provenance: any }, { vouch: [team, key] }] }
`
const base: ProxyOptions = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  policies: [policy],
  settings: `cache: { packumentTtl: 0s, negativeTtl: 0s }\nserver: { adminToken: ${admin} }`,
}

type Made = { readonly bundle: object; readonly publicKey?: string }

/** Keyless, by security@acme.example through the local sigstore, unless told otherwise. */
const vouchFor = async (
  id: PackageId,
  integrity: Integrity,
  {
    email = security,
    signer,
    ...said
  }: Partial<VouchPredicate> & { email?: string; signer?: SignerOptions } = {},
): Promise<Made> => {
  const options = signer ?? {
    fulcio: sigstore.url,
    token: () => Promise.resolve(oidcToken({ iss: google, email, aud: 'sigstore' })),
    audience: 'sigstore',
    log: { url: sigstore.url, version: 1 },
  }
  const predicate = { reason: 'read it all', vouchedAt: new Date().toISOString(), ...said }
  const bundle = await openSigner(options).signStatement(
    vouchStatement(id, integrity, predicate),
  )
  return { bundle, ...('key' in options && { publicKey: options.key.publicKey }) }
}

const openProxy = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({ ...base, ...options })
  t.teardown(() => proxy.close())
  const post = async (path: string, body: object, token = admin) => {
    const response = await fetch(new URL(path, proxy.url), {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { authorization: `Bearer ${token}` },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const tarball = async ({ name, version }: PackageId) => {
    const response = await fetch(new URL(`${name}/-/${name}-${version}.tgz`, proxy.url))
    const bytes = Buffer.from(await response.arrayBuffer())
    return { status: response.status, bytes }
  }
  return {
    proxy,
    tarball,
    add: (made: object, token?: string) => post('-/attestry/vouches', made, token),
    revoke: (body: object) => post('-/attestry/vouches/revoke', body),
    versions: async (name: string) => {
      const response = await fetch(new URL(name, proxy.url))
      const { versions = {} } = (await response.json()) as { versions?: object }
      return Object.keys(versions)
    },
    codes: async (id: PackageId) =>
      (await proxy.gate.assess(id)).verdict.reasons.map(({ code }) => code),
  }
}

const unsigned = async (name: string, version = '1.0.0') => {
  const published = await registry.publish({ name, version, signed: false })
  return { id: { name, version }, ...published }
}

t.test('a vouch admits exactly that version, and nothing next to it', async t => {
  const { proxy, add, tarball, versions, codes } = await openProxy(t)
  const { id, integrity, tarball: bytes } = await unsigned('legacy')
  const next = await unsigned('legacy', '1.0.1')
  t.equal((await tarball(id)).status, 403)
  t.strictSame(await versions('legacy'), [])
  const added = await add(await vouchFor(id, integrity))
  t.equal(added.status, 201)
  t.match(added.body, { package: id, integrity, vouch: { said: { reason: 'read it all' } } })
  t.strictSame(await versions('legacy'), ['1.0.0'], 'the packument shows it at once')
  const got = await tarball(id)
  t.equal(got.status, 200)
  t.ok(got.bytes.equals(bytes))
  t.equal((await tarball(next.id)).status, 403, 'the next version is refused as before')
  t.equal((await tarball((await unsigned('legacy-too')).id)).status, 403)
  t.strictSame(await codes(next.id), ['NO_PROVENANCE'])
  const { evidence } = await proxy.gate.why(id)
  t.match(evidence.facts.at(-1), { fact: 'vouch', state: 'verified', detail: /security@acme/ })
  t.equal((await add(await vouchFor(id, integrity))).status, 201, 'a second one may be kept')
})

t.test('keys, Rekor v2 and timestamps', async t => {
  const { add, tarball } = await openProxy(t)
  const signers: Readonly<Record<string, SignerOptions>> = {
    'key alone': { key: ourKey },
    'key, Rekor v1': { key: ourKey, log: { url: sigstore.url, version: 1 } },
    'key, Rekor v2': {
      key: ourKey,
      log: { url: sigstore.url, version: 2 },
      timestamps: [sigstore.url],
    },
    'key, timestamp': { key: ourKey, timestamps: [sigstore.url] },
    'keyless, Rekor v2': {
      fulcio: sigstore.url,
      token: () =>
        Promise.resolve(oidcToken({ iss: google, email: security, aud: 'sigstore' })),
      audience: 'sigstore',
      log: { url: sigstore.url, version: 2 },
      timestamps: [sigstore.url],
    },
  }
  for (const [i, [what, signer]] of Object.entries(signers).entries()) {
    const { id, integrity } = await unsigned(`signers-${i}`)
    t.equal((await add(await vouchFor(id, integrity, { signer }))).status, 201, what)
    t.equal((await tarball(id)).status, 200, what)
  }
})

t.test('a vouch by somebody else is kept and does not count', async t => {
  const { add, tarball, codes } = await openProxy(t)
  const others = [
    { email: 'mallory@acme.example' },
    { email: 'security@acme.example.evil.example' },
    { signer: { key: otherKey } },
  ]
  for (const [i, other] of others.entries()) {
    const { id, integrity } = await unsigned(`others-${i}`)
    t.equal((await add(await vouchFor(id, integrity, other))).status, 201)
    t.equal((await tarball(id)).status, 403)
    t.not((await codes(id)).length, 0)
  }
  const { id, integrity } = await unsigned('others-key')
  const made = await vouchFor(id, integrity, { signer: { key: otherKey } })
  const claimed = { ...made, publicKey: ourKey.publicKey }
  t.match(
    await add(claimed),
    { status: 400, body: { code: 'EVOUCH' } },
    'another key than told',
  )
})

type Bundle = {
  dsseEnvelope: { payload: string; signatures: { sig: string }[] }
  verificationMaterial: { tlogEntries?: object[]; publicKey?: object }
}

t.test('what does not verify is not kept', async t => {
  const { proxy, add, tarball } = await openProxy(t)
  const { id, integrity } = await unsigned('forged')
  const made = await vouchFor(id, integrity)
  const changed = (change: (bundle: Bundle) => void): Made => {
    const copy = structuredClone(made) as { bundle: Bundle }
    change(copy.bundle)
    return copy
  }
  const said = (change: (statement: { predicate: { reason: string } }) => void) =>
    changed(({ dsseEnvelope }) => {
      const text = Buffer.from(dsseEnvelope.payload, 'base64').toString()
      const statement = JSON.parse(text) as { predicate: { reason: string } }
      change(statement)
      dsseEnvelope.payload = Buffer.from(JSON.stringify(statement)).toString('base64')
    })
  const bad: Readonly<Record<string, object>> = {
    'another reason': said(statement => {
      statement.predicate.reason = 'nobody said this'
    }),
    'a signature with one byte changed': changed(({ dsseEnvelope }) => {
      const [first] = dsseEnvelope.signatures
      const bytes = Buffer.from(first?.sig ?? '', 'base64')
      bytes[20] = (bytes[20] ?? 0) ^ 1
      if (first) first.sig = bytes.toString('base64')
    }),
    'no log entry': changed(({ verificationMaterial }) => {
      delete verificationMaterial.tlogEntries
    }),
    'a key nobody told': changed(({ verificationMaterial }) => {
      delete (verificationMaterial as { certificate?: object }).certificate
      verificationMaterial.publicKey = { hint: 'x' }
    }),
    'no end that can be read': await vouchFor(id, integrity, { expiresAt: 'soon' }),
    'no reason': await vouchFor(id, integrity, { reason: ' ' }),
    'a provenance': {
      bundle: (await sigstore.attestProvenance({ ...id, integrity })).bundle,
    },
    'no bundle': { bundle: {} },
  }
  for (const [what, body] of Object.entries(bad))
    t.match(await add(body), { status: 400, body: { code: 'EVOUCH' } }, what)
  for (const body of [{}, { bundle: 1 }, { bundle: {}, more: 1 }])
    t.match(await add(body), { status: 400, body: { code: 'EBADREQUEST' } })
  const most = { bundle: made.bundle, publicKey: 'x'.repeat(300_000) }
  t.match(await add(most), { status: 413 })
  t.strictSame(await proxy.gate.vouching.list(), [])
  t.equal((await tarball(id)).status, 403)
})

t.test('only operators may add and revoke', async t => {
  const { add } = await openProxy(t)
  const { id, integrity } = await unsigned('operators')
  const made = await vouchFor(id, integrity)
  t.match(await add(made, 'wrong'), { status: 401, body: { code: 'EUNAUTHORIZED' } })
  const open = await openProxy(t, { settings: 'cache: { packumentTtl: 0s }' })
  t.match(await open.add(made, ''), { status: 401 }, 'nobody where no token is set')
  t.match(await open.revoke({ package: 'a@1.0.0', reason: 'x' }), { status: 401 })
  const asked = await fetch(new URL('-/attestry/vouches', open.proxy.url))
  t.not(asked.status, 200)
})

t.test('a vouch is for these bytes and no others', async t => {
  const { add, tarball, codes } = await openProxy(t)
  const { id } = await unsigned('bytes')
  const others = await vouchFor(id, integrityOf(Buffer.from('other bytes')))
  t.equal((await add(others)).status, 201, 'it may be about bytes that were not seen yet')
  t.equal((await tarball(id)).status, 403)
  t.ok((await codes(id)).length > 0)

  // the packument promises no integrity: the bytes decide
  const old = await registry.publish({
    name: 'no-integrity',
    version: '1.0.0',
    signed: false,
    integrity: undefined,
  })
  const oldId = { name: 'no-integrity', version: '1.0.0' }
  t.equal((await add(await vouchFor(oldId, integrityOf(Buffer.from('x'))))).status, 201)
  t.equal((await tarball(oldId)).status, 403)
  t.equal((await add(await vouchFor(oldId, integrityOf(old.tarball)))).status, 201)
  t.equal((await tarball(oldId)).status, 200)
})

t.test('revoked: refused at once, everywhere, for good', async t => {
  const storage = await mkdtemp(join(tmpdir(), 'attestry-vouch-'))
  t.teardown(() => rm(storage, { recursive: true, force: true }))
  const { add, revoke, tarball, versions, codes } = await openProxy(t, { storage })
  const beside = await openProxy(t, { storage })
  const { id, integrity } = await unsigned('revoked')
  const made = await vouchFor(id, integrity)
  await add(made)
  t.equal((await tarball(id)).status, 200)
  const heard = async (status: number) => {
    for (let i = 0; i < 200 && (await beside.tarball(id)).status !== status; i++)
      await new Promise(resolve => {
        setTimeout(resolve, 50)
      })
    return (await beside.tarball(id)).status
  }
  t.equal(await heard(200), 200, 'another process on the store learns of it')
  const spec = `${id.name}@${id.version}`
  const answer = await revoke({ package: spec, reason: 'the reviewer left', by: security })
  t.match(answer, { status: 200, body: { revoked: [{ reason: 'the reviewer left' }] } })
  t.equal((await tarball(id)).status, 403, 'though its bytes were admitted before')
  t.strictSame(await versions('revoked'), [])
  t.equal(await heard(403), 403, 'the other process too')
  t.equal((await add(made)).status, 201, 'the same vouch may come again')
  t.equal((await tarball(id)).status, 403, 'and stays revoked')
  t.match(await revoke({ package: spec, reason: 'again' }), { status: 400 })
  t.ok((await codes(id)).length > 0)
  const [listed] = await beside.proxy.gate.vouching.list('revoked')
  t.match(listed, { revoked: { reason: 'the reviewer left', by: security } }, 'it is kept')
  await add(await vouchFor(id, integrity, { reason: 'read again by another' }))
  t.equal((await tarball(id)).status, 200, 'a new vouch is another one')
})

t.test('a signature in its other form is the same vouch', async t => {
  const { add, revoke, tarball } = await openProxy(t)
  const { id, integrity } = await unsigned('twice')
  const made = await vouchFor(id, integrity, { signer: { key: ourKey } })
  await add(made)
  await revoke({ package: `${id.name}@${id.version}`, reason: 'x' })
  const again = structuredClone(made) as { bundle: Bundle; publicKey: string }
  const [first] = again.bundle.dsseEnvelope.signatures
  // r and -s verify as well as r and s do
  if (first) first.sig = otherForm(Buffer.from(first.sig, 'base64')).toString('base64')
  t.equal((await add(again)).status, 201, 'it verifies')
  t.equal((await tarball(id)).status, 403, 'and is revoked all the same')
})

/** DER of (r, n - s) for DER of (r, s) on P-256. */
const otherForm = (der: Buffer): Buffer => {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const rLength = der[3] ?? 0
  const s = BigInt(`0x${der.subarray(6 + rLength).toString('hex')}`)
  const hex = (n - s).toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  const value = (bytes[0] ?? 0) > 127 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes
  const r = der.subarray(2, 4 + rLength)
  const body = Buffer.concat([r, Buffer.from([2, value.length]), value])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

t.test('ended: refused when its time is over', async t => {
  let now = new Date()
  const { add, tarball, codes } = await openProxy(t, { now: () => now })
  const { id, integrity } = await unsigned('ending')
  const expiresAt = new Date(now.getTime() + 3_600_000).toISOString()
  await add(await vouchFor(id, integrity, { expiresAt }))
  t.equal((await tarball(id)).status, 200)
  now = new Date(now.getTime() + 3_600_001)
  t.equal((await tarball(id)).status, 403)
  t.ok((await codes(id)).length > 0)
})

t.test('a vouch does not speak for what was forged', async t => {
  const { add, tarball, codes } = await openProxy(t)
  const name = 'forged-signature'
  const id = { name, version: '1.0.0' }
  const tampered = await registry.publish({
    ...id,
    signed: [sigstore.signRegistry(name, '9.9.9', 'sha512-AA==')],
  })
  await add(await vouchFor(id, tampered.integrity))
  t.equal((await tarball(id)).status, 403)
  t.strictSame(await codes(id), ['INVALID_SIGNATURE'])
})

t.test('signature: by the key that the policy names', async t => {
  const { tarball, codes } = await openProxy(t)
  await registry.publish({ name: 'signed-by-us', version: '1.0.0' })
  await registry.publish({ name: 'signed-by-them', version: '1.0.0' })
  t.equal((await tarball({ name: 'signed-by-us', version: '1.0.0' })).status, 200)
  const theirs = { name: 'signed-by-them', version: '1.0.0' }
  t.equal((await tarball(theirs)).status, 403)
  t.strictSame(await codes(theirs), ['IDENTITY_MISMATCH'])
})

t.test('no more than a few are kept for one version', async t => {
  const { proxy } = await openProxy(t)
  const { id, integrity } = await unsigned('many')
  const signer = { key: ourKey }
  for (let i = 0; i < 32; i++)
    await proxy.gate.vouching.add(
      await vouchFor(id, integrity, { signer, reason: `read ${i} times` }),
    )
  const more = await vouchFor(id, integrity, { signer, reason: 'once more' })
  await t.rejects(proxy.gate.vouching.add(more), { code: 'EVOUCH' })
})
