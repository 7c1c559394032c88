import { spawn } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { bundleFromJSON, bundleToJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { DSSEBundleBuilder, FulcioSigner, RekorWitness, TSAWitness } from '@sigstore/sign'
import { toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify'
import { verify as sigstoreVerify } from 'sigstore'
import t from 'tap'
import {
  emailCertificate,
  integrityOf,
  localSigstore,
  oidcToken,
  type Attestation,
} from './local-sigstore.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const artifact = {
  name: '@acme/widget',
  version: '1.0.0',
  integrity: integrityOf(Buffer.from('widget')),
}
const registry = 'https://registry.example'

const trust = toTrustMaterial(TrustedRoot.fromJSON(sigstore.trustedRoot), hint => {
  const key = sigstore.keys.find(({ keyId }) => keyId === hint)
  if (key === undefined) throw new Error(`no key ${hint}`)
  return { publicKey: key.publicKey, validFor: () => true }
})
const verifier = new Verifier(trust)

/** `ok`, or the code of what is wrong. */
const judged = ({ bundle }: Attestation): string => {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(bundle)))
    return 'ok'
  } catch (error) {
    return error instanceof VerificationError ? error.code : String(error)
  }
}

t.test('every form of bundle verifies', async t => {
  for (const bundle of ['0.1', '0.2', '0.3'] as const) {
    for (const entry of ['dsse', 'intoto', 'dsse-v2'] as const) {
      // a v0.1 bundle stands on the promise, which Rekor v2 does not give
      if (bundle === '0.1' && entry === 'dsse-v2') continue
      const what = `${bundle} ${entry}`
      t.equal(
        judged(await sigstore.attestProvenance({ ...artifact, bundle, entry })),
        'ok',
        what,
      )
      const publish = await sigstore.attestPublish({ ...artifact, registry, bundle, entry })
      t.equal(judged(publish), 'ok', `publish ${what}`)
    }
  }
})

t.test('every kind of publisher and predicate verifies', async t => {
  const made = await Promise.all([
    sigstore.attestProvenance({ ...artifact, predicate: 'v0.2', timestamp: true }),
    sigstore.attestProvenance({ ...artifact, gitlab: { project: 'acme/widget' } }),
    sigstore.attestProvenance({
      ...artifact,
      bundle: '0.1',
      signedAt: '2023-03-01T12:00:00Z',
      publisher: { repository: 'acme/widget', era: 'legacy' },
    }),
    sigstore.attest({
      statement: { _type: '', subject: [], predicateType: 'vouch', predicate: {} },
      signer: { certificate: emailCertificate('security@acme.example') },
    }),
    sigstore.attestProvenance({ ...artifact, key: sigstore.addKey() }),
    sigstore.attestPublish({ ...artifact, registry, publisher: { repository: 'acme/w' } }),
  ])
  t.strictSame(
    made.map(judged),
    made.map(() => 'ok'),
  )
})

t.test('the certificate holds what was asked for', async t => {
  const publisher = { repository: 'acme/widget', environment: 'release', trigger: 'release' }
  const { bundle } = await sigstore.attestProvenance({ ...artifact, publisher })
  const { identity } = verifier.verify(toSignedEntity(bundleFromJSON(bundle)))
  const value = (arc: number) =>
    identity?.oids
      ?.find(({ oid }) => oid?.id.join('.') === `1.3.6.1.4.1.57264.1.${arc}`)
      ?.value.toString('latin1')
  t.match(value(12), /https:\/\/github\.com\/acme\/widget$/)
  t.match(value(20), /release$/)
  t.match(value(23), /release$/)
  t.match(value(24), /repo:acme\/widget:environment:release$/)
  t.equal(value(5), 'acme/widget', 'the old extensions are bare strings')
})

t.test('what is made wrong is found wrong', async t => {
  const made = {
    'no certificate log': await sigstore.attestProvenance({
      ...artifact,
      tamper: { sct: false },
    }),
    'no transparency log': await sigstore.attestProvenance({
      ...artifact,
      entry: 'none',
      timestamp: true,
    }),
    'no time': await sigstore.attestProvenance({
      ...artifact,
      entry: 'dsse-v2',
      timestamp: false,
    }),
    'flipped payload': await sigstore.attestProvenance({
      ...artifact,
      tamper: {
        bundle: ({ dsseEnvelope }) => {
          const payload = Buffer.from(dsseEnvelope.payload, 'base64')
          payload[10] = (payload[10] ?? 0) ^ 1
          dsseEnvelope.payload = payload.toString('base64')
        },
      },
    }),
  }
  t.strictSame(
    Object.fromEntries(Object.entries(made).map(([what, made]) => [what, judged(made)])),
    {
      'no certificate log': 'CERTIFICATE_ERROR',
      'no transparency log': 'TLOG_ERROR',
      'no time': 'TIMESTAMP_ERROR',
      'flipped payload': 'TLOG_BODY_ERROR',
    },
  )
})

