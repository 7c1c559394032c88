/** Verification summaries: what they say, for what they are made, and that anybody can check them. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleFromJSON, type SerializedBundle } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { buildLevelOf } from '../../lib/attest/build-level.ts'
import { loadSettings } from '../../lib/config/settings.ts'
import { AttestryError } from '../../lib/errors.ts'
import { openSummaries } from '../../lib/gate/summaries.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Records } from '../../lib/store/store.ts'
import type { Evidence, Identity } from '../../lib/types.ts'
import { entryOf, packageLock } from '../cli/audit-material.ts'
import { runCli } from '../cli/console.ts'
import type { Json } from '../support/json.ts'
import { localSigstore, oidcToken } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(() => Promise.all([registry.close(), sigstore.close()]))
const built = await registry.publish({
  name: '@acme/built',
  version: '1.0.0',
  provenance: true,
})
const plain = await registry.publish({ name: 'plain', version: '1.0.0-rc.1+build' })
const banned = await registry.publish({ name: 'banned', version: '1.0.0' })
const bent = await registry.publish({ name: 'bent', version: '1.0.0' })
registry.amend('bent', '1.0.0', { tarball: Buffer.concat([bent.tarball, Buffer.of(0)]) })

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'correct horse',
})
const verifierId = 'https://npm.acme.example/verifier'

const policyOf = (more = '') => `version: 1
rules:
  - name: not that one
    packages: [banned]
    deny: { reason: it steals tokens }
${more}`

const open = async (t: Test, signing?: string, options: Partial<ProxyOptions> = {}) => {
  const folder = t.testdir({
    'key.pem': pem,
    'token.jwt': '',
    'v.yaml': policyOf('defaults: { minimumAge: 2h }\n'),
  })
  const key = `key: "${folder}/key.pem", passphrase: correct horse`
  const errors: string[] = []
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: [policyOf()],
    settings: `summaries: { verifier: ${verifierId}, ${signing?.replaceAll('%', folder) ?? key} }`,
    observer: { onError: (what, error) => void errors.push(`${what}: ${String(error)}`) },
    ...options,
  })
  t.teardown(() => proxy.close())
  const get = async (path: string) => {
    const answer = await fetch(new URL(path, proxy.url))
    return { status: answer.status, body: (await answer.json()) as Json }
  }
  const summary = (id: string, view = '') => get(`${view}-/attestry/vsa/${id}`)
  const tarball = async (name: string, version: string) => {
    const file = `${name.split('/').at(-1)}-${version}.tgz`
    return (await fetch(new URL(`${name}/-/${file}`, proxy.url))).status
  }
  const stored = async () => {
    const found = new Map<string, Json>()
    for await (const [id, value] of proxy.store.records.list<Json>('summary'))
      found.set(id, value)
    return found
  }
  return { folder, proxy, errors, get, summary, tarball, stored }
}

/** https://slsa.dev/spec/v1.1/verification_summary and in-toto's Statement v1, with nothing else in them. */
const uri = z.string().refine(text => URL.canParse(text))
const sha256 = z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) })
const schema = z.strictObject({
  _type: z.literal('https://in-toto.io/Statement/v1'),
  subject: z
    .array(
      z.strictObject({
        name: z.string(),
        digest: z.strictObject({ sha512: z.string().regex(/^[0-9a-f]{128}$/) }),
      }),
    )
    .length(1),
  predicateType: z.literal('https://slsa.dev/verification_summary/v1'),
  predicate: z.strictObject({
    verifier: z.strictObject({ id: uri, version: z.record(z.string(), z.string()) }),
    timeVerified: z.iso.datetime(),
    resourceUri: uri,
    policy: z.strictObject({ uri, digest: sha256 }),
    inputAttestations: z.array(z.strictObject({ name: z.string(), uri, digest: sha256 })),
    verificationResult: z.enum(['PASSED', 'FAILED']),
    verifiedLevels: z
      .array(
        z.string().regex(/^(SLSA_BUILD_LEVEL_([0-3]|UNEVALUATED)|FAILED|(?!SLSA_)[A-Z0-9_]+)$/),
      )
      .nonempty(),
    slsaVersion: z.string().regex(/^\d+\.\d+$/),
  }),
})

