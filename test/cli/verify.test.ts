/** `attestry verify`: tarballs on disk, judged by files alone or with the upstream's help. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { corpusFile, corpusPackages, noCorpus } from '../support/corpus.ts'
import { localSigstore, type Attestation } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { packTarball, startRegistry } from '../support/registry.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const cwd = t.testdir()
const at = (name: string) => join(cwd, name)
const write = async (name: string, content: Buffer | object | string) => {
  const data =
    typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content)
  await writeFile(at(name), data)
  return name
}
await writeSettings(cwd, {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  upstreamSettings: ['retries: 0'],
})
await write('root.json', sigstore.trustedRoot)
await write('keys.json', sigstore.registryKeys())
await write(
  'acme.policy.yaml',
  `version: 1
identities:
  acme: { issuer: 'https://token.actions.githubusercontent.com', repository: https://github.com/acme/widget, trigger: push }
defaults: { require: { provenance: acme } }
`,
)
await write(
  'tools.policy.yaml',
  `version: 1
identities:
  tools: { issuer: 'https://token.actions.githubusercontent.com', repository: https://github.com/acme/tools, trigger: push }
defaults: { require: { provenance: tools, registrySignature: ignore } }
`,
)

const honest = await registry.publish({ name: 'widget', version: '1.0.0', provenance: true })
const other = await registry.publish({ name: 'widget', version: '1.1.0', provenance: true })
const unsigned = await registry.publish({ name: 'plain', version: '1.0.0', signed: false })
const [publish, provenance] = honest.attestations as [Attestation, Attestation]
await write('widget.tgz', honest.tarball)
await write('other.tgz', other.tarball)
await write('plain.tgz', unsigned.tarball)
await write('attestations.json', { attestations: honest.attestations })
const packument = Buffer.from(await (await fetch(`${registry.url}widget`)).arrayBuffer())
await write('packument.json', packument)

const run = (...args: string[]) => runCli(['verify', ...args], { cwd })
/** The command's JSON with its exit code. */
const json = async (...args: string[]) => {
  const { code, stdout, stderr } = await run(...args, '--json')
  // eslint-disable-next-line typescript/no-unsafe-assignment -- looked into by t.match
  const said: unknown = stdout === '' ? stderr : JSON.parse(stdout)
  return { code, said }
}
const verified = { state: 'verified' }

t.test('with the upstream', async t => {
  const { code, said } = await json('widget.tgz')
  t.equal(code, 0)
  t.match(said, {
    package: { name: 'widget', version: '1.0.0' },
    tarball: {
      file: at('widget.tgz'),
      integrity: honest.integrity,
      size: honest.tarball.length,
    },
    decision: 'allow',
    because: [],
    evidence: {
      integrity: honest.integrity,
      registrySignature: verified,
      publishAttestation: verified,
      provenance: { ...verified, identity: { repository: 'https://github.com/acme/widget' } },
      bytes: verified,
      manifest: verified,
    },
    notes: [],
  })
  t.notOk((said as { explanation?: object }).explanation, 'no policy was asked')
  t.same(
    (await readdir(cwd)).filter(name => name === 'store'),
    [],
    'nothing is kept',
  )
  const text = await run('widget.tgz')
  t.match(text.stdout, /^✓ widget@1\.0\.0 verified/)
  t.match(text.stdout, /✓ provenance: verified, built by/)
  t.match(text.stdout, /repository: https:\/\/github\.com\/acme\/widget/)
})

t.test('bytes that are not the ones the registry has', async t => {
  const packed = packTarball({
    'package.json': JSON.stringify({ name: 'widget', version: '1.0.0' }),
    'index.js': 'steal()\n',
  })
  await write('changed.tgz', packed)
  t.match(await json('changed.tgz'), {
    code: 1,
    said: {
      decision: 'refuse',
      evidence: {
        bytes: { state: 'invalid', code: 'INTEGRITY_MISMATCH' },
        registrySignature: { state: 'invalid', code: 'INVALID_SIGNATURE' },
        provenance: { state: 'invalid', code: 'WRONG_SUBJECT' },
        manifest: verified,
      },
    },
  })
  t.match(await json('other.tgz', '--package', 'widget@1.0.0'), {
    code: 1,
    said: { evidence: { bytes: { state: 'invalid' }, manifest: { state: 'invalid' } } },
  })
})

t.test('what nobody signed is not verified', async t => {
  t.match(await json('plain.tgz'), {
    code: 1,
    said: { decision: 'refuse', because: [/Nobody signed/] },
  })
})

t.test('with a policy', async t => {
  t.match(await json('widget.tgz', '--policy', 'acme.policy.yaml'), {
    code: 0,
    said: { decision: 'allow', explanation: { layers: [{ policy: 'acme.policy.yaml' }] } },
  })
  const refused = await run('widget.tgz', '--policy', 'tools.policy.yaml')
  t.match(refused, { code: 1, stdout: /✗ nearest miss: tools/ })
  t.match(refused.stdout, /IDENTITY_MISMATCH/)
  // facts alone refuse it, and this policy does not ask for signatures
  await write('lax.policy.yaml', 'version: 1\ndefaults: { continuity: off }\n')
  t.match(await run('plain.tgz', '--policy', 'lax.policy.yaml'), { code: 0 })
})

