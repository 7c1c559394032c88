import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { folderWith, jsonOf } from './policy-io.ts'

const clean = 'version: 1\nrules: [{ packages: [a], minimumAge: 3d }]\n'
const loose =
  'version: 1\nrules:\n  - name: all\n    packages: ["*"]\n    allow: { reason: "no time" }\n'
const broken = 'version: 1\nmode: strict\nruls: []\n'

t.test('clean, warned, broken', async t => {
  const { run, folder } = await folderWith(t, {
    'a.yaml': clean,
    'b.yaml': loose,
    'c.yaml': broken,
  })
  const check = (...args: string[]) => run(['policy', 'check', ...args])

  t.match(await check('a.yaml'), { code: 0, stdout: /1 policy file: 0 errors, 0 warnings/ })
  const warned = await check('a.yaml', 'b.yaml')
  t.equal(warned.code, 0, 'warnings alone are no failure')
  t.match(warned.stdout, /^b\.yaml:4:16: warning: .*\(wide-waiver\)$/m)
  t.equal((await check('--strict', 'b.yaml')).code, 1)
  t.equal((await check('--strict', 'a.yaml')).code, 0)
  const failed = await check('c.yaml', 'b.yaml')
  t.equal(failed.code, 1)
  t.match(
    failed.stdout,
    /^c\.yaml:2:1: error: mode: .*\nc\.yaml:3:1: error: unknown key "ruls"/,
  )
  t.match(failed.stdout, /^b\.yaml:4:16: warning/m, 'the others are checked all the same')

  const json = jsonOf(await check('--json', 'a.yaml', 'b.yaml', 'c.yaml'))
  t.match(json, {
    ok: false,
    strict: false,
    files: [
      { file: `${folder}/a.yaml`, digest: /^[0-9a-f]{64}$/, findings: [] },
      {
        findings: [
          { severity: 'warning', code: 'wide-waiver', line: 4, column: 16, rule: 'all' },
        ],
      },
      { findings: [{ severity: 'error', code: 'EPOLICY', line: 2, column: 1 }, {}] },
    ],
  })
  t.notOk('digest' in json['files'][2])
})

t.test('the files of the settings, and their upstreams', async t => {
  const { run, write } = await folderWith(t)
  const none = await run(['policy', 'check'])
  t.match(none, { code: 0, stdout: /baseline/ })
  t.same(jsonOf(await run(['policy', 'check', '--json'])), {
    ok: true,
    strict: false,
    files: [],
  })

  const reserving = 'version: 1\nrules: [{ packages: ["@acme/*"], upstream: amce }]\n'
  await write('p.yaml', reserving)
  t.equal((await run(['policy', 'check', 'p.yaml'])).code, 0, 'nobody told the upstreams')
  await write(
    'attestry.yaml',
    'policies: [p.yaml]\nupstreams: { npm: {}, acme: { url: "http://127.0.0.1:1/" } }\n',
  )
  const wrong = await run(['policy', 'check'])
  t.equal(wrong.code, 1)
  t.match(wrong.stdout, /^p\.yaml:2:34: error: upstream: amce .*"acme"/m)
  await write('p.yaml', reserving.replace('amce', 'acme'))
  t.equal((await run(['policy', 'check'])).code, 0)
})

t.test('patterns that match nothing in a lockfile', async t => {
  const packages = {
    '': { name: 'project' },
    'node_modules/a': { version: '1.0.0', resolved: 'http://127.0.0.1/a/-/a-1.0.0.tgz' },
    'node_modules/b': { version: '1.0.0', resolved: 'git+ssh://git@127.0.0.1/b.git#0a' },
  }
  const lockfile = JSON.stringify({ name: 'project', lockfileVersion: 3, packages })
  const { run, write } = await folderWith(t, {
    'p.yaml': 'version: 1\nrules: [{ packages: [a, b], minimumAge: 3d }]\n',
    'package-lock.json': lockfile,
  })
  for (const place of ['package-lock.json', '.']) {
    const { code, stdout } = await run(['policy', 'check', '--lockfile', place, 'p.yaml'])
    t.equal(code, 0)
    t.match(
      stdout,
      /^p\.yaml:2:25: warning: "b" .*\(unmatched-pattern\)$/m,
      'it is not of a registry',
    )
    t.match(stdout, '1 warning\n')
  }
  await write('package-lock.json', '{')
  const broken = await run(['policy', 'check', '--lockfile', '.', 'p.yaml'])
  t.match(broken, { code: 2, stderr: /ELOCKFILE/ })
})

t.test('what cannot be run is 2', async t => {
  const { run } = await folderWith(t)
  t.match(await run(['policy', 'check', 'none.yaml']), {
    code: 2,
    stderr: /none\.yaml.*EPOLICY/s,
  })
  t.match(await run(['policy', 'check', '.']), { code: 2, stderr: /wanted a file/ })
  t.match(await run(['policy', 'chek']), { code: 2, stderr: /"check".*EUSAGE/s })
  t.match(await run(['policy']), { code: 2, stderr: /EUSAGE/ })
  t.match(await run(['policy', '--help']), { code: 0, stdout: /^ +check /m })
  t.match(await run(['policy', 'check', '--help']), { code: 0, stdout: /--strict/ })
})

t.test('on a terminal no line is longer than it is wide', async t => {
  const { run } = await folderWith(t, { 'b.yaml': loose, 'c.yaml': broken })
  for (const columns of [80, 140]) {
    const { stdout } = await run(['policy', 'check', 'b.yaml', 'c.yaml'], columns)
    t.not(stdout, stripVTControlCharacters(stdout), 'in colours')
    for (const line of stripVTControlCharacters(stdout).split('\n'))
      t.ok(line.length <= columns, line)
  }
})