const keyHint = `SHA256:${createHash('sha256')
  .update(publicKey.export({ type: 'spki', format: 'der' }))
  .digest('base64')
  .replace('=', '')}`

/** The library alone, trusting one key, or the local sigstore. Throws unless the bundle verifies. */
const signedBy = (bundle: object, keyless = false) => {
  const threshold = keyless ? 1 : 0
  const verifier = new Verifier(
    toTrustMaterial(TrustedRoot.fromJSON(sigstore.trustedRoot), hint => {
      if (hint !== keyHint) throw new Error(`no key ${hint}`)
      return { publicKey, validFor: () => true }
    }),
    { tlogThreshold: threshold, ctlogThreshold: threshold, timestampThreshold: threshold },
  )
  const parsed = bundle as SerializedBundle
  const { identity } = verifier.verify(toSignedEntity(bundleFromJSON(parsed)))
  const payload = Buffer.from(parsed.dsseEnvelope?.payload ?? '', 'base64').toString('utf8')
  return { identity, statement: schema.parse(JSON.parse(payload)) }
}

/** The steps of "How to verify" in the specification, by somebody who has the tarball and the key. */
const check = (bundle: object, tarball: Uint8Array, purl: string, level: string) => {
  const { statement } = signedBy(bundle)
  const { subject, predicate } = statement
  const found = [
    subject[0]?.digest.sha512 === createHash('sha512').update(tarball).digest('hex'),
    predicate.verifier.id === verifierId,
    predicate.resourceUri === purl,
    predicate.verificationResult === 'PASSED',
    predicate.verifiedLevels.includes(level),
  ]
  return found.every(Boolean) ? 'holds' : JSON.stringify([found, statement])
}

t.test('made behind an admission, kept, and right', async t => {
  const { proxy, summary, tarball, stored, get, errors } = await open(t)
  t.equal(await tarball('@acme/built', '1.0.0'), 200)
  await proxy.gate.idle()
  t.same([...(await stored()).keys()], ['@acme/built@1.0.0'])
  t.same(errors, [])
  const { status, body } = await summary('@acme/built@1.0.0')
  t.equal(status, 200)
  const purl = 'pkg:npm/%40acme/built@1.0.0'
  t.equal(check(body, built.tarball, purl, 'SLSA_BUILD_LEVEL_2'), 'holds')
  const { statement } = signedBy(body)
  t.match(statement.predicate.policy.digest, { sha256: proxy.gate.policyDigest })

  t.test('every attestation that was used, by the digest of its bundle', async t => {
    const { inputAttestations } = statement.predicate
    t.equal(inputAttestations.length, 2)
    for (const { name, uri: at, digest } of inputAttestations) {
      const document = (await get(new URL(at).pathname)).body as { attestations: Json[] }
      const entry = document.attestations.find(one => one['predicateType'] === name)
      const text = JSON.stringify(entry?.['bundle'])
      t.equal(createHash('sha256').update(text).digest('hex'), digest.sha256, name)
    }
  })

  t.test('the attestations for clients are as the upstream gave them', async t => {
    const { body: document } = await get('-/npm/v1/attestations/@acme/built@1.0.0')
    t.equal((document['attestations'] as Json[]).length, 2)
  })

  t.test('one that nobody asked the bytes of brings them', async t => {
    const answer = await summary('plain@1.0.0-rc.1+build')
    t.equal(answer.status, 200)
    const wanted = 'pkg:npm/plain@1.0.0-rc.1%2Bbuild'
    t.equal(check(answer.body, plain.tarball, wanted, 'SLSA_BUILD_LEVEL_UNEVALUATED'), 'holds')
    t.same(signedBy(answer.body).statement.predicate.inputAttestations, [])
  })

  t.test('the same until the policy is another', async t => {
    t.same((await summary('@acme/built@1.0.0')).body, body, 'not signed again')
    const file = 'p.yaml'
    proxy.gate.adopt([
      parsePolicy(policyOf('defaults: { minimumAge: 1h }\n'), { file, name: file }),
    ])
    const after = signedBy((await summary('@acme/built@1.0.0')).body).statement.predicate
    t.equal(after.policy.digest.sha256, proxy.gate.policyDigest)
    t.not(after.policy.digest.sha256, statement.predicate.policy.digest.sha256)
    t.not(after.policy.uri, statement.predicate.policy.uri)

    const strict = policyOf('defaults: { require: { provenance: required } }\n')
    proxy.gate.adopt([parsePolicy(strict, { file, name: file })])
    t.equal((await summary('plain@1.0.0-rc.1+build')).status, 403, 'what is kept is not given')
    t.equal((await summary('@acme/built@1.0.0')).status, 200)
  })

  t.test('one character of it changed', async t => {
    const bundle = structuredClone(body) as { dsseEnvelope: { payload: string } }
    const text = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString('utf8')
    const forged = text.replace('SLSA_BUILD_LEVEL_2', 'SLSA_BUILD_LEVEL_3')
    bundle.dsseEnvelope.payload = Buffer.from(forged).toString('base64')
    t.throws(() => signedBy(bundle))
    t.not(check(body, plain.tarball, purl, 'SLSA_BUILD_LEVEL_2'), 'holds')
    t.end()
  })
})