t.test('what is tampered with before signing still verifies', async t => {
  const { bundle, predicateType } = await sigstore.attestProvenance({
    ...artifact,
    tamper: {
      statement: statement => ({ ...statement, subject: [] }),
      payloadType: 'text/plain',
      predicateType: 'https://example.com/other',
    },
  })
  t.equal(judged({ bundle, predicateType }), 'ok')
  t.equal(predicateType, 'https://example.com/other')
  t.equal(bundle.dsseEnvelope.payloadType, 'text/plain')
  t.match(JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString()), {
    subject: [],
  })
})

t.test('registry signatures and both forms of the key list agree', async t => {
  const { keyid, sig } = sigstore.signRegistry('widget', '1.0.0', artifact.integrity)
  const listed = sigstore.keysEndpoint().keys.find(key => key.keyid === keyid)
  const target = sigstore
    .registryKeys()
    .keys.find(({ keyId, keyUsage }) => keyId === keyid && keyUsage === 'npm:signatures')
  t.equal(listed?.key, target?.publicKey.rawBytes)
  const key = createPublicKey({
    key: Buffer.from(listed?.key ?? '', 'base64'),
    format: 'der',
    type: 'spki',
  })
  const message = Buffer.from(`widget@1.0.0:${artifact.integrity}`)
  t.ok(verify('sha256', message, key, Buffer.from(sig, 'base64')))
  t.notOk(verify('sha256', Buffer.from('other'), key, Buffer.from(sig, 'base64')))

  const expired = sigstore.addKey({ validUntil: '2024-01-01T00:00:00.000Z' })
  const unlisted = sigstore.addKey({ listed: false, usages: ['npm:attestations'] })
  const { keys } = sigstore.keysEndpoint()
  t.equal(keys.find(key => key.keyid === expired.keyId)?.expires, '2024-01-01T00:00:00.000Z')
  t.notOk(keys.some(key => key.keyid === unlisted.keyId))
})

t.test("sigstore's own clients sign and verify against it", async t => {
  const token = oidcToken({ iss: 'https://issuer.example', email: 'ana@acme.example' })
  const signer = new FulcioSigner({
    fulcioBaseURL: sigstore.url,
    identityProvider: { getToken: () => Promise.resolve(token) },
  })
  const { mirror, root } = await sigstore.tuf({ 'keys.json': '{}' })
  const dir = t.testdir({ cache: {} })
  const tufRootPath = join(dir, 'root.json')
  await writeFile(tufRootPath, JSON.stringify(root))
  const witnesses = [
    new RekorWitness({ rekorBaseURL: sigstore.url, entryType: 'dsse' }),
    new RekorWitness({ rekorBaseURL: sigstore.url, entryType: 'intoto' }),
    new RekorWitness({ rekorBaseURL: sigstore.url, majorApiVersion: 2 }),
  ]
  for (const witness of witnesses) {
    const bundle = await new DSSEBundleBuilder({
      signer,
      witnesses: [witness, new TSAWitness({ tsaBaseURL: sigstore.url })],
    }).create({ data: Buffer.from('{}'), type: 'application/vnd.in-toto+json' })
    const seen = await sigstoreVerify(bundleToJSON(bundle), {
      tufMirrorURL: mirror,
      tufRootPath,
      tufCachePath: join(dir, 'cache'),
      certificateIdentityEmail: '^ana@acme\\.example$',
    })
    t.equal(seen.identity?.subjectAlternativeName, 'ana@acme.example')
  }
})

t.test('the services end with the process that started them', async t => {
  const module = JSON.stringify(new URL('./local-sigstore.ts', import.meta.url).href)
  const source = `
    const { localSigstore } = await import(${module})
    console.log((await localSigstore()).url)
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', source], {
    cwd: fileURLToPath(new URL('../../', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said] = (await once(parent.stdout, 'data')) as [Buffer]
  const url = said.toString().trim()
  t.equal((await fetch(url)).status, 404, 'they answer while it lives')
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  const gone = async (tries: number): Promise<boolean> => {
    try {
      await fetch(url)
    } catch {
      return true
    }
    if (tries === 0) return false
    await sleep(50)
    return gone(tries - 1)
  }
  t.ok(await gone(100), 'and not after')
})
