/** What learned policies look like. */
import t from 'tap'
import { forget } from '../../lib/learn/forget.ts'
import { scalar } from '../../lib/learn/layout.ts'
import { learn, type Lesson } from '../../lib/learn/learn.ts'
import { objections } from '../../lib/learn/prove.ts'
import { readSource } from '../../lib/learn/source.ts'
import { unifiedDiff } from '../../lib/learn/unified-diff.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { parse } from 'yaml'
import { now } from '../policy/material.ts'
import { judged, seen, type Build, type Seen } from './material.ts'

const file = 'p.yaml'
const lessonOf = (
  all: readonly Seen[],
  text?: string,
  others: readonly string[] = [],
): Lesson =>
  learn({
    observations: seen(...all),
    others,
    ...(text !== undefined && { source: readSource(text, file) }),
    file,
    heading: ['Made by a test.'],
  })

type Rule = {
  packages: string[]
  versions?: string
  require: { provenance?: string | string[] }
}
type Policy = { identities?: Record<string, Record<string, string>>; rules?: Rule[] }

/** `[packages, versions, provenance]` of each rule, and the identities. */
const taught = (...all: readonly Seen[]) => {
  const { text } = lessonOf(all)
  const { rules = [] } = parse(text) as Policy
  const { identities } = parsePolicy(text, { file })
  return {
    identities: Object.fromEntries(
      Object.entries(identities).map(([name, { fields }]) => [name, fields]),
    ),
    rules: rules.map(({ packages, versions, require: { provenance } }) => [
      packages.join(' '),
      versions,
      ...(provenance === undefined ? [] : [provenance].flat()),
    ]),
  }
}

const main: Build = { repo: 'acme/mono', ref: 'refs/heads/main' }
const tags: Build = { repo: 'acme/mono' }
const one = (
  name: string,
  version: string,
  build?: Build,
  others?: readonly string[],
): Seen => ({
  name,
  version,
  ...(build && { build }),
  ...(others && { others }),
})

t.test('packages', async t => {
  t.same(
    taught(
      one('@acme/a', '1.0.0', main),
      one('@acme/b', '1.0.0', main),
      one('acme', '1.0.0', main),
    ).rules,
    [['@acme/* acme', undefined, 'mono']],
    'a scope and a name',
  )
  t.same(
    taught(one('@acme/a', '1.0.0', main)).rules,
    [['@acme/a', undefined, 'mono']],
    'one is no scope',
  )
  t.same(
    taught(
      one('@acme/a', '1.0.0', main),
      one('@acme/b', '1.0.0', main),
      one('@acme/c', '1.0.0'),
    ).rules,
    [
      ['@acme/a @acme/b', undefined, 'mono'],
      ['@acme/c', undefined],
    ],
    'a scope of which one is not built there',
  )
  t.same(
    taught(one('@acme/a', '1.0.0', main), one('@acme/b', '1.0.0', { ...main, repo: 'acme/b' }))
      .rules,
    [
      ['@acme/a', undefined, 'mono'],
      ['@acme/b', undefined, 'b'],
    ],
    'a scope of two repositories',
  )
  t.same(
    (
      parse(
        lessonOf([one('@acme/a', '1.0.0', main), one('@acme/b', '1.0.0', main)], undefined, [
          '@acme/x',
        ]).text,
      ) as Policy
    ).rules?.[0]?.packages,
    ['@acme/a', '@acme/b'],
    'a scope of which one was refused',
  )
})

