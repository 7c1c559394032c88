import { readFileSync } from 'node:fs'
import t from 'tap'
import { patternCovers } from '../../lib/policy/cover.ts'
import { lintPolicy, type LintOptions } from '../../lib/policy/lint.ts'
import { parsePattern, patternMatches } from '../../lib/policy/match.ts'
import { readPolicy } from '../../lib/policy/parse.ts'
import type { PackagePattern } from '../../lib/policy/policy.ts'
import { endingWaivers } from '../../lib/policy/waivers.ts'
import { github, now, policy } from './material.ts'

/** `line:column code` of each warning. */
const warnings = (text: string, options: Partial<LintOptions> = {}) =>
  lintPolicy(readPolicy(`version: 1\n${text}`, { file: 'f' }), { now, ...options }).map(
    ({ line, column, code }) => `${line}:${column} ${code}`,
  )

const pattern = (text: string): PackagePattern => {
  const read = parsePattern(text)
  if ('complaint' in read) throw new Error(read.complaint)
  return read
}

t.test('what covers what', async t => {
  const cases: readonly (readonly [wide: string, narrow: string, covers: boolean])[] = [
    ['*', '@a/*', true],
    ['@a/*', '*', false],
    ['@a/*', '@a/lib', true],
    ['@a/*', '@a/lib-*', true],
    ['@a/lib-*', '@a/*', false],
    ['@a/*', '@ab/lib', false],
    ['lib-*', 'lib-x', true],
    ['lib-*', 'lib-x-*', true],
    ['lib-*', '*-lib', false],
    ['*-lib', '@a/*-lib', false],
    ['lib-*', 'lib-', false],
    ['lib', 'lib@1.0.0', true],
    ['lib@1.0.0', 'lib', false],
    ['lib@1.0.0', 'lib@1.0.0', true],
    ['lib@1.0.0', 'lib@1.0.1', false],
  ]
  for (const [wide, narrow, covers] of cases)
    t.equal(patternCovers(pattern(wide), pattern(narrow)), covers, `${wide} over ${narrow}`)
})

t.test('covering agrees with matching', async t => {
  const texts = ['*', '@a/*', '@a/b-*', '@a/b', '@a/*-b', 'a-*', 'a-b-*', '*-b', 'a-b', 'a']
  const names = ['a', 'b', 'a-b', 'a-b-c', 'a-', '-b', '@a/b', '@a/b-c', '@a/c-b', '@b/a-b']
  for (const wide of texts.map(pattern))
    for (const narrow of texts.map(pattern)) {
      if (!patternCovers(wide, narrow)) continue
      for (const name of names) {
        const id = { name, version: '1.0.0' }
        if (patternMatches(narrow, id))
          t.ok(patternMatches(wide, id), `${wide.text} covers ${narrow.text}, not ${name}`)
      }
    }
  t.notOk(patternCovers(pattern('a-*'), pattern('a')))
})

const rule = (packages: string, more = 'minimumAge: 3d') =>
  `  - { packages: [${packages}], ${more} }\n`

t.test('rules that never govern', async t => {
  const lint = (...rules: string[]) => warnings(`rules:\n${rules.join('')}`)
  t.same(lint(rule("'@a/*'"), rule("'@a/lib'")), ['4:5 unreachable-rule'])
  t.same(lint(rule("'@a/lib'"), rule("'@a/*'")), [])
  t.same(lint(rule('a'), rule('b'), rule('a, b')), ['5:5 unreachable-rule'])
  t.same(lint(rule('a'), rule('a, b')), ['4:18 unreachable-pattern'])
  const range = (text: string) => `versions: '${text}', minimumAge: off`
  t.same(lint(rule('a', range('>=1')), rule('a', range('^1.2.0'))), ['4:5 unreachable-rule'])
  t.same(lint(rule('a', range('^1.2.0')), rule('a', range('>=1'))), [])
  t.same(lint(rule('a', range('>=1')), rule('a')), [])
  t.same(lint(rule('a', range('>=1')), rule("'a@1.5.0'")), ['4:5 unreachable-rule'])
  t.same(lint(rule('a', range('>=1')), rule("'a@0.5.0'")), [])
  const reserve = rule("'@a/*'", 'upstream: acme')
  t.same(lint(rule("'*'"), reserve), [], 'it reserves, which is all it says')
  t.same(lint(rule("'*'"), rule("'@a/*'", 'upstream: acme, minimumAge: off')), [
    '4:5 unreachable-rule',
  ])
})