t.test('an upstream that does not answer is no finding', async t => {
  t.teardown(() => registry.heal())
  registry.faults.attestationsStatus = 500
  t.match(await json('widget.tgz'), {
    code: 2,
    said: { decision: 'unavailable', evidence: { provenance: { state: 'unavailable' } } },
  })
  registry.faults.attestationsStatus = undefined
  registry.faults.down = true
  t.match(await run('widget.tgz'), { code: 2, stdout: '', stderr: /^EUPSTREAM/m })
})

t.test('bundles from a file, in every form, without a request', async t => {
  const forms: Readonly<Record<string, object | string>> = {
    'document.json': { attestations: [publish, provenance] },
    'list.json': [publish.bundle, provenance.bundle],
    'entries.json': [publish, provenance],
    'one.json': provenance.bundle,
    'lines.jsonl': `${JSON.stringify(publish.bundle)}\n${JSON.stringify(provenance.bundle)}\n`,
  }
  const before = registry.requests.length
  for (const [name, content] of Object.entries(forms)) {
    await write(name, content)
    const { code, said } = await json('widget.tgz', '--bundle', name)
    t.equal(code, 0, name)
    t.match(said, {
      decision: 'allow',
      evidence: {
        provenance: verified,
        publishAttestation: { state: name === 'one.json' ? 'absent' : 'verified' },
        registrySignature: { state: 'unavailable' },
      },
      notes: [/Without a packument/],
    })
  }
  t.match(await json('other.tgz', '--bundle', 'document.json'), {
    code: 1,
    said: { evidence: { provenance: { state: 'invalid', code: 'WRONG_SUBJECT' } } },
  })
  t.match(await json('other.tgz', '--bundle', 'document.json', '--package', 'widget@1.0.0'), {
    code: 1,
    said: {
      evidence: {
        provenance: { state: 'invalid' },
        manifest: { state: 'invalid', wanted: 'widget@1.0.0', found: 'widget@1.1.0' },
      },
    },
  })
  t.equal(registry.requests.length, before, 'nobody was asked')
})

t.test('with the packument from a file too, a policy can tell all', async t => {
  const before = registry.requests.length
  const files = ['--bundle', 'attestations.json', '--packument', 'packument.json']
  const { code, said } = await json('widget.tgz', ...files, '--policy', 'acme.policy.yaml')
  t.equal(code, 0)
  t.match(said, {
    evidence: { registrySignature: verified, bytes: verified, manifest: verified },
    explanation: { decision: 'allow' },
  })
  const bare = ['--bundle', 'attestations.json', '--policy', 'acme.policy.yaml']
  t.match(
    await json('widget.tgz', ...bare),
    { code: 2, said: { explanation: { reasons: [{ code: 'EVIDENCE_UNAVAILABLE' }] } } },
    'without it the registry signature is not absent, it was not looked for',
  )
  t.match(await json('plain.tgz', ...files), { code: 2, said: /EUSAGE/ })
  t.equal(registry.requests.length, before, 'nobody was asked')
})

t.test('other trust than the configured', async t => {
  // the defaults know nothing of this sigstore
  await write('defaults.yaml', `upstreams: { npm: { url: ${JSON.stringify(registry.url)} } }\n`)
  const args = ['--config', 'defaults.yaml', '--bundle', 'attestations.json']
  t.match(await json('widget.tgz', ...args), {
    code: 1,
    said: { evidence: { provenance: { state: 'invalid' } } },
  })
  t.match(await json('widget.tgz', ...args, '--trusted-root', 'root.json'), {
    code: 1,
    said: { evidence: { provenance: verified, publishAttestation: { state: 'invalid' } } },
  })
  const both = ['--trusted-root', 'root.json', '--keys', 'keys.json']
  t.match(await json('widget.tgz', ...args, ...both), { code: 0 })
  t.match(await json('widget.tgz', '--config', 'defaults.yaml', ...both), { code: 0 })
  t.match(await run('widget.tgz', ...args, '--trusted-root', 'widget.tgz'), {
    code: 2,
    stderr: /widget\.tgz[^]*^ETRUST/m,
  })
})

t.test('a reserved name is held to the keys and roots of its own upstream', async t => {
  const own = `{ url: ${JSON.stringify(registry.url)}, packages: [widget], trustRoots: [{ file: ./root.json }], registryKeys: { file: ./keys.json } }`
  const first = 'npm: { url: "http://127.0.0.1:9/", retries: 0 }'
  const args = ['--config', 'reserved.yaml']
  const offline = [...args, '--bundle', 'attestations.json']
  await write('reserved.yaml', `upstreams: { ${first}, acme: ${own} }\n`)
  t.match(await json('widget.tgz', ...args), { code: 0, said: { decision: 'allow' } })
  t.match(await json('widget.tgz', ...offline), {
    code: 0,
    said: { evidence: { provenance: verified, publishAttestation: verified } },
  })
  await write(
    'reserved.yaml',
    `upstreams: { ${first}, acme: ${own.replace('[widget]', '[]')} }\n`,
  )
  t.match(await json('widget.tgz', ...offline), {
    code: 1,
    said: { evidence: { provenance: { state: 'invalid' } } },
  })
})

