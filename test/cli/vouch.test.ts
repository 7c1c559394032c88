/** `attestry vouch` from the looking to the installing, alone and together with other sigstore clients. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundleToJSON } from '@sigstore/bundle'
import { DSSEBundleBuilder, FulcioSigner, RekorWitness, TSAWitness } from '@sigstore/sign'
import { verify as sigstoreVerify, type Bundle } from 'sigstore'
import t, { type Test } from 'tap'
import { signingKeyOf } from '../../lib/attest/signing-key.ts'
import { vouchStatement } from '../../lib/evidence/vouch.ts'
import { findNpm, npmInstall } from '../demo/npm.ts'
import { localSigstore, oidcToken } from '../support/local-sigstore.ts'
import { startProxy, writeSettings, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { runCli, type ConsoleOptions } from './console.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const google = 'https://accounts.google.com'
const security = 'security@acme.example'
const admin = 'admin-token-of-this-test'
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { keyId } = signingKeyOf(privateKey)
const passphrase = 'correct horse'
const token = oidcToken({ iss: google, email: security, aud: 'sigstore' })
const SIGNED = ['--fulcio', sigstore.url, '--rekor', sigstore.url]

const policy = `version: 1
identities:
  team: { issuer: '${google}', subject: '${security}' }
  key: { key: ./vouch.pub }
rules:
  - name: reviewed
    packages: ['*']
    require: { anyOf: [{ provenance: any }, { vouch: [team, key] }] }
`
const base: ProxyOptions = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  policies: [policy],
}
const pem = { format: 'pem', type: 'spki' } as const

/** A folder with settings, a policy and keys, and commands run in it. */
const siteAt = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const cwd = await mkdtemp(join(tmpdir(), 'attestry-vouch-'))
  t.teardown(() => rm(cwd, { recursive: true, force: true }))
  const storage = join(cwd, 'store')
  await Promise.all([
    writeFile(join(cwd, 'vouch.pub'), publicKey.export(pem)),
    writeFile(
      join(cwd, 'vouch.key'),
      privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase }),
    ),
    writeFile(join(cwd, 'token'), `${token}\n`),
  ])
  const file = await writeSettings(cwd, { ...base, ...options, storage })
  const run = (argv: readonly string[], more: Partial<ConsoleOptions> = {}) =>
    runCli(argv, { cwd, env: { SIGNING_PASSPHRASE: passphrase }, ...more })
  return {
    cwd,
    storage,
    file,
    run,
    vouch: (...argv: string[]) => run(['vouch', ...argv]),
    json: async (...argv: string[]) => {
      const said = await run(['vouch', ...argv, '--json'])
      if (said.code !== 0) throw new Error(said.stderr)
      return JSON.parse(said.stdout) as Record<string, unknown>
    },
    audit: async (spec: string) => (await run(['why', spec, '--json'])).code,
  }
}

const unsigned = async (name: string, version = '1.0.0') => {
  const published = await registry.publish({ name, version, signed: false })
  return { ...published, spec: `${name}@${version}` }
}

const npm = findNpm(process.env)

t.test('refused, vouched for, installed; taken back, refused', async t => {
  const site = await siteAt(t)
  // the policy names its key by a path beside it
  const proxy = await startProxy({
    ...base,
    policies: [policy.replace('./vouch.pub', join(site.cwd, 'vouch.pub'))],
    storage: site.storage,
    settings: 'cache: { packumentTtl: 0s }',
  })
  t.teardown(() => proxy.close())
  const { spec } = await unsigned('legacy-lib')
  await unsigned('legacy-lib', '1.0.1')
  const install = async (what: string, wanted: readonly string[]) => {
    if (npm === undefined) return
    // the server learns of it within a second
    let installed: readonly string[] = []
    for (let tries = 0; tries < 4; tries++) {
      installed = (await npmInstall(npm, proxy.url, what)).installed
      if (installed.join() === wanted.join()) break
    }
    t.strictSame(installed, wanted, what)
  }
  if (npm === undefined) t.comment('skipped: there is no npm on this machine to install with')
  await install(spec, [])
  const said = await site.vouch(spec, '--reason', 'read it all', '--key', 'vouch.key')
  t.equal(said.code, 0, said.stderr)
  t.match(said.stdout, `${spec} is vouched for by key ${keyId}, kept in the store.`)
  t.match(said.stderr, /"reason": "read it all"/, 'what is signed is shown')
  await install(spec, [spec])
  await install('legacy-lib@1.0.1', [])
  const back = await site.vouch('revoke', spec, '--reason', 'it was not all', '--by', 'ana')
  t.equal(back.code, 0, back.stderr)
  await install(spec, [])
  t.match(await site.json('list'), {
    vouches: [
      {
        state: 'revoked',
        package: { name: 'legacy-lib', version: '1.0.0' },
        revoked: { reason: 'it was not all', by: 'ana' },
        fact: { said: { reason: 'read it all' } },
      },
    ],
  })
})

