import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  scryptSync,
  verify,
} from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t from 'tap'
import { ambientToken, readToken } from '../../lib/attest/identity-token.ts'
import { openSigner, type SignerOptions } from '../../lib/attest/signer.ts'
import { serviceLimits } from '../../lib/attest/service.ts'
import { readSigningKey, signingKeyOf } from '../../lib/attest/signing-key.ts'
import { isAttestryError } from '../../lib/errors.ts'
import { githubIssuer, localSigstore, oidcToken } from '../support/local-sigstore.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const ec = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve }).privateKey
const key = signingKeyOf(ec())
const statement = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'pkg:npm/widget@1.0.0', digest: { sha512: 'ab' } }],
  predicateType: 'https://example.com/test/v1',
  predicate: { said: 'ünïcode' },
}
const file = Buffer.from('any file')
const email = 'security@acme.example'
const issuer = 'https://accounts.google.com'
const token = (more: object = {}) => oidcToken({ iss: issuer, email, aud: 'sigstore', ...more })
const keyless = (more: object = {}) => ({
  fulcio: sigstore.url,
  token: () => Promise.resolve(token(more)),
  audience: 'sigstore',
})

/** An independent verifier: the library alone, with the key named by its hint. */
const trusting = (thresholds: object) =>
  new Verifier(
    toTrustMaterial(TrustedRoot.fromJSON(sigstore.trustedRoot), hint => {
      if (hint !== key.keyId) throw new Error(`no key ${hint}`)
      return { publicKey: createPublicKey(key.publicKey), validFor: () => true }
    }),
    thresholds,
  )
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => (isAttestryError(error) ? error.code : String(error)),
  )
const messageOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: Error) => error.message,
  )

t.test('what is signed verifies, with keys and certificates, on Rekor v1 and v2', async t => {
  const logs = {
    1: { url: sigstore.url, version: 1 },
    2: { url: sigstore.url, version: 2 },
  } as const
  for (const [who, by] of [
    ['key', { key }],
    ['keyless', keyless()],
  ] as const) {
    for (const version of [1, 2] as const) {
      // v2 tells no time: the timestamp does
      const timestamps = version === 2 ? [sigstore.url] : []
      const signer = openSigner({ ...by, log: logs[version], timestamps })
      const verifier = trusting({ tlogThreshold: 1, timestampThreshold: 1 })
      const signed = await signer.signStatement(statement)
      const bundle = bundleFromJSON(signed)
      t.equal(signed.mediaType, 'application/vnd.dev.sigstore.bundle.v0.3+json')
      const { identity } = verifier.verify(toSignedEntity(bundle))
      if (who === 'keyless') t.equal(identity?.subjectAlternativeName, email)
      t.strictSame(
        JSON.parse(Buffer.from(signed.dsseEnvelope?.payload ?? '', 'base64').toString()),
        statement,
        `${who}, Rekor v${version}: the statement is what was given`,
      )
      const message = bundleFromJSON(await signer.signFile(file))
      verifier.verify(toSignedEntity(message, file))
      t.throws(() => verifier.verify(toSignedEntity(message, Buffer.from('another'))))
    }
  }
})

t.test('a key needs neither log nor timestamp; a keyless signature needs a log', async t => {
  const bare = await openSigner({ key }).signStatement(statement)
  trusting({ tlogThreshold: 0, timestampThreshold: 0 }).verify(
    toSignedEntity(bundleFromJSON(bare)),
  )
  t.strictSame(bare.verificationMaterial.tlogEntries ?? [], [])
  const stamped = await openSigner({ key, timestamps: [sigstore.url] }).signStatement(statement)
  trusting({ tlogThreshold: 0, timestampThreshold: 1 }).verify(
    toSignedEntity(bundleFromJSON(stamped)),
  )
  t.throws(() => openSigner(keyless()), { code: 'EUSAGE' })
  for (const url of [
    'http://fulcio.example',
    'ftp://fulcio.example',
    'https://a:b@fulcio.example',
    'no',
  ])
    t.throws(
      () => openSigner({ ...keyless(), fulcio: url, log: { url: sigstore.url, version: 1 } }),
      { code: 'EUSAGE' },
      url,
    )
})