t.test('a bundle that was tampered with', async t => {
  const broken = structuredClone(provenance.bundle) as unknown as {
    dsseEnvelope: { signatures: { sig: string }[] }
  }
  const [signature] = broken.dsseEnvelope.signatures
  if (!signature) throw new Error('no signature')
  const bytes = Buffer.from(signature.sig, 'base64')
  bytes[20] = (bytes[20] ?? 0) ^ 1
  signature.sig = bytes.toString('base64')
  await write('broken.json', broken)
  t.match(await json('widget.tgz', '--bundle', 'broken.json'), {
    code: 1,
    said: { evidence: { provenance: { state: 'invalid', code: 'INVALID_ATTESTATION' } } },
  })
  const elsewhere = await sigstore.attest({
    statement: {
      _type: 'https://in-toto.io/Statement/v1',
      subject: [],
      predicateType: 'https://acme.example/reviewed/v1',
      predicate: {},
    },
    signer: { key: sigstore.keys[0] ?? sigstore.addKey() },
  })
  await write('elsewhere.json', elsewhere.bundle)
  t.match(await json('widget.tgz', '--bundle', 'elsewhere.json'), {
    code: 1,
    said: { because: [/Nobody signed/], notes: [/reviewed\/v1/, /Without a packument/] },
  })
})

t.test('a tarball that cannot be read', async t => {
  const cut = honest.tarball.subarray(0, 60)
  await write('cut.tgz', cut)
  t.match(await run('cut.tgz', '--bundle', 'attestations.json'), {
    code: 2,
    stdout: '',
    stderr: /cut\.tgz: .*--package\nEUSAGE/,
  })
  const named = ['--package', 'widget@1.0.0']
  t.match(await json('cut.tgz', '--bundle', 'attestations.json', ...named), {
    code: 1,
    said: { evidence: { provenance: { state: 'invalid', code: 'WRONG_SUBJECT' } } },
  })
  t.match(await json('cut.tgz', ...named), {
    code: 1,
    said: { evidence: { bytes: { state: 'invalid' }, manifest: { state: 'invalid' } } },
  })
})

t.test('wrong usage', async t => {
  await write('nameless.tgz', packTarball({ 'package.json': '{"name":"../x"}' }))
  await write('empty.json', '[]')
  await write('text.json', 'a: [\n')
  await write('odd.json', { mediaType: 'x', messageSignature: {} })
  const cases: readonly (readonly [said: RegExp, ...args: string[]])[] = [
    [/one tarball; found 0/],
    [/one tarball; found 2/, 'widget.tgz', 'other.tgz'],
    [/no such file/, 'nowhere.tgz'],
    [/wanted a file/, '.'],
    [/nameless\.tgz: its package\.json has no name/, 'nameless.tgz'],
    [/name@version/, 'widget.tgz', '--package', 'widget'],
    [/no package name/, 'widget.tgz', '--package', '../x@1.0.0'],
    [/with --bundle/, 'widget.tgz', '--packument', 'packument.json'],
    [/no bundle in it/, 'widget.tgz', '--bundle', 'empty.json'],
    [/text\.json: it is not JSON/, 'widget.tgz', '--bundle', 'text.json'],
    [/attestations\.json|no "mediaType"/, 'widget.tgz', '--bundle', 'packument.json'],
    [/no in-toto statement/, 'widget.tgz', '--bundle', 'odd.json'],
    [/nowhere\.json/, 'widget.tgz', '--bundle', 'nowhere.json'],
    [/text\.json/, 'widget.tgz', '--bundle', 'attestations.json', '--packument', 'text.json'],
  ]
  for (const [said, ...args] of cases) {
    const { code, stdout, stderr } = await run(...args)
    t.match({ code, stdout }, { code: 2, stdout: '' }, args.join(' '))
    t.match(stderr, said)
    t.match(stderr, /^EUSAGE: /m, args.join(' '))
  }
  t.match(await run('widget.tgz', '--package', 'widget@7.0.0'), {
    code: 2,
    stderr: /^ENOTFOUND: /m,
  })
  t.match(await run('--help'), { code: 0, stdout: /--trusted-root/ })
})

t.test('real packages', { skip: noCorpus }, async t => {
  // all defaults: the keys and the trust root that everybody has
  await write('public-good.yaml', '')
  const real = corpusPackages().filter(
    ({ facts, attestations, tarball }) =>
      facts.class === 'valid' && attestations !== undefined && tarball !== undefined,
  )
  t.ok(real.length > 3, `${real.length} with tarball and attestations`)
  for (const { title, facts } of real) {
    const bundle = corpusFile(title, 'attestations.json')
    const files = ['--bundle', bundle, '--config', 'public-good.yaml']
    const { code, said } = await json(corpusFile(title, 'tarball.tgz'), ...files)
    t.equal(code, 0, title)
    t.match(said, { package: { name: facts.name, version: facts.version } })
  }
})