t.test('workflows and refs', async t => {
  const wf = (name: string): Build => ({ ...main, workflow: `.github/workflows/${name}.yml` })
  t.same(
    taught(one('a', '1.0.0', wf('a')), one('b', '1.0.0', wf('b'))).rules,
    [
      ['a', undefined, 'mono'],
      ['b', undefined, 'mono-b'],
    ],
    'each package by its own workflow',
  )
  t.same(
    taught(one('a', '1.0.0', wf('a')), one('a', '2.0.0', wf('b')), one('b', '2.0.0', wf('b')))
      .rules,
    [['a b', undefined, 'mono', 'mono-a']],
    'one workflow after the other',
  )
  t.match(taught(one('a', '1.0.0', tags), one('a', '1.1.0', main)).identities, {
    'mono-tags': { ref: 'refs/tags/v{version}' },
    mono: { ref: 'refs/heads/main' },
  })
  const ref = (...pairs: readonly (readonly [version: string, ref: string, name?: string])[]) =>
    Object.values(
      taught(...pairs.map(([version, ref, name = 'a']) => one(name, version, { ...main, ref })))
        .identities,
    ).map(identity => identity['ref'])
  t.same(ref(['1.0.0', 'refs/tags/a@1.0.0']), ['refs/tags/a@{version}'])
  t.same(ref(['1.0.0', 'refs/tags/v11.0.0']), ['refs/tags/v11.0.0'], 'part of another number')
  t.same(ref(['1.0.0', 'refs/tags/v1.0.0.1']), ['refs/tags/v1.0.0.1'])
  t.same(ref(['1.0.0', 'refs/tags/1.0.0/1.0.0']), ['refs/tags/1.0.0/1.0.0'], 'twice')
  t.same(ref(['1.0.0', 'refs/heads/r/1.0.0']), ['refs/heads/r/1.0.0'], 'a branch, seen once')
  t.same(ref(['1.0.0', 'refs/heads/r/1.0.0'], ['1.1.0', 'refs/heads/r/1.1.0']), [
    'refs/heads/r/{version}',
  ])
  const each = (n: number, scope = '@s/') =>
    ref(
      ...Array.from({ length: n }, (_, i) => {
        const name = `${scope}p${i}x`
        return ['1.0.0', `refs/tags/${name}@1.0.0`, name] as const
      }),
    )
  t.equal(each(3).length, 3, 'tags named after packages are listed')
  t.same(each(4), ['refs/tags/@s/*@{version}'], 'until there are many')
  t.same(each(4, ''), ['refs/tags/*@{version}'])
  t.match(
    taught(
      one('a', '1.0.0', { ...main, trigger: 'push' }),
      one('a', '1.1.0', { ...main, trigger: 'schedule' }),
    ).rules,
    [['a', undefined, 'mono', 'mono-schedule']],
    'triggers are not left open',
  )
  t.match(
    taught(one('a', '1.0.0', { ...main, environment: 'npm' }), one('a', '1.1.0', main))
      .identities,
    { mono: { ref: 'refs/heads/main' } },
  )
  t.match(
    taught(
      one('a', '1.0.0', {
        ...main,
        signer: 'https://github.com/x/y/.github/workflows/z.yml@refs/tags/v1',
      }),
    ).identities,
    { mono: { signer: 'https://github.com/x/y/.github/workflows/z.yml@refs/tags/v1' } },
    'a reusable workflow that signs',
  )
})

t.test('versions', async t => {
  const floors = (...all: readonly Seen[]) => taught(...all).rules.map(rule => rule.slice(0, 2))
  t.same(floors(one('a', '2.0.0', main, ['1.0.0'])), [['a', '>=2.0.0']])
  t.same(
    floors(one('a', '2.0.0', main, ['1.0.0+', '3.0.0'])),
    [['a', undefined]],
    'older ones have it',
  )
  t.same(
    floors(one('a', '2.0.0', main, ['1.0.0']), one('b', '3.0.0', main, ['1.0.0'])),
    [['a b', '>=2.0.0']],
    'one floor for both',
  )
  t.same(
    floors(one('a', '2.0.0', main, ['1.0.0']), one('b', '3.0.0', main, ['2.5.0'])),
    [
      ['a', '>=2.0.0'],
      ['b', '>=3.0.0'],
    ],
    'no floor suits both',
  )
  t.same(
    floors(one('@s/a', '2.0.0', main, ['1.0.0']), one('@s/b', '3.0.0', main, ['2.5.0'])),
    [
      ['@s/b', '<3.0.0'],
      ['@s/*', '>=2.0.0'],
    ],
    'in a scope, the older ones are let be',
  )
  t.same(
    floors(one('a', '2.0.0', main, ['2.1.0']), one('a', '2.1.0', undefined, ['2.0.0+'])),
    [
      ['a@2.1.0', undefined],
      ['a', undefined],
    ],
    'a version without, among those with',
  )
})

t.test('earlier publishers', async t => {
  const legacy: Build = {
    ...tags,
    id: undefined,
    runner: undefined,
    workflow: '.github/workflows/old.yml',
  }
  t.same(taught(one('a', '1.0.0', legacy), one('a', '2.0.0', main)).rules, [
    ['a@1.0.0', undefined, 'mono-old'],
    ['a', '>=2.0.0', 'mono'],
  ])
  t.same(taught(one('a', '1.0.0', legacy)).rules, [['a@1.0.0', undefined, 'mono']])
  t.same(
    taught(one('a', '1.0.0', { ...main, repo: 'gone/a' }), one('a', '2.0.0', main)).rules,
    [
      ['a@1.0.0', undefined, 'a'],
      ['a', '>=2.0.0', 'mono'],
    ],
    'what moved away is not followed back',
  )
})