t.test('one certificate serves several signatures while it lives', async t => {
  let asked = 0
  let now = new Date()
  const signer = openSigner({
    ...keyless(),
    token: () => {
      asked++
      return Promise.resolve(token())
    },
    log: { url: sigstore.url, version: 1 },
    now: () => now,
  })
  await signer.signStatement(statement)
  await signer.signStatement(statement)
  t.equal(asked, 1)
  now = new Date(now.getTime() + 9 * 60_000)
  await signer.signStatement(statement)
  t.equal(asked, 2, 'one that ends soon is not used')
})

t.test('raw signatures are what npm verifies', async t => {
  const data = Buffer.from('widget@1.0.0:sha512-AA==')
  t.ok(verify('sha256', data, key.publicKey, key.sign(data)))
  const digest = createHash('sha256').update(key.spki).digest('base64')
  t.equal(key.keyId, `SHA256:${digest.replace(/=+$/, '')}`)
})

/** As `cosign generate-key-pair` writes it. */
const cosignPem = (password: string, der: Buffer) => {
  const salt = Buffer.alloc(32, 7)
  const nonce = Buffer.alloc(24, 9)
  const params = { N: 32768, r: 8, p: 1 }
  const secret = scryptSync(password, salt, 32, { ...params, maxmem: 128 * 1024 * 1024 })
  const ciphertext = Buffer.from(xsalsa20poly1305(secret, nonce).encrypt(der))
  const base64 = (data: Buffer) => data.toString('base64')
  const json = JSON.stringify({
    kdf: { name: 'scrypt', params, salt: base64(salt) },
    cipher: { name: 'nacl/secretbox', nonce: base64(nonce) },
    ciphertext: base64(ciphertext),
  })
  const lines = base64(Buffer.from(json)).match(/.{1,64}/g) ?? []
  const label = 'ENCRYPTED SIGSTORE PRIVATE KEY'
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

t.test('private keys in every form that is read', async t => {
  const privateKey = ec()
  const { keyId } = signingKeyOf(privateKey)
  const der = privateKey.export({ format: 'der', type: 'pkcs8' })
  const cipher = 'aes-256-cbc'
  const passphrase = 'correct horse'
  const forms = {
    pkcs8: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    sec1: privateKey.export({ format: 'pem', type: 'sec1' }).toString(),
    'pkcs8, encrypted': privateKey
      .export({ format: 'pem', type: 'pkcs8', cipher, passphrase })
      .toString(),
    'sec1, encrypted': privateKey
      .export({ format: 'pem', type: 'sec1', cipher, passphrase })
      .toString(),
    cosign: cosignPem(passphrase, der),
  }
  for (const [form, text] of Object.entries(forms)) {
    let asked = 0
    const say = (secret: string | undefined) => () => {
      asked++
      return Promise.resolve(secret)
    }
    const read = (secret?: string) =>
      readSigningKey({ text, where: 'a.key', passphrase: say(secret) })
    t.equal((await read(passphrase)).keyId, keyId, form)
    const encrypted = form === 'cosign' || form.includes('encrypted')
    t.equal(asked, encrypted ? 1 : 0, `${form}: asked for a passphrase only where needed`)
    if (!encrypted) continue
    t.equal(await codeOf(read('wrong')), 'ESIGNKEY', form)
    t.equal(await codeOf(read()), 'ESIGNKEY', form)
    t.notMatch(await messageOf(read('wr0ng passphrase')), /wr0ng/)
  }
})

t.test('what is no key for signing is told by its name', async t => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const ed = generateKeyPairSync('ed25519').privateKey
  const pem = (k: typeof rsa) => k.export({ format: 'pem', type: 'pkcs8' }).toString()
  const bad = {
    rsa: pem(rsa),
    ed25519: pem(ed),
    'P-384': pem(ec('P-384')),
    public: key.publicKey,
    nothing: '',
    'cosign, damaged': cosignPem('x', Buffer.from('no key')).replace('e', 'f'),
    'cosign, no key inside': cosignPem('x', Buffer.from('no key')),
    'cosign, greedy': cosignPem('x', Buffer.alloc(3)).replace(/\n[\s\S]*\n/, () => {
      const kdf = { name: 'scrypt', params: { N: 2 ** 30, r: 8, p: 1 }, salt: '' }
      return `\n${Buffer.from(JSON.stringify({ kdf })).toString('base64')}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n`
    }),
  }
  for (const [what, text] of Object.entries(bad)) {
    const read = readSigningKey({
      text,
      where: 'a.key',
      passphrase: () => Promise.resolve('x'),
    })
    t.equal(await codeOf(read), 'ESIGNKEY', what)
  }
})

