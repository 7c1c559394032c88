/** `attestry why`: what it says of verdicts, here and through a server, and the page of that name. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { paintFor } from '../../lib/cli/audit/paint.ts'
import { branch, paragraph, renderTree, takesUnicode } from '../../lib/cli/why/tree.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, writeSettings } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'
import { runCli, type ConsoleOptions } from './console.ts'

const plain = (_style: unknown, text: string) => text

t.test('a tree', async t => {
  const long = 'https://github.com/acme/widget/.github/workflows/release.yml'
  const root = branch('root', [
    branch(['one', { text: 'two three', style: 'red' }], [branch(`four five six ${long}`)]),
    branch('last', [branch('leaf\u001b[2J\u202e')]),
  ])
  const box = renderTree(root, { width: 40, unicode: true, paint: plain })
  t.equal(
    box,
    [
      'root',
      '├─ one two three',
      '│  └─ four five six',
      '│     https://github.com/acme/widget/.gi',
      '│     thub/workflows/release.yml',
      '└─ last',
      '   └─ leaf\\u{1b}[2J\\u{202e}',
      '',
    ].join('\n'),
  )
  const ascii = renderTree(root, { width: 40, unicode: false, paint: plain })
  t.equal(ascii, box.replaceAll('├─', '|-').replaceAll('└─', '`-').replaceAll('│', '|'))
  // eslint-disable-next-line no-control-regex
  t.match(ascii, /^[\x20-\x7e\n]*$/)
  const paint = paintFor({ write: () => {}, isTTY: true }, {})
  t.match(
    renderTree(root, { width: 40, unicode: true, paint }),
    '\u001b[31mtwo three\u001b[39m',
  )
  t.equal(paragraph('a b', { width: 40, unicode: true, paint: plain }, '  '), '  a b\n')
})

t.test('which locales take more than ASCII', async t => {
  const cases: readonly (readonly [env: Record<string, string>, takes: boolean])[] = [
    [{ LANG: 'C.UTF-8' }, true],
    [{ LANG: 'de_DE.utf8' }, true],
    [{ LANG: 'C' }, false],
    [{ LANG: 'en_US.ISO-8859-1' }, false],
    [{ LANG: 'C.UTF-8', LC_ALL: 'C' }, false],
    [{ LANG: 'C', LC_CTYPE: 'C.UTF-8' }, true],
    [{ LANG: 'C.UTF-8', LC_ALL: '' }, true],
    [{}, false],
  ]
  for (const [env, takes] of cases)
    t.equal(takesUnicode(env, 'linux'), takes, JSON.stringify(env))
  t.equal(takesUnicode({}, 'win32'), true)
})

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
const cwd = t.testdir()
const policy = `version: 1
identities:
  acme:
    issuer: https://token.actions.githubusercontent.com
    repository: https://github.com/acme/widget
    trigger: push
  tools: { issuer: 'https://token.actions.githubusercontent.com', repository: https://github.com/tools/tools, trigger: schedule }
rules:
  - { name: known bad, packages: [event-stream], deny: { reason: flatmap-stream } }
  - name: widget is built by acme
    packages: [widget]
    require: { provenance: [tools, acme] }
  - { name: reviewed, packages: [waived], allow: { reason: 'we read it', by: ana@acme.example, until: 2099-01-01 } }
`
const base = {
  upstream: registry.url,
  trustedRoot: sigstore.trustedRoot,
  registryKeys: sigstore.registryKeys(),
  policies: [policy],
  upstreamSettings: ['retries: 0'],
}
const config = await writeSettings(cwd, base)
const proxy = await startProxy(base)
t.teardown(async () => {
  await proxy.close()
  await registry.close()
  await sigstore.close()
})

const publisher = { repository: 'acme/widget', repositoryId: '4711' }
await registry.publish({ name: 'widget', version: '0.1.0' })
await registry.publish({ name: 'widget', version: '1.0.0', provenance: publisher })
await registry.publish({
  name: 'widget',
  version: '1.1.0',
  provenance: { repository: 'mallory/widget', repositoryId: '666' },
})
await registry.publish({
  name: 'widget',
  version: '1.2.0',
  provenance: publisher,
  tag: 'next',
})
await registry.publish({ name: '@acme/plain', version: '1.0.0' })
await registry.publish({ name: 'waived', version: '1.0.0' })

const why = (args: readonly string[], options: Partial<ConsoleOptions> = {}) =>
  runCli(['why', ...args], { cwd, ...options })
const here = (...args: string[]) => why([...args, '--config', config])
const there = (...args: string[]) => why([...args, '--server', proxy.url])

t.test('a refusal, told in every part', async t => {
  const { code, stdout, stderr } = await here('widget@1.1.0')
  t.equal(code, 1, stderr)
  for (const said of [
    /^widget@1\.1\.0 refused by policy/,
    /IDENTITY_MISMATCH: signer's repository of acme/,
    /known bad: widget@1\.1\.0 is none of event-stream/,
    /widget is built by acme: the name matches widget/,
    /✗ provenance: wanted signed by tools or acme; found verified/,
    /✗ nearest miss: acme/,
    /✓ trigger: push/,
    /wanted: https:\/\/github\.com\/acme\/widget$/m,
    /found: https:\/\/github\.com\/mallory\/widget$/m,
    /✓ registry signature: verified/,
    /repositoryId: 666/,
    /Publishers, oldest first/,
    /– 0\.1\.0, 2026-01-01/,
    /✓ 1\.0\.0, 2026-01-01/,
    /✓ 1\.1\.0, 2026-01-01 <- 1\.1\.0/,
    /refused: 1\.1\.0 IDENTITY_MISMATCH/,
    /refused: 0\.1\.0 NO_PROVENANCE/,
    /Under rules: of policy-0\.yaml/,
    /^ {2}- name: "widget is published from where 1\.1\.0 was"$/m,
    /^ {8}github: "mallory\/widget#666"$/m,
  ])
    t.match(stdout, said)
  t.ok(stdout.indexOf('nearest miss') < stdout.indexOf('tools line'), 'the nearest comes first')
  t.notMatch(stdout, '\u001b', 'no colours in a pipe')
  t.equal(stderr, '', 'no progress in a pipe')
})

t.test('what is allowed, and by a waiver', async t => {
  const allowed = await here('widget@1.2.0')
  t.match(allowed, { code: 0, stdout: /^widget@1\.2\.0 allowed/ })
  t.notMatch(allowed.stdout, /would admit/)
  t.match(await here('waived'), {
    code: 0,
    stdout: /waived: we read it by ana@acme\.example until\s[│ ]*2099-01-02T/,
  })
})

t.test('latest, a dist-tag, a scope', async t => {
  t.match((await here('widget')).stdout, /^widget@1\.1\.0 /, 'the latest, refused as it is')
  t.match((await here('widget@next')).stdout, /^widget@1\.2\.0 /)
  t.match((await here('@acme/plain')).stdout, /^@acme\/plain@1\.0\.0 allowed/)
  t.match((await there('widget')).stdout, /^widget@1\.1\.0 /)
  t.match((await there('@acme/plain@latest')).stdout, /^@acme\/plain@1\.0\.0 allowed/)
})

t.test('a running server says the same', async t => {
  const [mine, its] = await Promise.all([
    here('widget@1.1.0', '--json'),
    there('widget@1.1.0', '--json'),
  ])
  t.equal(its.code, 1)
  t.match(JSON.parse(its.stdout), {
    decision: 'refuse',
    package: { name: 'widget', version: '1.1.0' },
    lines: /github: "mallory\/widget#666"/,
    timeline: { name: 'widget', runs: [{}, {}, {}, {}] },
  })
  t.same(JSON.parse(its.stdout), JSON.parse(mine.stdout))
  t.equal((await here('widget@1.1.0')).stdout, (await there('widget@1.1.0')).stdout)
})

t.test('on terminals', async t => {
  for (const columns of [80, 140]) {
    const { stdout, stderr } = await why(['widget@1.1.0', '--config', config], { columns })
    t.match(stdout, '\u001b[31mrefused by policy')
    t.ok(stderr.endsWith('\r\u001b[2K'), 'the line of progress goes')
    const [tree = ''] = stdout.split('What would admit it')
    // eslint-disable-next-line no-control-regex
    const lines = tree.replace(/\u001b\[\d+m/g, '').split('\n')
    t.same(
      lines.filter(line => line.length > columns),
      [],
      `nothing is wider than ${columns}`,
    )
    const none = { columns, env: { LANG: 'C', NO_COLOR: '1' } }
    // eslint-disable-next-line no-control-regex
    t.match((await why(['widget', '--config', config], none)).stdout, /^[\x20-\x7e\n]*$/)
  }
})

t.test('the line of progress never breaks: it could not be taken back', async t => {
  const name = `@a-scope-of-some-length/${'a-very-long-name-'.repeat(6)}x`
  for (const columns of [40, 80]) {
    const { stderr } = await why([name, '--config', config], { columns })
    const line = stderr.slice(0, stderr.indexOf('\r'))
    t.match(line, 'looking at @a-scope')
    t.equal(line.length, columns - 1)
  }
})

t.test('what cannot be told is 2', async t => {
  const cases: readonly (readonly [args: string[], stderr: RegExp])[] = [
    [['widget@9.9.9', '--config', config], /^ENOTFOUND/m],
    [['no-such-package', '--config', config], /^ENOTFOUND/m],
    [['widget@9.9.9', '--server', proxy.url], /says: widget@9\.9\.9 .*\nENOTFOUND/],
    [['widget@^1.0.0', '--config', config], /^EUSAGE/m],
    [['a b', '--config', config], /^EUSAGE/m],
    [['../etc/passwd'], /^EUSAGE/m],
    [[], /^EUSAGE/m],
    [['widget', 'other'], /^EUSAGE/m],
    [['widget', '--server', proxy.url, '--config', config], /--config means nothing/],
    [['widget', '--server', 'nowhere'], /^EUSAGE/m],
    [['widget', '--server', 'file:///etc'], /^EUSAGE/m],
    [['widget', '--server', registry.url], /^ESERVER/m],
  ]
  for (const [args, stderr] of cases) {
    const said = await why(args)
    t.match(said, { code: 2, stdout: '', stderr }, args.join(' '))
  }
  t.match(await why(['--help']), { code: 0, stdout: /--server/ })
})

t.test('unavailable is 2, and no finding', async t => {
  await registry.publish({ name: 'silent', version: '1.0.0', provenance: true })
  registry.faults.attestationsStatus = 500
  t.teardown(() => registry.heal())
  const { code, stdout } = await here('silent')
  t.equal(code, 2)
  t.match(stdout, /^silent@1\.0\.0 could not be checked/)
  t.match(stdout, /\? provenance: unavailable/)
  t.match(stdout, /look again later/)
})

t.test('a server that is none, or none that answers', async t => {
  const answers: Record<string, string> = {
    '/html': '<!doctype html>',
    '/json': '{"decision":"allow"}',
    '/code': '{"code":"ENOTASCODE","message":"x"}',
  }
  const server: Server = createServer((request, response) => {
    const [, at = ''] = /^(\/\w+)\//.exec(request.url ?? '') ?? []
    if (at === '/large') {
      const chunk = Buffer.alloc(1024 * 1024, 'x')
      const more = () => {
        while (response.write(chunk)) if (response.destroyed) return
        response.once('drain', more)
      }
      return more()
    }
    response.end(answers[at] ?? '')
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  for (const at of ['html', 'json', 'code', 'empty', 'large'])
    t.match(
      await why(['widget', '--server', `http://127.0.0.1:${port}/${at}`]),
      { code: 2, stdout: '', stderr: /^ESERVER/m },
      at,
    )
  server.closeAllConnections()
  await new Promise(done => server.close(done))
  t.match(await why(['widget', '--server', `http://127.0.0.1:${port}/`]), {
    code: 2,
    stderr: /does not answer: .*\nESERVER/,
  })
})

t.test('the page', async t => {
  const page = async (id: string) => {
    const response = await fetch(`${proxy.url}-/attestry/why/${id}`, {
      headers: { accept: 'text/html' },
    })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
  const { status, headers, text } = await page('widget@1.1.0')
  t.equal(status, 200)
  t.match(headers.get('content-security-policy'), /^default-src 'none'/)
  for (const said of [
    /Publishers, oldest first/,
    /<b>acme<\/b\s*> \(policy-0\.yaml:3\), the nearest miss/,
    /Refused: 1\.1\.0 <small>IDENTITY_MISMATCH/,
    /<code>https:\/\/github\.com\/acme\/widget<\/code> <small>\(id 4711\)<\/small>/,
    /No provenance/,
    /<tr class="here">\s*<td>1\.1\.0<\/td>/,
    /No provenance/,
  ])
    t.match(text, said)
  t.notMatch(text, /<script|javascript:|\son\w+=|undefined|\[object/i)

  // what a publisher may call things is text on the page and nothing else
  const hostile = '.github/workflows/<img src=x onerror=alert(1)>.yml'
  await registry.publish({
    name: 'hostile',
    version: '1.0.0',
    provenance: { repository: 'acme/hostile', workflow: hostile },
  })
  const { text: escaped } = await page('hostile@1.0.0')
  t.match(escaped, '&lt;img src=x onerror=alert(1)&gt;')
  t.notMatch(escaped, '<img')
  t.match((await here('hostile')).stdout, '<img src=x')
})
