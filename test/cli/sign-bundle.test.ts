/** `attestry sign-bundle`: the conformance suite's way to sign, verified by ours and by the library. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t, { type Test } from 'tap'
import { readSigningConfig } from '../../lib/attest/signing-config.ts'
import { localSigstore, oidcToken } from '../support/local-sigstore.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
t.teardown(() => sigstore.close())

const issuer = 'https://accounts.google.com'
const email = 'ana@acme.example'
const token = oidcToken({ iss: issuer, email, aud: 'sigstore' })
const content = 'any file\n'
const start = '2026-01-01T00:00:00Z'

type Service = { url: string; majorApiVersion: number; validFor: object; operator: string }
const service = (over: Partial<Service> = {}): Service => ({
  url: sigstore.url,
  majorApiVersion: 1,
  validFor: { start },
  operator: 'acme',
  ...over,
})
const config = (over: object = {}) => ({
  mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
  caUrls: [service()],
  rekorTlogUrls: [service()],
  rekorTlogConfig: { selector: 'ANY' },
  tsaUrls: [service({ url: `${sigstore.url}/api/v1/timestamp` })],
  tsaConfig: { selector: 'ANY' },
  ...over,
})

const folder = async (t: Test, signing: object = config(), root = sigstore.trustedRoot) => {
  const cwd = t.testdir({
    file: content,
    'root.json': JSON.stringify(root),
    'signing.json': JSON.stringify(signing),
  })
  const sign = (...more: string[]) =>
    runCli(
      [
        'sign-bundle',
        '--identity-token',
        token,
        '--bundle',
        'out.json',
        '--trusted-root',
        'root.json',
        '--signing-config',
        'signing.json',
        ...more,
      ],
      { cwd },
    )
  const bundle = async () =>
    JSON.parse(await readFile(join(cwd, 'out.json'), 'utf8')) as unknown
  return Promise.resolve({ cwd, sign, bundle })
}

t.test('what is signed verifies, on Rekor v1 and v2', async t => {
  for (const version of [1, 2]) {
    const rekorTlogUrls = [service({ majorApiVersion: version })]
    const { cwd, sign, bundle } = await folder(t, config({ rekorTlogUrls }))
    const said = await sign('file')
    t.strictSame(said, { code: 0, stdout: '', stderr: '' })
    const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(sigstore.trustedRoot)))
    const made = bundleFromJSON(await bundle())
    const { identity } = verifier.verify(toSignedEntity(made, Buffer.from(content)))
    t.equal(identity?.subjectAlternativeName, email)
    t.equal(
      made.verificationMaterial.tlogEntries[0]?.kindVersion.version,
      ['0.0.1', '0.0.2'][version - 1],
    )
    const by = ['--certificate-identity', email, '--certificate-oidc-issuer', issuer]
    const verify = (file: string) =>
      runCli(
        ['verify-bundle', '--bundle', 'out.json', ...by, '--trusted-root', 'root.json', file],
        { cwd },
      )
    t.equal((await verify('file')).code, 0)
    await writeFile(join(cwd, 'file'), 'another')
    t.equal((await verify('file')).code, 1)
  }
})

t.test('what does not verify is not written', async t => {
  const other = await localSigstore()
  t.teardown(() => other.close())
  const { sign, bundle } = await folder(t, config(), other.trustedRoot)
  t.match(await sign('file'), { code: 2, stderr: /ESIGNSERVICE/ })
  await t.rejects(bundle(), { code: 'ENOENT' })
})

t.test('what is wrong is told', async t => {
  const { cwd, sign } = await folder(t)
  t.match(await sign(), { code: 2, stderr: /EUSAGE/ })
  t.match(await sign('none'), { code: 2, stderr: /EUSAGE/ })
  t.match(await sign('file', 'more'), { code: 2, stderr: /EUSAGE/ })
  const run = (...argv: string[]) => runCli(['sign-bundle', ...argv], { cwd })
  t.match(await run('--bundle', 'o', 'file'), { code: 2, stderr: /identity-token/ })
  t.match(await run('--identity-token', token, 'file'), { code: 2, stderr: /--bundle/ })
  const wrong = oidcToken({ iss: issuer, email, aud: 'https://bank.example' })
  const said = await run(
    '--identity-token',
    wrong,
    '--bundle',
    'o',
    '--signing-config',
    'signing.json',
    'file',
  )
  t.match(said, { code: 2, stderr: /ESIGNIDENTITY/ })
  t.notMatch(said.stderr, wrong)
  await writeFile(join(cwd, 'signing.json'), '{')
  t.match(await sign('file'), { code: 2, stderr: /EUSAGE/ })
  t.equal((await run('--help')).code, 0)
})

t.test('which services are chosen', async t => {
  const now = new Date('2026-11-26T12:00:00Z')
  const at = (url: string, majorApiVersion: number, validFor: object = { start }) =>
    service({ url: `https://${url}.example`, majorApiVersion, validFor })
  const ended = { start, end: '2026-11-26T11:00:00Z' }
  const later = { start: '2026-12-01T00:00:00Z' }
  const newer = { start: '2026-06-01T00:00:00Z' }
  const read = (over: object) => readSigningConfig(config(over), 'c.json', now)
  const logs = (...rekorTlogUrls: Service[]) => read({ rekorTlogUrls }).log
  t.strictSame(
    logs(at('a', 1, newer), at('b', 2), at('c', 3), at('d', 2, ended), at('e', 2, later)),
    { url: 'https://b.example', version: 2 },
    'the highest interface that is spoken, of those that are valid',
  )
  t.equal(logs(at('a', 1), at('b', 1, newer))?.url, 'https://b.example', 'then the newest')
  t.equal(read({ caUrls: [at('old', 1, ended), at('new', 1)] }).fulcio, 'https://new.example')
  const tsaUrls = [at('a', 1), at('b', 1)]
  t.equal(read({ tsaUrls, tsaConfig: { selector: 'ANY' } }).timestamps.length, 1)
  t.equal(read({ tsaUrls, tsaConfig: { selector: 'ALL' } }).timestamps.length, 2)
  t.equal(read({ tsaUrls, tsaConfig: { selector: 'EXACT', count: 2 } }).timestamps.length, 2)
  t.strictSame(read({ tsaUrls: [], tsaConfig: undefined }).timestamps, [])
  const bad: readonly object[] = [
    { mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.1+json' },
    { caUrls: [] },
    { caUrls: [at('a', 2)] },
    { rekorTlogUrls: [at('a', 1, ended)] },
    { rekorTlogUrls: [at('a', 1), at('b', 1)], rekorTlogConfig: { selector: 'ALL' } },
    { tsaUrls, tsaConfig: { selector: 'EXACT', count: 3 } },
    { tsaUrls, tsaConfig: { selector: 'EXACT', count: 0 } },
    { tsaUrls: 'x' },
  ]
  for (const over of bad) t.throws(() => read(over), { code: 'EUSAGE' }, JSON.stringify(over))
})
