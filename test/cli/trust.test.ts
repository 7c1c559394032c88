/** `attestry trust` and `attestry store affected`, after keys were taken back. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { keysTarget, newKey } from '../support/sigstore/registry-keys.ts'
import { openTufRepository } from '../support/tuf-repository.ts'
import { runCli } from './console.ts'

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

// eslint-disable-next-line typescript/no-explicit-any -- what a command prints, looked into by hand
type Json = Record<string, any>

t.test('attestry trust', async t => {
  const repository = await openTufRepository({
    targets: { 'trusted_root.json': JSON.stringify(sigstore.trustedRoot) },
  })
  t.teardown(() => repository.close())
  const root = { tuf: { mirror: repository.mirror, root: './root.json' } }
  const cwd = t.testdir({
    'root.json': repository.root,
    'attestry.yaml': JSON.stringify({
      trust: { roots: [{ ...root, issuers: ['https://gitlab.com'] }, 'public-good'] },
      storage: { path: './store' },
    }),
  })
  const run = (...argv: string[]) => runCli(['trust', ...argv], { cwd })
  t.match(await run('show'), { code: 2, stderr: /the network is not to be used/ })
  t.strictSame(repository.requests, [], 'it asks nobody')
  const only = join(cwd, 'only.yaml')
  writeFileSync(
    only,
    JSON.stringify({ trust: { roots: [root] }, storage: { path: './store' } }),
  )
  const first = await run('refresh', '-c', only)
  t.match(first, { code: 0, stdout: /TUF root 1 \(until \d{4}-\d\d-\d\d\), timestamp 1/ })
  const shown = await run('show')
  t.match(shown, { code: 0, stderr: '' })
  for (const said of [
    `TUF mirror ${repository.mirror}`,
    'verified whole 20',
    'speaks for issuers https://gitlab.com only',
    'the copy shipped in @sigstore/tuf',
    'npm:signatures',
    'upstream npm',
  ])
    t.match(shown.stdout, said)
  const status = JSON.parse((await run('show', '--json')).stdout) as Json
  t.match(status, {
    sources: [
      { kind: 'tuf', origin: 'kept', scope: { issuers: ['https://gitlab.com'] } },
      { kind: 'public-good', origin: 'shipped' },
    ],
    upstreams: [{ upstream: 'npm', digest: /^[0-9a-f]{64}$/ }],
  })
  repository.publish({ expires: { timestamp: '2026-01-01T00:00:00Z' } })
  t.match(await run('refresh', '-c', only), { code: 2, stdout: /not renewed since/ })
  t.match(await run('show', '-c', only), { code: 0, stdout: /verified whole/ })
  t.match(await run('renew'), { code: 2, stderr: /wanted one of show, refresh/ })
  t.match(await run('show', '--help'), { code: 0, stdout: /trust show/ })
})

const openServer = async (t: Test) => {
  const folder = t.testdir({ 'mobile.yaml': 'version: 1\n' })
  const mobile = join(folder, 'mobile.yaml')
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    policies: ['version: 1\n'],
    settings: `views: { mobile: { policies: [${JSON.stringify(mobile)}] } }`,
  })
  t.teardown(() => proxy.close())
  const get = async (path: string, agent: string) => {
    const response = await fetch(new URL(path, proxy.url), { headers: { 'user-agent': agent } })
    await response.arrayBuffer()
    return response.status
  }
  const run = async (...argv: string[]) =>
    runCli(['store', 'affected', '-c', join(proxy.folder, 'attestry.yaml'), ...argv], {
      cwd: folder,
    })
  const write = (file: string, text: string) => writeFileSync(join(proxy.folder, file), text)
  return { proxy, get, run, write, mobile }
}

t.test('attestry store affected', async t => {
  const { proxy, get, run, write, mobile } = await openServer(t)
  await registry.publish({ name: '@acme/keyed', version: '1.0.0' })
  await registry.publish({ name: '@acme/proven', version: '1.0.0', provenance: true })
  await registry.publish({ name: '@acme/plain', version: '1.0.0', signed: false })
  t.match(await run(), { code: 0, stdout: /^0 versions were sent/ })
  const tarball = (name: string) => `@acme/${name}/-/${name}-1.0.0.tgz`
  for (const agent of ['npm/12', 'npm/12', 'pnpm/11'])
    t.equal(await get(tarball('keyed'), agent), 200)
  t.equal(await get(`v/mobile/${tarball('keyed')}`, 'npm/12'), 200)
  t.equal(await get(tarball('proven'), 'npm/12'), 200)
  t.equal(await get(tarball('plain'), 'npm/12'), 200)
  await proxy.gate.idle()
  t.match(await run(), {
    code: 0,
    stdout: '4 versions were sent; none of them is refused now.\n',
  })

  write('keys.json', JSON.stringify(keysTarget([newKey()])))
  registry.requests.length = 0
  const found = await run()
  t.equal(found.code, 1)
  t.match(found.stdout, /^@acme\/keyed@1\.0\.0: refused: INVALID_SIGNATURE: /m)
  t.match(found.stdout, /^@acme\/keyed@1\.0\.0, view mobile: refused: INVALID_SIGNATURE: /m)
  t.match(found.stdout, / 2 times {2}127\.0\.0\.1, npm\/12$/m)
  t.match(found.stdout, /^ {2}20\S+Z {2}127\.0\.0\.1, pnpm\/11$/m)
  t.match(
    found.stdout,
    /^4 versions were sent; 3 of them are refused now, which 2 clients have/m,
  )
  t.notMatch(found.stdout, /plain/)
  t.strictSame(registry.requests, [], 'what is kept was enough')
  const json = JSON.parse((await run('--json')).stdout) as Json
  t.match(json, {
    policyDigest: proxy.gate.policyDigest,
    trust: { npm: /^[0-9a-f]{64}$/ },
    judged: 4,
    unknown: [],
  })
  t.not(json['trust'].npm, proxy.trust.materialOf('npm').digest, 'the server was not told yet')
  t.match(
    (json['affected'] as Json[]).find(
      one => one['package'].name === '@acme/keyed' && !one['view'],
    ),
    {
      integrity: /^sha512-/,
      reasons: [{ code: 'INVALID_SIGNATURE' }],
      received: [
        {
          client: { address: '127.0.0.1', agent: 'npm/12' },
          times: 2,
          first: /Z$/,
          last: /Z$/,
        },
        { client: { agent: 'pnpm/11' }, times: 1 },
      ],
    },
  )
  t.match(await run('--since', '2099-01-01'), { code: 0, stdout: /^0 versions/ })
  t.match(await run('--since', '1h'), { code: 1 })
  t.match(await run('--since', 'lately'), { code: 2, stderr: /--since: found "lately"/ })

  t.test('of a policy that was tightened', async t => {
    write('keys.json', JSON.stringify(sigstore.registryKeys()))
    t.match(await run(), { code: 0 })
    write(
      'policy-0.yaml',
      'version: 1\nrules: [{ packages: ["@acme/plain"], deny: { reason: no } }]\n',
    )
    t.match(await run(), { code: 1, stdout: /^@acme\/plain@1\.0\.0: refused: DENIED: no/ })
  })
  t.test('in the view it was sent in', async t => {
    write('policy-0.yaml', 'version: 1\n')
    writeFileSync(
      mobile,
      'version: 1\nrules: [{ packages: ["@acme/keyed"], deny: { reason: not here } }]\n',
    )
    const { affected } = JSON.parse((await run('--json')).stdout) as Json
    t.match(affected, [{ package: { name: '@acme/keyed' }, view: 'mobile' }])
    t.equal((affected as Json[]).length, 1)
    writeFileSync(mobile, 'version: 1\n')
  })
  t.test('what the store cannot answer', async t => {
    write('policy-0.yaml', 'version: 1\n')
    for (const [name, decision] of [
      ['@acme/ghost', 'allow'],
      ['@acme/never', 'refuse'],
    ] as const)
      await proxy.store.audit.append({
        at: new Date().toISOString(),
        client: { address: '10.0.0.1' },
        package: { name, version: '1.0.0' },
        decision,
        rule: 'none',
        reasons: [],
        policyDigest: '',
        fresh: true,
      })
    t.notMatch((await run('--offline')).stdout, /never/, 'what was refused was not received')
    registry.requests.length = 0
    t.match(await run('--offline'), {
      code: 2,
      stdout: /ghost@1\.0\.0: could not be judged: EOFFLINE/,
    })
    t.strictSame(registry.requests, [])
    t.match(await run(), { code: 2, stdout: /ghost@1\.0\.0: could not be judged: ENOTFOUND/ })
    t.ok(registry.requests.length > 0, 'then the registry is asked')
    t.ok(
      registry.requests.every(({ path }) => path.includes('ghost')),
      'and for nothing else',
    )
  })
})