t.test('for what there is none', async t => {
  const { summary, stored, tarball, proxy } = await open(t)
  t.match(await summary('banned@1.0.0'), { status: 403, body: { code: 'EREFUSED' } })
  t.match(await summary('bent@1.0.0'), {
    status: 403,
    body: { reasons: [{ code: 'INTEGRITY_MISMATCH' }] },
  })
  t.match(await summary('nobody@1.0.0'), { status: 404 })
  t.equal(await tarball('banned', '1.0.0'), 403)
  await proxy.gate.idle()
  t.same((await stored()).size, 0)

  t.test('let through by observe mode only', async t => {
    const policies = [policyOf().replace('version: 1', 'version: 1\nmode: observe')]
    const { summary, stored, tarball, proxy } = await open(t, undefined, { policies })
    t.equal(await tarball('banned', '1.0.0'), 200)
    await proxy.gate.idle()
    t.same((await stored()).size, 0)
    t.match(await summary('banned@1.0.0'), { status: 404, body: { error: /observe mode/ } })
    t.equal((await summary('plain@1.0.0-rc.1+build')).status, 200)
  })

  t.test('not configured', async t => {
    const { summary } = await open(t, undefined, { settings: '' })
    t.match(await summary('plain@1.0.0-rc.1+build'), {
      status: 404,
      body: { code: 'ENOTFOUND' },
    })
  })
})

t.test('the list of attestations is complete, or not there', async t => {
  const absent = { state: 'absent' } as const
  const evidence = {
    package: { name: 'plain', version: '1.0.0' },
    integrity: plain.integrity,
    registrySignature: absent,
    publishAttestation: absent,
    provenance: absent,
    trust: 't',
  }
  const summaries = openSummaries({
    store: {
      records: {
        get: () => Promise.resolve(undefined),
        put: () => Promise.resolve(),
      } as unknown as Records,
    },
    documents: undefined as never,
    terms: {
      verifier: verifierId,
      version: '1',
      signer: { signStatement: statement => Promise.resolve(statement as SerializedBundle) },
    },
    view: undefined,
    publicUrl: 'http://proxy.example/',
    now: () => new Date(),
  })
  const of = async (vouches?: Evidence['vouches']) => {
    const all = { ...evidence, ...(vouches && { vouches }) }
    const statement = (await summaries.of(evidence.package, all, 'ab')) as { predicate: Json }
    return statement.predicate['inputAttestations'] as unknown
  }
  t.same(await of(), [])
  t.same(await of([absent]), [])
  const verified = [{ state: 'verified' }] as unknown as Evidence['vouches']
  t.equal(await of(verified), undefined)
})

t.test('a view has its own', async t => {
  const views = '}\nviews: { mobile: { policies: ["%/v.yaml"] }'
  const { summary } = await open(t, `key: "%/key.pem", passphrase: correct horse ${views}`)
  const [all, mobile] = [
    (await summary('@acme/built@1.0.0')).body,
    (await summary('@acme/built@1.0.0', 'v/mobile/')).body,
  ].map(bundle => signedBy(bundle).statement.predicate)
  t.ok(all && mobile)
  t.not(all?.policy.digest.sha256, mobile?.policy.digest.sha256)
  const [once, again] = [await summary('@acme/built@1.0.0'), await summary('@acme/built@1.0.0')]
  t.same(once, again, 'one does not replace the other')
})

