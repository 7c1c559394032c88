/** `attestry verify-bundle`: bundles over any file, by the command line of sigstore's conformance suite. */
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleToJSON } from '@sigstore/bundle'
import {
  DSSEBundleBuilder,
  FulcioSigner,
  MessageSignatureBundleBuilder,
  RekorWitness,
  TSAWitness,
  type Signer,
} from '@sigstore/sign'
import t from 'tap'
import { conformanceCases, corpusFile, noCorpus } from '../support/corpus.ts'
import { localSigstore, oidcToken } from '../support/local-sigstore.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const cwd = t.testdir()
const write = (name: string, content: Buffer | object | string) =>
  writeFile(
    join(cwd, name),
    typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content),
  )
const issuer = 'https://issuer.example'
const email = 'ana@acme.example'
const file = Buffer.from('what was signed\n')
const hash = (data: Buffer, algorithm = 'sha256') =>
  createHash(algorithm).update(data).digest('hex')
const digest = `sha256:${hash(file)}`
await write('root.json', sigstore.trustedRoot)
await write('file', file)
await write('other', 'something else\n')

const fulcio = new FulcioSigner({
  fulcioBaseURL: sigstore.url,
  identityProvider: { getToken: () => Promise.resolve(oidcToken({ iss: issuer, email })) },
})
const keySigner = (privateKey: KeyObject, publicKey: KeyObject): Signer => ({
  sign: data =>
    Promise.resolve({
      signature: sign(
        privateKey.asymmetricKeyType === 'ec' ? 'sha256' : null,
        data,
        privateKey,
      ),
      key: {
        $case: 'publicKey' as const,
        publicKey: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
        hint: 'any',
      },
    }),
})
const v1 = () => new RekorWitness({ rekorBaseURL: sigstore.url, entryType: 'dsse' })
const message = async (signer: Signer = fulcio) =>
  bundleToJSON(
    await new MessageSignatureBundleBuilder({
      signer,
      witnesses: [v1(), new TSAWitness({ tsaBaseURL: sigstore.url })],
    }).create({ data: file }),
  )
const statement = async (subject: unknown, more: object = {}) =>
  bundleToJSON(
    await new DSSEBundleBuilder({ signer: fulcio, witnesses: [v1()] }).create({
      data: Buffer.from(
        JSON.stringify({
          _type: 'https://in-toto.io/Statement/v1',
          predicateType: 'https://acme.example/checked',
          predicate: {},
          subject,
          ...more,
        }),
      ),
      type: 'application/vnd.in-toto+json',
    }),
  )

const by = ['--certificate-identity', email, '--certificate-oidc-issuer', issuer]
const root = ['--trusted-root', 'root.json']
const run = (bundle: string, ...args: string[]) =>
  runCli(['verify-bundle', '--bundle', bundle, ...args], { cwd })

t.test('a signature over a file', async t => {
  await write('message.json', await message())
  const good = await run('message.json', ...by, ...root, 'file')
  t.equal(good.code, 0, good.stderr)
  t.match(good.stdout, /verified: signed by ana@acme\.example \(https:\/\/issuer\.example\)/)
  t.equal((await run('message.json', ...by, ...root, digest)).code, 0, 'its digest')

  const refused: Readonly<Record<string, readonly [args: string[], code: string]>> = {
    'another file': [[...by, ...root, 'other'], 'WRONG_SUBJECT'],
    'another digest': [
      [...by, ...root, `sha256:${hash(Buffer.from('something else\n'))}`],
      'WRONG_SUBJECT',
    ],
    'another root': [[...by, 'file'], 'INVALID_ATTESTATION'],
    'another identity': [
      [...by.with(1, 'xana@acme.example'), ...root, 'file'],
      'INVALID_ATTESTATION',
    ],
    'a part of the identity': [[...by.with(1, 'ana'), ...root, 'file'], 'INVALID_ATTESTATION'],
    'an identity that would match as a pattern': [
      [...by.with(1, 'ana@acme.e.ample'), ...root, 'file'],
      'INVALID_ATTESTATION',
    ],
    'another issuer': [[...by.with(3, `${issuer}/x`), ...root, 'file'], 'INVALID_ATTESTATION'],
  }
  for (const [what, [args, code]] of Object.entries(refused)) {
    const { code: exit, stdout, stderr } = await run('message.json', ...args)
    t.equal(exit, 1, what)
    t.equal(stdout, '', what)
    t.match(stderr, `is refused, ${code}:`, what)
  }
})