t.test('keys: a passphrase from the environment, a file, or asked for', async t => {
  const site = await siteAt(t)
  const { spec } = await unsigned('passphrases')
  const argv = [
    'vouch',
    spec,
    '--reason',
    'x',
    '--key',
    'vouch.key',
    '--no-store',
    '-o',
    'o.json',
  ]
  t.equal((await site.run(argv, { env: { COSIGN_PASSWORD: passphrase } })).code, 0)
  await writeFile(join(site.cwd, 'secret'), `${passphrase}\nmore\n`)
  t.equal((await site.run([...argv, '--passphrase-file', 'secret'], { env: {} })).code, 0)
  t.match(await site.run(argv, { env: {} }), { code: 2, stderr: /ESIGNKEY/ })
  t.match(await site.run(argv, { env: { SIGNING_PASSPHRASE: 'no' } }), { stderr: /ESIGNKEY/ })
  const asked: string[] = []
  const answer = async (question: string, { hidden = false } = {}) => {
    asked.push(question)
    return Promise.resolve(hidden ? passphrase : 'y')
  }
  t.equal((await site.run(argv, { env: {}, ask: answer })).code, 0)
  t.match(asked, [/^Passphrase of vouch\.key/, /^Sign it\?/])
  t.match(await site.json('list'), { vouches: [] }, 'it was kept nowhere')
})

t.test('at a terminal nothing is signed before somebody says yes', async t => {
  const site = await siteAt(t)
  const { spec, integrity } = await unsigned('asked')
  const argv = ['vouch', spec, '--reason', 'read', '--key', 'vouch.key', '--expires', '30d']
  for (const answer of ['', 'n', 'no', 'yess']) {
    const said = await site.run(argv, { ask: () => Promise.resolve(answer) })
    t.match(said, { code: 1, stdout: '', stderr: /Nothing was signed/ }, answer)
    const hex = Buffer.from(integrity.slice(7), 'base64').toString('hex')
    t.match(said.stderr, hex, 'the digest is shown')
  }
  t.match(await site.json('list'), { vouches: [] })
  const yes = await site.run(argv, { ask: () => Promise.resolve('Yes') })
  t.equal(yes.code, 0, yes.stderr)
  t.match(await site.json('list'), { vouches: [{ state: 'holds' }] })
})

t.test("ours is verified by sigstore's own client", async t => {
  const site = await siteAt(t)
  const { spec } = await unsigned('outward')
  const keyless = ['--identity-token-file', 'token', '--tsa', sigstore.url, '--out', 'b.json']
  for (const version of ['1', '2']) {
    const said = await site.run([
      'vouch',
      spec,
      '--reason',
      `Rekor ${version}`,
      '--rekor-version',
      version,
      ...SIGNED,
      ...keyless,
    ])
    t.equal(said.code, 0, said.stderr)
    const bundle = JSON.parse(await readFile(join(site.cwd, 'b.json'), 'utf8')) as Bundle
    const { mirror, root } = await sigstore.tuf({ 'keys.json': '{}' })
    const tufRootPath = join(site.cwd, 'root.json')
    await writeFile(tufRootPath, JSON.stringify(root))
    const verify = (one: Bundle, email = security) =>
      sigstoreVerify(one, {
        tufMirrorURL: mirror,
        tufRootPath,
        tufCachePath: join(site.cwd, `cache${version}`),
        certificateIssuer: google,
        certificateIdentityEmail: `^${email.replaceAll('.', '\\.')}$`,
      })
    const seen = await verify(bundle)
    t.equal(seen.identity?.subjectAlternativeName, security)
    await t.rejects(verify(bundle, 'mallory@acme.example'))
    const forged = structuredClone(bundle) as { dsseEnvelope: { payload: string } }
    forged.dsseEnvelope.payload = Buffer.from('{}').toString('base64')
    await t.rejects(verify(forged as unknown as Bundle))
  }
})