t.test('keyless, in a log', async t => {
  const signing = `fulcio: "${sigstore.url}", rekor: "${sigstore.url}", identityToken: "%/token.jwt"`
  const { folder, summary, tarball, proxy, errors } = await open(t, signing)
  t.equal(await tarball('@acme/built', '1.0.0'), 200, 'what cannot be signed is served')
  await proxy.gate.idle()
  t.match(errors, [/^summary .*@acme\/built@1\.0\.0: .*identity token/])
  t.match(await summary('@acme/built@1.0.0'), { body: { code: 'ESIGNIDENTITY' } })

  const claims = {
    iss: 'https://accounts.google.com',
    email: 'npm@acme.example',
    aud: 'sigstore',
  }
  await writeFile(join(folder, 'token.jwt'), `${oidcToken(claims)}\n`)
  const { status, body } = await summary('@acme/built@1.0.0')
  t.equal(status, 200)
  const { identity, statement } = signedBy(body, true)
  t.equal(identity?.subjectAlternativeName, 'npm@acme.example')
  t.equal(statement.predicate.verificationResult, 'PASSED')
})

t.test('attestry audit --vsa', async t => {
  const { folder, proxy } = await open(t)
  const lock = (...published: Parameters<typeof entryOf>[0][]) =>
    packageLock(
      Object.fromEntries(published.map(one => [`node_modules/${one.name}`, entryOf(one)])),
    )
  const audit = async (text: string, ...argv: string[]) => {
    await writeFile(join(folder, 'package-lock.json'), text)
    const config = join(proxy.folder, 'attestry.yaml')
    return runCli(['audit', '--config', config, ...argv], { cwd: folder })
  }
  const good = lock(built, plain)
  t.match(await audit(good, '--vsa=all.jsonl'), { code: 0 })
  const lines = (await readFile(join(folder, 'all.jsonl'), 'utf8')).trim().split('\n')
  const purls = lines.map(
    line => signedBy(JSON.parse(line) as object).statement.predicate.resourceUri,
  )
  t.same(purls, ['pkg:npm/%40acme/built@1.0.0', 'pkg:npm/plain@1.0.0-rc.1%2Bbuild'])

  t.match(await audit(good, '--vsa=out/'), { code: 0 })
  const files = (await readdir(join(folder, 'out'))).sort()
  t.same(files, ['@acme+built@1.0.0.vsa.json', 'plain@1.0.0-rc.1+build.vsa.json'])
  const one = await readFile(join(folder, 'out', files[0] ?? ''), 'utf8')
  t.same(JSON.parse(one), JSON.parse(lines[0] ?? ''), 'the one that is kept')

  // the audit by evidence alone would not have seen the bytes
  t.match(await audit(lock(bent)), { code: 0 })
  t.match(await audit(lock(bent, built), '--vsa=bent.jsonl'), {
    code: 1,
    stdout: /INTEGRITY_MISMATCH/,
  })
  const left = (await readFile(join(folder, 'bent.jsonl'), 'utf8')).trim().split('\n')
  t.equal(left.length, 1, 'what passed is there')
  t.match(await audit(lock(banned), '--vsa=none.jsonl'), { code: 1 })
  t.equal(await readFile(join(folder, 'none.jsonl'), 'utf8'), '')
  t.match(await audit(good, '--vsa=no/such/file'), { code: 2, stderr: /--vsa: .*ENOENT/ })
  t.match(await audit(good, '--vsa=x', '--offline'), { code: 2, stderr: /--offline/ })
  const bare = await open(t, undefined, { settings: '' })
  const config = join(bare.proxy.folder, 'attestry.yaml')
  const said = await runCli(['audit', '-c', config, '--vsa=x'], { cwd: folder })
  t.match(said, { code: 2 })
})