t.test('a signature over a digest is verified, not only compared', async t => {
  const other = Buffer.from('something else\n')
  const bundle = (await message()) as { messageSignature: { messageDigest: object } }
  // the log keeps the digest: without its body's agreement this is caught before the signature is
  await write('forged.json', {
    ...bundle,
    messageSignature: {
      ...bundle.messageSignature,
      messageDigest: {
        algorithm: 'SHA2_256',
        digest: createHash('sha256').update(other).digest('base64'),
      },
    },
  })
  t.equal((await run('forged.json', ...by, ...root, `sha256:${hash(other)}`)).code, 1)

  // logged as it is claimed, with a signature over other bytes: only the signature is wrong
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await write('pair.pub', pair.publicKey.export({ format: 'pem', type: 'spki' }).toString())
  const honest = keySigner(pair.privateKey, pair.publicKey)
  const lying: Signer = { sign: () => honest.sign(other) }
  await write('honest.json', await message(honest))
  await write('lying.json', await message(lying))
  const key = ['--key', 'pair.pub', ...root]
  for (const what of ['file', digest]) {
    t.equal((await run('honest.json', ...key, what)).code, 0, what)
    const { code, stderr } = await run('lying.json', ...key, what)
    t.equal(code, 1, what)
    t.match(stderr, /signature verification failed/, what)
  }
})

t.test('keys', async t => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString()
  await write('key.pub', pem(pair.publicKey))
  await write('stranger.pub', pem(stranger.publicKey))
  await write('keyed.json', await message(keySigner(pair.privateKey, pair.publicKey)))
  await write('message.json', await message())
  t.equal((await run('keyed.json', '--key', 'key.pub', ...root, 'file')).code, 0)
  t.equal((await run('keyed.json', '--key', 'stranger.pub', ...root, 'file')).code, 1)
  t.equal((await run('keyed.json', ...by, ...root, 'file')).code, 1, 'no key given')
  t.match(
    (await run('message.json', '--key', 'key.pub', ...root, 'file')).stderr,
    /wanted the key given/,
    'a certificate is no key',
  )
  await write('bad.pub', 'no key')
  t.equal((await run('keyed.json', '--key', 'bad.pub', 'file')).code, 2)
  t.equal((await run('keyed.json', '--key', 'key.pub', ...by, 'file')).code, 2)
})

t.test('a statement about a file', async t => {
  const is = async (subject: unknown, what: string, more?: object) => {
    await write('statement.json', await statement(subject, more))
    const runs = await Promise.all(
      [what, `sha256:${hash(readFileSync(join(cwd, what)))}`].map(about =>
        run('statement.json', ...by, ...root, about),
      ),
    )
    return runs.map(({ code }) => code)
  }
  const sha256 = hash(file)
  const sha512 = hash(file, 'sha512')
  t.strictSame(await is([{ name: 'x', digest: { sha256 } }], 'file'), [0, 0])
  t.strictSame(await is([{ name: 'x', digest: { sha256 } }], 'other'), [1, 1])
  t.strictSame(
    await is([{ digest: { sha256: 'f'.repeat(64) } }, { digest: { sha256 } }], 'file'),
    [0, 0],
    'one of several',
  )
  t.strictSame(await is([{ digest: { sha512 } }], 'file'), [0, 1], 'a digest nobody gave')
  t.strictSame(await is([{ digest: { sha256, sha512: 'f'.repeat(128) } }], 'file'), [1, 0])
  t.strictSame(await is([{ digest: { sha1: hash(file, 'sha1') } }], 'file'), [1, 1], 'sha1')
  t.strictSame(await is([{ digest: {} }], 'file'), [1, 1], 'no digest at all')
  t.strictSame(await is([], 'file'), [1, 1])
  t.strictSame(await is('x', 'file'), [1, 1])
  const other = { _type: 'https://acme.example/Other' }
  t.strictSame(await is([{ digest: { sha256 } }], 'file', other), [1, 1])
})