t.test("another client's is taken in, and admits", async t => {
  const site = await siteAt(t)
  const { spec, integrity } = await unsigned('inward')
  const statement = vouchStatement({ name: 'inward', version: '1.0.0' }, integrity, {
    reason: 'made elsewhere',
    vouchedAt: new Date().toISOString(),
  })
  const make = async (email: string) => {
    const builder = new DSSEBundleBuilder({
      signer: new FulcioSigner({
        fulcioBaseURL: sigstore.url,
        identityProvider: {
          getToken: () => Promise.resolve(oidcToken({ iss: google, email, aud: 'sigstore' })),
        },
      }),
      witnesses: [
        new RekorWitness({ rekorBaseURL: sigstore.url, entryType: 'dsse' }),
        new TSAWitness({ tsaBaseURL: sigstore.url }),
      ],
    })
    const data = Buffer.from(JSON.stringify(statement))
    const bundle = await builder.create({ data, type: 'application/vnd.in-toto+json' })
    await writeFile(join(site.cwd, 'foreign.json'), JSON.stringify(bundleToJSON(bundle)))
  }
  await make('mallory@acme.example')
  t.equal((await site.vouch('import', 'foreign.json')).code, 0)
  t.equal(await site.audit(spec), 1, 'it is kept, and is not of anybody named')
  await make(security)
  const said = await site.vouch('import', 'foreign.json')
  t.match(said, { code: 0, stdout: /inward@1\.0\.0 is vouched for by security@acme/ })
  t.equal(await site.audit(spec), 0)
  await writeFile(join(site.cwd, 'broken.json'), '{')
  t.match(await site.vouch('import', 'broken.json'), { code: 2, stderr: /EVOUCH/ })
})

t.test('a running server takes it from an operator', async t => {
  const site = await siteAt(t)
  const proxy = await startProxy({
    ...base,
    policies: [],
    settings: `server: { adminToken: ${admin} }`,
  })
  t.teardown(() => proxy.close())
  const { spec } = await unsigned('remote')
  const argv = ['vouch', spec, '--reason', 'x', '--key', 'vouch.key', '--server', proxy.url]
  const as = (secret: string) => ({
    env: { SIGNING_PASSPHRASE: passphrase, ATTESTRY_SERVER_ADMIN_TOKEN: secret },
  })
  t.match(await site.run(argv), { code: 2, stderr: /EUSAGE/ })
  t.match(await site.run(argv, as('wrong')), { code: 2, stderr: /EUNAUTHORIZED/ })
  const said = await site.run(argv, as(admin))
  t.equal(said.code, 0, said.stderr)
  t.match(await proxy.gate.vouching.list(), [{ package: { name: 'remote' } }])
  t.match(await site.json('list'), { vouches: [] }, 'it is kept there and not here')
  const revoke = ['vouch', 'revoke', spec, '--reason', 'y', '--server', proxy.url]
  t.equal((await site.run(revoke, as(admin))).code, 0)
  t.match(await proxy.gate.vouching.list(), [{ revoked: { reason: 'y' } }])
})

t.test('what is looked at before signing', async t => {
  const site = await siteAt(t)
  const { spec, tarball } = await unsigned('looked-at')
  await writeFile(join(site.cwd, 'same.tgz'), tarball)
  await writeFile(join(site.cwd, 'other.tgz'), (await unsigned('other')).tarball)
  const by = ['--reason', 'x', '--key', 'vouch.key']
  const ok = await site.json(spec, ...by, '--tarball', 'same.tgz', '--by', 'Ana')
  t.match(ok, { vouch: { said: { by: 'Ana' }, signer: { kind: 'key', keyId } } })
  t.match(await site.vouch(spec, ...by, '--tarball', 'other.tgz'), { stderr: /EVOUCH/ })
  await registry.publish({
    name: 'forged',
    version: '1.0.0',
    signed: [sigstore.signRegistry('forged', '2.0.0', 'sha512-AA==')],
  })
  const forged = await site.vouch('forged@1.0.0', ...by)
  t.match(forged, { code: 2, stderr: /INVALID_SIGNATURE[^]*EVOUCH/ })
  await registry.publish({ name: 'old', version: '1.0.0', signed: false, integrity: undefined })
  t.match(await site.vouch('old@1.0.0', ...by), { stderr: /wanted --tarball/ })

  const wrong: readonly (readonly string[])[] = [
    [],
    [spec],
    [spec, '--reason', ' ', '--key', 'vouch.key'],
    [spec, '--reason', 'x'],
    [spec, ...by, '--fulcio', sigstore.url],
    [spec, '--reason', 'x', '--fulcio', sigstore.url],
    [spec, ...by, '--rekor-version', '3', '--rekor', sigstore.url],
    [spec, ...by, '--expires', 'soon'],
    [spec, ...by, '--expires', '2020-01-01'],
    [spec, ...by, '--no-store'],
    ['looked-at', ...by],
    ['revoke', spec],
    ['revoke', spec, '--reason', 'x', '--vouch', 'zz'],
    ['revoke', spec, '--reason', 'x', '--vouch', 'abcdef0123'],
    ['import'],
  ]
  for (const argv of wrong)
    t.match(await site.vouch(...argv), { code: 2, stderr: /EUSAGE/ }, argv.join(' '))
  const none = await site.vouch(spec, '--reason', 'x', ...SIGNED)
  t.match(none, { code: 2, stderr: /ESIGNIDENTITY/ })
})