t.test('names of identities', async t => {
  const names = (...repos: readonly string[]) =>
    Object.keys(
      taught(...repos.map((repo, i) => one(`p${i}`, '1.0.0', { ...main, repo }))).identities,
    )
  t.same(names('a/core', 'b/core', 'b/other'), ['a-core', 'b-core', 'other'])
  t.same(names('a/required', 'a/9lives', 'a/.github'), ['a-required', 'github', 'lives'])
  t.same(names('a/x.js', 'a/X_y'), ['X_y', 'x.js'])
})

t.test('added to what is there', async t => {
  const { text } = lessonOf([
    one('@acme/a', '1.0.0', main),
    one('b', '1.0.0', main),
    one('plain', '1.0.0'),
  ])
  const more = (...all: readonly Seen[]) => lessonOf(all, text)
  t.same(more(one('d', '2.0.0', main)).joined, [
    { rule: '@acme/a and b are built by acme/mono', packages: ['d'] },
  ])
  t.match(
    more(one('d', '2.0.0', main), one('c', '1.0.0', main)).text,
    "packages: ['@acme/a', b, c, d]",
  )
  t.match(
    more(one('zebra', '2.0.0'), one('ape', '2.0.0')).text,
    'packages: [ape, plain, zebra]',
  )
  t.match(more(one('d', '2.0.0', tags)), {
    joined: [],
    identities: [{ name: 'mono-tags' }],
    rules: [{}],
  })
  t.match(
    more(one('d', '2.0.0', main, ['1.0.0'])),
    { joined: [], identities: [], rules: [{}] },
    'needs a floor',
  )
  const upgraded = more(one('plain', '2.0.0', { repo: 'x/plain' }, ['1.0.0'])).text
  t.ok(
    upgraded.indexOf('plain is built by x/plain') < upgraded.indexOf('signed by the registry'),
    'before the rule that asks less',
  )
  const wide = more(
    ...Array.from({ length: 20 }, (_, i) => one(`long-name-${i}`, '1.0.0')),
  ).text
  t.ok(Math.max(...wide.split('\n').map(line => line.length)) <= 100)
  const tall = text.replace(
    "packages: ['@acme/a', b]",
    "packages:\n      - '@acme/a' # first\n      - b",
  )
  t.match(
    lessonOf([one('ab', '1.0.0', main), one('c', '1.0.0', main)], tall).text,
    "packages:\n      - '@acme/a' # first\n      - ab\n      - b\n      - c\n",
  )
})