t.test('levels: only what is proven', t => {
  const github = 'https://token.actions.githubusercontent.com'
  const generator = 'https://github.com/slsa-framework/slsa-github-generator/.github/workflows'
  const levelOf = (identity: Partial<Identity>) =>
    buildLevelOf({
      provenance: {
        state: 'verified',
        predicateType: 'https://slsa.dev/provenance/v1',
        buildType: 'x',
        builderId: 'x',
        identity: { issuer: github, subject: 'x', subjectType: 'uri', ...identity },
      },
    })
  const hosted = { runner: 'github-hosted' }
  const at = (signer: string) => levelOf({ ...hosted, signer })
  t.equal(levelOf(hosted), 'SLSA_BUILD_LEVEL_2')
  t.equal(
    levelOf({ issuer: 'https://gitlab.com', runner: 'gitlab-hosted' }),
    'SLSA_BUILD_LEVEL_2',
  )
  t.equal(at(`${generator}/builder_nodejs_slsa3.yml@refs/tags/v2.1.0`), 'SLSA_BUILD_LEVEL_3')
  t.equal(
    at('https://github.com/acme/x/.github/workflows/r.yml@refs/heads/main'),
    'SLSA_BUILD_LEVEL_2',
  )
  for (const signer of [
    `${generator}/builder_nodejs_slsa3.yml@refs/heads/main`,
    `${generator}/builder_nodejs_slsa3.yml@refs/tags/v2.1.0-rc.1`,
    `${generator}/pre-submit.yml@refs/tags/v2.1.0`,
    `${generator.replace('slsa-framework', 'slsa-framework-x')}/builder_nodejs_slsa3.yml@refs/tags/v2.1.0`,
    `x${generator}/builder_nodejs_slsa3.yml@refs/tags/v2.1.0`,
  ])
    t.equal(at(signer), 'SLSA_BUILD_LEVEL_2', signer)
  const reused = { signer: `${generator}/builder_nodejs_slsa3.yml@refs/tags/v2.1.0` }
  for (const runner of ['self-hosted', 'gitlab-hosted', undefined])
    t.equal(
      levelOf({ ...reused, ...(runner && { runner }) }),
      'SLSA_BUILD_LEVEL_1',
      `${runner}`,
    )
  t.equal(levelOf({ ...hosted, issuer: 'https://ci.acme.example' }), 'SLSA_BUILD_LEVEL_1')
  for (const state of ['absent', 'unavailable'] as const)
    t.equal(buildLevelOf({ provenance: { state, detail: '' } }), 'SLSA_BUILD_LEVEL_UNEVALUATED')
  const invalid = { state: 'invalid', code: 'INVALID_ATTESTATION', detail: '' } as const
  t.equal(buildLevelOf({ provenance: invalid }), 'SLSA_BUILD_LEVEL_UNEVALUATED')
  t.end()
})

t.test('settings that do not go together', async t => {
  const file = join(t.testdir({ 'k.pem': '', 'token.jwt': '' }), 'attestry.yaml')
  const load = () => loadSettings({ file, env: {}, cwd: '.' })
  for (const [lines, line, said] of [
    ['verifier: https://v.example', 2, /either key or fulcio/],
    ['verifier: v.example', 2, /URI/],
    ['verifier: https://v.example/', 2, /slash/],
    ['key: a.pem\n  verifier: u:v\n  fulcio: https://f.example', 4, /either key or fulcio/],
    ['verifier: u:v\n  fulcio: https://f.example', 3, /identityToken together/],
    ['verifier: u:v\n  fulcio: https://f.example\n  identityToken: i', 3, /rekor with it/],
    ['verifier: u:v\n  key: k\n  rekor: ftp://r.example', 4, /http or https/],
  ] as const) {
    await writeFile(file, `summaries:\n  ${lines}\n`)
    const error = await load().catch((thrown: unknown) => thrown as AttestryError)
    const complaints = (error instanceof AttestryError ? error.details['complaints'] : []) as {
      readonly line: number
      readonly message: string
    }[]
    t.ok(
      complaints.some(found => found.line === line && said.test(found.message)),
      `${lines}: ${JSON.stringify(complaints)}`,
    )
  }
  await writeFile(
    file,
    'upstreams:\n  npm: {}\n  a: { url: "https://a.example", evidenceFrom: npm, signing: { keys: k } }\n',
  )
  await t.rejects(load(), { code: 'ECONFIG', message: /attestry\.yaml:3:.*sign there/ })
  await writeFile(file, 'summaries: { verifier: "u:v", key: ./k.pem, passphrase: horse }\n')
  const { summaries } = await load()
  t.equal(summaries?.passphrase?.reveal(), 'horse')
  t.notMatch(JSON.stringify(summaries), /horse/)
})
