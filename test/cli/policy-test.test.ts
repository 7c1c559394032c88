import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { localSigstore } from '../support/local-sigstore.ts'
import { writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { folderWith, jsonOf } from './policy-io.ts'

const policy = 'version: 1\nrules: [{ name: bad, packages: [bad], deny: { reason: no } }]\n'
const cases = (...bodies: string[]) =>
  `version: 1\ncases:\n${bodies.map(body => `  - { ${body} }\n`).join('')}`

t.test('passing and failing', async t => {
  const { run, write } = await folderWith(t, {
    'p.yaml': policy,
    'p.test.yaml': cases(
      'name: it is refused, package: bad@1.0.0, expect: { decision: refuse, reasons: [DENIED], rule: bad }',
      'package: good@1.0.0, expect: allow',
    ),
  })
  const passed = await run(['policy', 'test', 'p.test.yaml'])
  t.equal(passed.code, 0)
  t.match(
    passed.stdout,
    /^p\.test\.yaml: p\.yaml\n {2}ok {3}it is refused\n {2}ok {3}good@1\.0\.0\n/,
  )
  t.match(passed.stdout, '2 cases: 2 passed, 0 failed')

  await write('p.yaml', 'version: 1\n')
  const failed = await run(['policy', 'test', 'p.test.yaml'])
  t.equal(failed.code, 1)
  t.match(
    failed.stdout,
    /^ {2}FAIL it is refused\n {7}p\.test\.yaml:3:48: wanted refuse, found allow$/m,
  )
  t.match(failed.stdout, '2 cases: 1 passed, 1 failed')
  t.match(jsonOf(await run(['policy', 'test', '--json', 'p.test.yaml'])), {
    ok: false,
    files: [
      {
        policies: ['p.yaml'],
        digest: /^[0-9a-f]{64}$/,
        cases: [
          {
            name: 'it is refused',
            package: 'bad@1.0.0',
            line: 3,
            column: 48,
            result: 'failed',
            expected: { decision: 'refuse', reasons: ['DENIED'], rule: 'bad' },
            found: { decision: 'allow', rule: 'p.yaml#defaults', reasons: [] },
          },
          { result: 'ok', messages: [] },
        ],
      },
    ],
  })
})

t.test('on terminals', async t => {
  const name = 'a case with a long name that goes on and on until no terminal has room for it '
    .repeat(2)
    .trim()
  const { run } = await folderWith(t, {
    'p.yaml': policy,
    'p.test.yaml': cases(`name: ${name}, package: bad@1.0.0, expect: allow`),
  })
  for (const columns of [80, 140]) {
    const { stdout } = await run(['policy', 'test', 'p.test.yaml'], columns)
    for (const line of stripVTControlCharacters(stdout).split('\n'))
      t.ok(line.length <= columns, line)
    t.match(stripVTControlCharacters(stdout).replaceAll(/\n */g, ' '), `FAIL ${name}`)
  }
})

t.test('which files, and which policies', async t => {
  const refused = cases('package: bad@1.0.0, expect: refuse')
  const { run } = await folderWith(t, {
    'a.policy.yaml': policy,
    'a.policy.test.yaml': refused,
    'b.yml': 'version: 1\n',
    'cases/x.yaml': `policies: [../b.yml, ../a.policy.yaml]\n${refused}`,
    'cases/y.yaml': refused,
    'attestry.yaml': 'policies: [a.policy.yaml, b.yml]\n',
  })
  const configured = await run(['policy', 'test'])
  t.equal(configured.code, 0)
  t.match(configured.stdout, /^a\.policy\.test\.yaml: a\.policy\.yaml$/m)
  t.equal((await run(['policy', 'test', '-p', 'b.yml'])).code, 2, 'it has no cases')
  const named = await run(['policy', 'test', 'cases/x.yaml'])
  t.equal(named.code, 0, 'every layer judges')
  t.match(named.stdout, 'cases/x.yaml: b.yml, a.policy.yaml')
  t.match(await run(['policy', 'test', 'cases/y.yaml']), { code: 2, stderr: /which policy/ })
})

t.test('what cannot be run is 2', async t => {
  const { run } = await folderWith(t, {
    'p.yaml': 'version: 1\nruls: []\n',
    'p.test.yaml': cases('package: bad@1.0.0, expect: refuse'),
    'q.yaml': policy,
    'q.test.yaml': cases('package: bad, expect: refuse'),
  })
  t.match(await run(['policy', 'test', 'p.test.yaml']), {
    code: 2,
    stderr: /p\.yaml:2:1: .*EPOLICY/s,
  })
  t.match(await run(['policy', 'test', 'q.test.yaml']), {
    code: 2,
    stderr: /q\.test\.yaml:3:7: /,
  })
  t.match(await run(['policy', 'test', 'none.test.yaml']), { code: 2, stderr: /EPOLICY/ })
  t.match(await run(['policy', 'test']), { code: 2, stderr: /EUSAGE/ })
})

t.test('packages as the upstream has them', async t => {
  const sigstore = await localSigstore()
  const registry = await startRegistry({ sigstore })
  t.teardown(async () => {
    await registry.close()
    await sigstore.close()
  })
  await registry.publish({ name: 'lib', version: '1.0.0', provenance: true })
  await registry.publish({ name: 'bare', version: '1.0.0' })
  const live = (name: string, expect: string) =>
    `package: ${name}@1.0.0, live: true, expect: ${expect}`
  const { run, write, folder } = await folderWith(t, {
    'p.yaml': 'version: 1\ndefaults: { require: { provenance: any } }\n',
    'p.test.yaml': cases(live('lib', 'allow'), live('bare', 'refuse')),
  })
  const config = await writeSettings(folder, {
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
  })
  const test = () => run(['policy', 'test', '-c', config, join(folder, 'p.test.yaml')])
  t.equal((await test()).code, 0)
  await write('p.test.yaml', cases(live('lib', 'allow'), live('bare', 'allow')))
  t.match(await test(), { code: 1, stdout: /NO_PROVENANCE/ })
  await write('p.test.yaml', cases(live('lib', 'allow'), live('gone', 'refuse')))
  const unknown = await test()
  t.match(unknown, { code: 2, stdout: /ENOTFOUND/ })
  t.match(unknown.stdout, '2 cases: 1 passed, 0 failed, 1 could not be judged')
})