t.test('a mark taken away makes a part the own', async t => {
  const { text } = lessonOf([one('a', '1.0.0', main), one('b', '1.0.0', tags)])
  const kept = text
    .replace(/( {2}mono: .*) # learned/, '$1')
    .replace(/(a is built by \S+) # learned/, '$1')
  const left = forget(readSource(kept, file), new Set()).text
  t.match(left, /^ {2}mono: \{.*\}$/m)
  t.match(left, 'a is built by acme/mono\n')
  t.notMatch(left, 'learned #')
  t.notMatch(left, 'mono-tags')
  t.match(forget(readSource(text, file), new Set(['b'])).text, /mono-tags: .*# learned/)
  const nothing = forget(readSource(text, file), new Set()).text
  t.notMatch(nothing, /identities|rules/)
  t.equal(lessonOf([one('a', '1.0.0', main), one('b', '1.0.0', tags)], nothing).text, text)
})

t.test('policies of other shapes', async t => {
  const add = (text: string) => lessonOf([one('a', '1.0.0', main)], text).text
  t.equal(
    add('version: 1'),
    'version: 1\n\nidentities:\n  mono: { github: acme/mono#870647, workflow: release.yml, branch: main, trigger: push } # learned\n\nrules:\n  - name: a is built by acme/mono # learned\n    packages: [a]\n    require: { provenance: mono, registrySignature: required }\n',
  )
  t.match(add('version: 1\nrules: []\nidentities: {}\n'), /^rules:\n {2}- name: a .*\n/m)
  for (const text of [
    '{ version: 1 }',
    'version: 1\nidentities: { x: { issuer: "https://x.example", subject: y } }\n',
    'version: 1\nrules: [{ packages: [x], deny: { reason: y } }]\n',
    'version: 1\nrulez: []\n',
  ])
    t.throws(() => add(text), { code: 'EPOLICY' }, text)
})

t.test('scalars are read as they were written', async t => {
  for (const text of [
    'a',
    'refs/tags/v{version}',
    'true',
    'null',
    '.nan',
    '1.0',
    '>=1.0.0',
    '@a/b',
    '*',
    'a: b',
    'a #b',
    'a#b',
    'acme/lib#1',
    '#b',
    "it's",
    'a,b',
    'a, b',
    '[x]',
    'x:',
    '- x',
    '',
    ' ',
    'a\u0000b',
    'ü',
    '"q"',
    'a]',
    'lib: x, y: z',
    '~',
    '.a',
    'y',
  ]) {
    t.equal((parse(`k: ${scalar(text, false)}`) as { k: string }).k, text, `block ${text}`)
    t.same(parse(`[${scalar(text)}, ${scalar(text)}]`), [text, text], `flow ${text}`)
  }
})

t.test('differences', async t => {
  const names = { before: 'a', after: 'b' }
  const text = (...lines: readonly (string | number)[]) =>
    lines.map(line => `${line}\n`).join('')
  const many = Array.from({ length: 30 }, (_, i) => i)
  t.equal(unifiedDiff('x\n', 'x\n', names), '')
  t.equal(unifiedDiff('', 'x\n', names), '--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n')
  t.equal(
    unifiedDiff(text(1, 2, 3), text(1, 'two', 3), names),
    '--- a\n+++ b\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n',
  )
  t.equal(
    unifiedDiff(text(...many), text(...many.filter(n => n !== 5), 'end'), names),
    '--- a\n+++ b\n@@ -3,7 +3,6 @@\n 2\n 3\n 4\n-5\n 6\n 7\n 8\n@@ -28,3 +27,4 @@\n 27\n 28\n 29\n+end\n',
  )
  t.match(unifiedDiff('x', 'x\n', names), '-x\n\\ No newline at end of file\n+x\n')
})

t.test('nothing is put before what people wrote about the same packages', async t => {
  const { text } = lessonOf([one('p', '1.0.0'), one('a', '1.0.0', main)])
  const denied = text.replace(
    '\ndefaults',
    "  - packages: ['p@3.0.0', '@acme/x']\n    deny: { reason: bad }\n\ndefaults",
  )
  const shadowed = lessonOf([one('p', '2.0.0', { repo: 'x/p' }, ['1.0.0'])], denied)
  t.match(shadowed, { text: denied, own: [{ name: 'p' }] })
  const scoped = lessonOf(
    [one('@acme/a', '1.0.0', { repo: 'x/p' }), one('@acme/b', '1.0.0', { repo: 'x/p' })],
    denied,
  )
  t.match(scoped.rules, [{ draft: { packages: ['@acme/a', '@acme/b'] } }], 'no pattern over it')
  t.match(
    lessonOf([one('@acme/a', '2.0.0', main), one('@acme/b', '1.0.0', main)], undefined, [
      '@acme/a',
    ]).rules,
    [{ draft: { packages: ['@acme/a', '@acme/b'] } }],
    'nor over a package of which a version was refused',
  )
  const legacy: Build = { ...tags, id: undefined, workflow: 'old.yml' }
  t.match(
    lessonOf(
      [one('d', '1.0.0', main), one('d', '1.5.0', legacy), one('d', '2.0.0', main)],
      text,
    ),
    { joined: [], rules: [{ draft: { kind: 'exact' } }, { draft: { kind: 'built' } }] },
    'rules for single versions go before the one for the rest',
  )
  const both = [one('e', '2.0.0', main), one('e', '2.1.0', undefined, ['2.0.0+'])]
  const lost = lessonOf(both).text.replace(/ {2}- name: e is[\s\S]*?\n\n/, '')
  t.match(lessonOf(both, lost).rules, [{ draft: { kind: 'built' } }], 'and are not said twice')
  t.equal(lessonOf(both, lost).rules.length, 1)
})

t.test('a policy that does not do what it should is found out', async t => {
  const inputs = [judged(one('a', '1.0.0', main)), judged(one('b', '1.0.0'))]
  const found = (text: string) =>
    objections(text, {
      file,
      among: policy => [policy],
      learned: inputs,
      pinned: new Set(['a@1.0.0']),
      now,
    })
  t.same(found(lessonOf([one('a', '1.0.0', main), one('b', '1.0.0')]).text), [])
  t.match(found('version: 1'), [/the publisher of a@1\.0\.0 would not be pinned/])
  t.match(found(lessonOf([one('a', '1.0.0', tags)]).text), [/a@1\.0\.0 would not be admitted/])
  const observing = lessonOf([one('a', '1.0.0', tags)]).text.replace('enforce', 'observe')
  t.match(found(observing), [/a@1\.0\.0 would not be admitted/])
})