t.test('patterns that match nothing in a lockfile', async t => {
  const packages = [
    { name: 'a', version: '1.0.0' },
    { name: '@s/b', version: '2.0.0' },
  ]
  const lint = (...rules: string[]) => warnings(`rules:\n${rules.join('')}`, { packages })
  t.same(lint(rule("a, '@s/*', c")), ['3:29 unmatched-pattern'])
  t.same(lint(rule('a', "versions: '>=2', minimumAge: off")), ['3:18 unmatched-pattern'])
  t.same(lint(rule("'a@1.0.1'")), ['3:18 unmatched-pattern'])
  t.same(lint(rule('c', 'deny: { reason: bad }')), [], 'a denial is there to match nothing')
  t.same(warnings(`rules:\n${rule('c')}`), [], 'without a lockfile nothing is known')
})

t.test('waivers at their end', async t => {
  const waiver = (until: string) =>
    warnings(`rules:\n${rule('a', `allow: { reason: x, until: ${until} }`)}`)
  t.same(waiver('2026-11-21'), ['3:42 waiver-ended'])
  t.same(waiver("'2026-11-22T12:00:00Z'"), ['3:42 waiver-ended'], 'now is over')
  t.same(waiver("'2026-11-22T12:00:01Z'"), ['3:42 waiver-ending'])
  t.same(waiver("'2026-12-06T12:00:00Z'"), ['3:42 waiver-ending'], 'in 14 days')
  t.same(waiver("'2026-12-06T12:00:01Z'"), [])
  t.same(warnings(`rules:\n${rule('a', 'allow: { reason: x }')}`), [], 'without an end')
  t.same(warnings(`rules:\n${rule("'*'", 'allow: { reason: x }')}`), ['3:18 wide-waiver'])
})

t.test('which waivers end', async t => {
  const text = (until: string, name: string) =>
    `  - { name: ${name}, packages: [a], allow: { reason: r, by: ana, until: ${until} } }\n`
  const one = policy(`rules:\n${text('2026-11-30', 'x')}${text('2027-01-01', 'later')}`, 'one')
  const two = policy(`rules:\n${text('2026-11-20', 'y')}`, 'two')
  t.match(endingWaivers([one, two], now), [
    { policy: 'two', rule: 'y', ended: true, waiver: { until: '2026-11-21T00:00:00.000Z' } },
    { policy: 'one', rule: 'x', ended: false, line: 3, packages: ['a'] },
  ])
  t.equal(endingWaivers([one, two], now).length, 2)
  t.equal(endingWaivers([one, two], now, 60 * 86_400_000).length, 3)
})