t.test('identity tokens', async t => {
  const now = new Date('2026-11-26T12:00:00Z')
  const read = (claims: Record<string, unknown>, audience: string | undefined = 'sigstore') => {
    const part = Buffer.from(JSON.stringify(claims)).toString('base64url')
    return () => readToken(`e30.${part}.c2ln`, audience, now)
  }
  const sub = 'repo:acme/widget:ref:refs/heads/main'
  t.strictSame(read({ iss: issuer, sub, aud: 'sigstore' })(), {
    issuer,
    subject: sub,
    audiences: ['sigstore'],
  })
  t.equal(
    read({ iss: issuer, sub, email, email_verified: true, aud: ['a', 'sigstore'] })().subject,
    email,
  )
  const code = { code: 'ESIGNIDENTITY' }
  t.throws(
    read({ iss: issuer, sub, aud: 'https://bank.example' }),
    code,
    'made for somebody else',
  )
  t.equal(read({ iss: issuer, sub, aud: 'private' }, 'private')().subject, sub)
  t.throws(read({ iss: issuer, sub, aud: 'sigstore', exp: now.getTime() / 1000 }), code)
  t.throws(read({ iss: issuer, email, email_verified: false, aud: 'sigstore' }), code)
  t.throws(read({ sub, aud: 'sigstore' }), code)
  t.throws(read({ iss: issuer, aud: 'sigstore' }), code)
  t.throws(() => readToken('not-a-token-but-secret', 'sigstore', now), code)
  try {
    readToken('s3cret', 'sigstore', now)
  } catch (error) {
    t.notMatch((error as Error).message, /s3cret/)
  }
})

/** A service that answers as told. */
const served = async (answer: (response: ServerResponse, url: string) => void) => {
  const seen: { url: string; authorization?: string | undefined }[] = []
  const server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', authorization: request.headers.authorization })
    request.resume().on('end', () => answer(response, request.url ?? ''))
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

t.test('tokens from where CI systems keep them', async t => {
  const { url, seen } = await served(response =>
    response.end(JSON.stringify({ value: 'from.gh.a' })),
  )
  const github = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `${url}/token?api-version=2`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'bearer-secret',
  }
  const found = (env: Record<string, string>) => ambientToken(env, 'sigstore', serviceLimits)
  t.equal(await found(github), 'from.gh.a')
  t.strictSame(seen, [
    { url: '/token?api-version=2&audience=sigstore', authorization: 'Bearer bearer-secret' },
  ])
  t.equal(await found({ ...github, SIGSTORE_ID_TOKEN: ' given.b.c\n' }), 'given.b.c')
  t.equal(await found({ CIRCLE_OIDC_TOKEN_V2: 'circle.b.c' }), 'circle.b.c')
  t.equal(await found({}), undefined)
  const refusing = await served(response =>
    response.writeHead(403).end(JSON.stringify({ message: 'bad token bearer-secret' })),
  )
  const work = found({ ...github, ACTIONS_ID_TOKEN_REQUEST_URL: refusing.url })
  t.equal(await codeOf(work), 'ESIGNSERVICE')
  t.notMatch(
    await messageOf(work),
    /bearer-secret/,
    'what came back is cleaned of what was sent',
  )
})

t.test('a GitHub workflow signs as itself', async t => {
  const claims = {
    iss: githubIssuer,
    aud: 'sigstore',
    sub: 'repo:acme/reviews:ref:refs/heads/main',
    repository: 'acme/reviews',
    workflow_ref: 'acme/reviews/.github/workflows/vouch.yml@refs/heads/main',
    ref: 'refs/heads/main',
    event_name: 'workflow_dispatch',
  }
  const signer = openSigner({
    fulcio: sigstore.url,
    token: () => Promise.resolve(oidcToken(claims)),
    audience: 'sigstore',
    log: { url: sigstore.url, version: 1 },
  })
  const bundle = bundleFromJSON(await signer.signStatement(statement))
  const { identity } = trusting({}).verify(toSignedEntity(bundle))
  t.equal(
    identity?.subjectAlternativeName,
    `https://github.com/acme/reviews/.github/workflows/vouch.yml@refs/heads/main`,
  )
})