t.test('vouches and revocations travel with the store, and are verified again', async t => {
  const site = await siteAt(t)
  const kept = await unsigned('travels')
  const gone = await unsigned('travels', '1.1.0')
  const by = ['--reason', 'x', '--key', 'vouch.key']
  await site.json(kept.spec, ...by)
  await site.json(gone.spec, ...by, '--out', 'gone.json')
  const proxy = await startProxy({ ...base, policies: [], storage: site.storage })
  for (const version of ['1.0.0', '1.1.0'])
    await (await fetch(`${proxy.url}travels/-/travels-${version}.tgz`)).arrayBuffer()
  await proxy.close()
  t.equal((await site.vouch('revoke', gone.spec, '--reason', 'no')).code, 0)
  const exported = await site.run(['store', 'export', 'site.tar', '--json'])
  t.match(JSON.parse(exported.stdout), { tarballs: 2, vouches: 2 })

  const offline = { upstream: 'http://127.0.0.1:9/', settings: 'cache: { offline: true }' }
  const there = await siteAt(t, offline)
  // it was there before the revocation came
  const from = join(site.cwd, 'gone.json')
  const early = await there.vouch('import', from, '--public-key', 'vouch.pub')
  t.equal(early.code, 0, early.stderr)
  const imported = await there.run(['store', 'import', join(site.cwd, 'site.tar'), '--json'])
  t.match(JSON.parse(imported.stdout), { admitted: 1, refused: 1, failed: 0 })
  const states = (await there.json('list')) as { vouches: { state: string }[] }
  t.strictSame(states.vouches.map(({ state }) => state).sort(), ['holds', 'revoked'])
  t.equal(await there.audit(kept.spec), 0)
  t.equal(await there.audit(gone.spec), 1, 'what was taken back there is taken back here')

  // a site with other roots takes none of what a certificate signed
  const other = await localSigstore()
  t.teardown(() => other.close())
  const keyless = await unsigned('keyless-travels')
  await site.json(keyless.spec, '--reason', 'x', ...SIGNED, '--identity-token-file', 'token')
  t.equal((await site.run(['store', 'export', 'more.tar'])).code, 0)
  const elsewhere = await siteAt(t, { ...offline, trustedRoot: other.trustedRoot })
  const refused = await elsewhere.run(['store', 'import', join(site.cwd, 'more.tar'), '--json'])
  t.match((JSON.parse(refused.stdout) as { notAdmitted: object[] }).notAdmitted, [
    { id: 'a vouch for keyless-travels@1.0.0', outcome: 'refused', why: /EVOUCH/ },
  ])
})

t.test('list', async t => {
  const site = await siteAt(t)
  t.equal((await site.vouch('list')).stdout, 'There are no vouches.\n')
  const { spec } = await unsigned('listed')
  const made = await site.json(spec, '--reason', 'two\nlines', '--key', 'vouch.key')
  const { id } = made['vouch'] as { id: string }
  const said = await site.vouch('list', 'listed')
  t.match(
    said.stdout,
    new RegExp(`^PACKAGE .*\\n${spec} +holds +${id.slice(0, 12)} .*two lines`),
  )
  t.equal((await site.vouch('list', 'another')).stdout, 'There are no vouches.\n')
  t.equal(
    (await site.vouch('revoke', spec, '--reason', 'x', '--vouch', id.slice(0, 10))).code,
    0,
  )
  t.match((await site.vouch('list')).stdout, /revoked: x/)
})