t.test('identities', async t => {
  const use = 'rules: [{ packages: [a], require: { provenance: x } }]\n'
  const lint = (body: string, rules = use, issuer = github) =>
    warnings(`identities:\n  x: { issuer: '${issuer}', ${body} }\n${rules}`).map(
      text => text.split(' ')[1],
    )
  const full = "repositoryId: '1', workflow: a.yml, ref: refs/heads/main, trigger: push"
  t.same(lint(full), [])
  t.same(lint(full, ''), ['unused-identity'])
  t.same(lint(full, 'defaults: { require: { provenance: x } }'), [])
  t.same(
    lint(full, 'rules: [{ packages: [a], require: { anyOf: [{ provenance: [x] }] } }]'),
    [],
  )
  for (const missing of ["repositoryId: '1', ", 'workflow: a.yml, ', 'ref: refs/heads/main, '])
    t.same(
      lint(`owner: 'https://github.com/a', ${full.replace(missing, '')}`),
      ['wide-identity'],
      missing,
    )
  t.same(lint(full.replace('repositoryId', 'ownerId')), [], "an owner's number will do")
  t.same(lint(full.replace(', trigger: push', '')), ['missing-trigger'])
  t.same(lint(full.replace('push', 'pull_request_target')), ['risky-trigger'])
  t.same(lint(full.replace('heads/main', 'heads/*')), ['wildcard-ref'])
  t.same(lint(full.replace('refs/heads/main', "'refs/tags/v{version}'")), [])
  const commit = `commit: ${'a'.repeat(40)}`
  t.same(lint(`repositoryId: '1', workflow: a.yml, ${commit}`), [], 'a commit pins the rest')
  const subject = "subject: 'https://github.com/a/b/.github/workflows/c.yml@refs/heads/"
  t.same(lint(`repositoryId: '1', trigger: push, ${subject}main'`), [])
  t.same(lint(`repositoryId: '1', trigger: push, ${subject}*'`), ['wildcard-ref'])
  t.same(lint("owner: 'https://gitlab.com/a'", use, 'https://gitlab.com'), [
    'wide-identity',
    'missing-trigger',
  ])
  t.same(lint(full.replace('push', '[push, workflow_run, issues]')), [
    'risky-trigger',
    'risky-trigger',
  ])
  for (const issuer of [
    `${github}/acme`,
    'https://github.acme.example/_services/token',
    'https://token.actions.acme.ghe.com',
  ])
    t.same(lint("owner: 'https://a.example/a'", use, issuer), [
      'wide-identity',
      'missing-trigger',
    ])
  t.same(lint(full, use, 'https://gitlab.acme.example'), [])
  t.same(lint(full.replace('workflow: a.yml, ', ''), use, 'https://gitlab.com'), [])
  t.same(lint(full.replace('push', 'merge_request_event'), use, 'https://gitlab.com'), [
    'risky-trigger',
  ])
  t.same(lint(full.replace('heads/main', 'heads/*'), use, 'https://gitlab.com'), [
    'wildcard-ref',
  ])
  const circleci = 'https://oidc.circleci.com/org/1'
  const pipeline =
    "subject: 'https://circleci.com/x', repository: https://a.example/b/c, ref: refs/heads/main"
  t.same(lint(pipeline, use, circleci), [])
  t.same(lint(`${pipeline}, runner: ssh-rerun`, use, circleci), ['risky-runner'])
  for (const part of pipeline.split(', '))
    t.same(
      lint(
        `ownerId: '1', ${pipeline.replace(part, '').replace(/^, |, (?=, |$)/, '')}`,
        use,
        circleci,
      ),
      ['wide-identity'],
      part,
    )
  t.same(lint('subject: a@acme.example', use, 'https://accounts.google.com'), [])
  const preset = (text: string) => warnings(`identities:\n  x: { ${text} }\n${use}`)
  t.same(preset('github: acme/lib#1, workflow: a.yml'), [])
  t.same(preset('github: acme/lib, workflow: a.yml'), ['3:8 wide-identity'])
  t.same(preset("github: acme/lib, workflow: a.yml, ownerId: '1'"), [])
  t.same(preset('gitlab: acme/lib#1'), [])
  t.same(preset('gitlab: acme/lib'), ['3:8 wide-identity'])
  t.same(preset('google: a@acme.example'), [])
  const inPlace = `rules: [{ packages: [a], require: { provenance: { issuer: '${github}', ownerId: '1', workflow: a, ref: refs/heads/x } } }]`
  t.same(warnings(inPlace), ['2:37 missing-trigger'])
})

t.test('the shipped policies have no warnings', async t => {
  for (const name of ['baseline', 'strict', 'example']) {
    const file = new URL(`../../config/${name}.policy.yaml`, import.meta.url)
    const located = readPolicy(readFileSync(file, 'utf8'), { file: name })
    t.same(lintPolicy(located, { now }), [], name)
  }
})