t.test('services that fail: nothing is signed, and it is told which', async t => {
  const long = Buffer.alloc(2 * 1024 * 1024, 32)
  const answers: Record<string, (response: ServerResponse) => void> = {
    'an error': r => r.writeHead(500).end(JSON.stringify({ message: `no: ${token()}` })),
    'a redirect': r => r.writeHead(307, { location: sigstore.url }).end(),
    'no JSON': r => r.end('<html>'),
    'other JSON': r =>
      r.end('{"signedCertificateEmbeddedSct":{"chain":{"certificates":["x"]}}}'),
    'too much': r => r.end(long),
    nothing: () => undefined,
    'half of it': r => {
      r.writeHead(200, { 'content-length': '100' }).write('{')
      r.destroy()
    },
  }
  const limits = { timeout: 400, size: 1024 * 1024 }
  const log = { url: sigstore.url, version: 1 } as const
  for (const [what, answer] of Object.entries(answers)) {
    const { url } = await served(answer)
    const signers: Record<string, SignerOptions> = {
      Fulcio: { ...keyless(), fulcio: url, log, limits },
      Rekor: { key, log: { url, version: 1 }, limits },
      'Rekor v2': { key, log: { url, version: 2 }, limits },
      timestamps: { key, timestamps: [url], limits },
    }
    for (const [service, options] of Object.entries(signers)) {
      const work = openSigner(options).signStatement(statement)
      t.equal(await codeOf(work), 'ESIGNSERVICE', `${service}: ${what}`)
      t.notMatch(await messageOf(work), token().split('.')[1] ?? '', 'no token in the message')
      if (what === 'too much') t.match(await messageOf(work), /more than 1048576 bytes/)
      if (what === 'nothing') t.match(await messageOf(work), /no answer within 400 ms/)
    }
  }
})

t.test('a certificate for another key, a timestamp over something else', async t => {
  const other = await openSigner({
    ...keyless(),
    log: { url: sigstore.url, version: 1 },
  }).signStatement(statement)
  const raw = other.verificationMaterial.certificate?.rawBytes ?? ''
  const pem = `-----BEGIN CERTIFICATE-----\n${raw}\n-----END CERTIFICATE-----\n`
  const fulcio = await served(r =>
    r
      .writeHead(201)
      .end(
        JSON.stringify({ signedCertificateEmbeddedSct: { chain: { certificates: [pem] } } }),
      ),
  )
  const log = { url: sigstore.url, version: 1 } as const
  const signer = openSigner({ ...keyless(), fulcio: fulcio.url, log })
  t.equal(await codeOf(signer.signStatement(statement)), 'ESIGNSERVICE')
  const stamped = await openSigner({ key, timestamps: [sigstore.url] }).signStatement(statement)
  const old = stamped.verificationMaterial.timestampVerificationData?.rfc3161Timestamps[0]
  const replayed = await served(r => r.end(Buffer.from(old?.signedTimestamp ?? '', 'base64')))
  const again = openSigner({ key, timestamps: [replayed.url] })
  t.equal(await codeOf(again.signStatement(statement)), 'ESIGNSERVICE')
})

t.test('what Rekor has already is fetched', async t => {
  const first = await served((r, url) =>
    url.endsWith('/entries')
      ? r.writeHead(409, { location: `/api/v1/log/entries/${'ab'.repeat(32)}` }).end()
      : r.end(
          JSON.stringify({
            ab: {
              body: Buffer.from('{"kind":"dsse","apiVersion":"0.0.1"}').toString('base64'),
              integratedTime: 1,
              logID: 'ab',
              logIndex: 7,
              verification: {},
            },
          }),
        ),
  )
  const signer = openSigner({ key, log: { url: first.url, version: 1 } })
  const { verificationMaterial } = await signer.signStatement(statement)
  t.equal(verificationMaterial.tlogEntries[0]?.logIndex, '7')
  t.strictSame(
    first.seen.map(({ url }) => url),
    ['/api/v1/log/entries', `/api/v1/log/entries/${'ab'.repeat(32)}`],
  )
})