t.test('what cannot be run', async t => {
  await write('message.json', await message())
  const cases: readonly (readonly [args: string[], message: RegExp])[] = [
    [['message.json', 'file'], /anybody may have signed/],
    [['message.json', '--certificate-identity', email, 'file'], /anybody may have signed/],
    [['message.json', ...by], /wanted one file or digest; found 0/],
    [['message.json', ...by, 'file', 'file'], /found 2/],
    [['message.json', ...by, '--staging', 'file'], /staging root is not shipped/],
    [['message.json', ...by, 'missing'], /ENOENT/],
    [['message.json', ...by, `sha256:${'f'.repeat(63)}`], /ENOENT/],
    [['missing.json', ...by, 'file'], /ENOENT/],
    [['message.json', ...by, '--trusted-root', 'missing.json', 'file'], /ETRUST/],
  ]
  for (const [[bundle = '', ...args], message] of cases) {
    const { code, stderr } = await run(bundle, ...args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, message)
  }
  t.equal((await run('message.json', ...by, ...root, '--staging', 'file')).code, 0)
  const without = await runCli(['verify-bundle', ...by, 'file'], { cwd })
  t.match(without, { code: 2, stderr: /wanted --bundle/ })
  await write('bad.json', '{')
  t.match(await run('bad.json', ...by, 'file'), { code: 1, stderr: /is not JSON/ })
  await write('big.json', Buffer.alloc(5 * 1024 * 1024))
  t.match(await run('big.json', ...by, 'file'), { code: 2, stderr: /at most/ })
  const help = await runCli(['verify-bundle', '--help'], { cwd })
  t.match(help, { code: 0, stdout: /--certificate-identity/ })
})

const skip = noCorpus === false ? {} : { skip: noCorpus }

/** Whose certificates the suite's bundles have, where a case does not say (its test/client.py). */
const beacon =
  'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main'

t.test("sigstore's conformance suite, over files and over digests", skip, async t => {
  const cases = conformanceCases()
  t.ok(cases.length >= 47, `${cases.length} cases`)
  for (const { title, expect, artifact } of cases) {
    const at = (name: string) => corpusFile('conformance', title, name)
    const said = (name: string, otherwise: string) =>
      existsSync(at(name)) ? readFileSync(at(name), 'utf8').trim() : otherwise
    const keyed = existsSync(at('key.pub'))
    const github = 'https://token.actions.githubusercontent.com'
    const signer = keyed
      ? ['--key', at('key.pub')]
      : [
          '--certificate-identity',
          said('identity', beacon),
          '--certificate-oidc-issuer',
          said('issuer', github),
        ]
    const own = existsSync(at('trusted_root.json'))
    const args = [...signer, ...(own ? ['--trusted-root', at('trusted_root.json')] : [])]
    const path = existsSync(at('artifact'))
      ? at('artifact')
      : corpusFile('conformance', 'a.txt')
    for (const about of [path, `sha256:${hash(artifact)}`]) {
      const { code, stderr } = await run(at('bundle.sigstore.json'), ...args, about)
      t.equal(code === 0 ? 'pass' : 'fail', expect, `${title}: ${stderr}`)
    }
    if (expect === 'pass' && !keyed) {
      const wrong = args.with(1, `${said('identity', beacon)}x`)
      t.equal((await run(at('bundle.sigstore.json'), ...wrong, path)).code, 1, title)
    }
  }
})
