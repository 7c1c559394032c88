import fc from 'fast-check'
import t from 'tap'
import { globMatches } from '../../lib/policy/glob.ts'
import {
  mismatchReasons,
  nearestTrial,
  samePublisher,
  tryIdentity,
} from '../../lib/policy/identity.ts'
import {
  coversName,
  governing,
  inRange,
  parsePattern,
  patternMatches,
} from '../../lib/policy/match.ts'
import type { IdentityPattern } from '../../lib/policy/policy.ts'
import { github, identity, policy } from './material.ts'

const matches = (text: string, name: string, version = '1.0.0') => {
  const pattern = parsePattern(text)
  if ('complaint' in pattern) throw new Error(pattern.complaint)
  return patternMatches(pattern, { name, version })
}

t.test('package patterns match what they read like', async t => {
  const yes: readonly (readonly [string, string, string?])[] = [
    ['*', 'lib'],
    ['*', '@acme/lib'],
    ['lib', 'lib'],
    ['D', 'D'],
    ['@acme/lib', '@acme/lib'],
    ['left-pad@1.3.0', 'left-pad', '1.3.0'],
    ['@acme/lib@1.0.0-rc.1', '@acme/lib', '1.0.0-rc.1'],
    ['lib@1.0.0+build', 'lib', '1.0.0+build'],
    ['@acme/*', '@acme/lib'],
    ['@acme/lib-*', '@acme/lib-core'],
    ['@acme/*-plugin', '@acme/x-plugin'],
    ['acme-*', 'acme-lib'],
    ['*-loader', 'css-loader'],
    ['a-*-z', 'a-m-z'],
  ]
  for (const [pattern, name, version] of yes) t.ok(matches(pattern, name, version), pattern)
  const no: readonly (readonly [string, string, string?])[] = [
    ['lib', 'Lib'],
    ['lib', 'lib2'],
    ['lib', '@acme/lib'],
    ['left-pad@1.3.0', 'left-pad', '1.3.1'],
    ['left-pad@1.3.0', 'left-pad', '1.3.0-rc.1'],
    ['@acme/*', '@acme2/lib'],
    ['@acme/*', '@acme'],
    ['@acme/*', '@acme/'],
    ['@acme/*', '@acme/a/b'],
    ['@acme/*', 'x@acme/a'],
    ['acme-*', 'acme-'],
    ['acme-*', '@acme-x/lib'],
    ['acme-*', 'acme-x/lib'],
    ['acme-*', 'my-acme-lib'],
    ['*-loader', '@acme/css-loader'],
    ['*-loader', '-loader'],
    ['a-*-z', 'a-z'],
    ['a-*-a', 'a-a'],
  ]
  for (const [pattern, name, version] of no) t.notOk(matches(pattern, name, version), pattern)
})

t.test('patterns that are wider than they read are refused, saying what to write', async t => {
  const cases: Readonly<Record<string, RegExp>> = {
    '**': /write "\*"/,
    '*/*': /write "\*"/,
    '@acme*': /write "@acme\/\*"/,
    '@acme/**': /write "@acme\/\*"/,
    'acme*/x': /a scope cannot be a pattern/,
    '@*/x': /a scope cannot be a pattern/,
    '@a*e/x': /a scope cannot be a pattern/,
    '@*/*': /a scope cannot be a pattern/,
    'acme/*': /a scope cannot be a pattern/,
    '*foo*': /only one "\*"/,
    '@acme/*-*': /only one "\*"/,
    'react*': /write "react" .* "react-\*"/,
    '@acme/lib*': /write "@acme\/lib" .* "@acme\/lib-\*"/,
    '*loader': /could match more/,
    'lib@*': /takes no pattern after the @; write "lib"/,
    'lib@1.*': /takes no pattern after the @/,
    'lib@^1.0.0': /no exact version; write "lib" and use versions/,
    'lib@latest': /no exact version/,
    'lib@v1.0.0': /no exact version/,
    'lib@1.0': /no exact version/,
    '@acme': /is no package name/,
    'a b': /is no package name/,
    'a/b': /is no package name/,
    '': /is no package name/,
    '@acme/a/b': /is no package name/,
    '^lib$': /is no package name/,
  }
  for (const [text, wanted] of Object.entries(cases)) {
    const pattern = parsePattern(text)
    t.match('complaint' in pattern ? pattern.complaint : 'taken', wanted, text)
  }
})

t.test('what the advice says to write is taken', async t => {
  for (const text of ['@acme*', '@acme/**', '**', '*/*', 'react*', '@acme/lib*']) {
    const pattern = parsePattern(text)
    const advice = 'complaint' in pattern ? pattern.complaint : ''
    const written = [...advice.matchAll(/"([^"]+)"/g)].map(m => m[1] ?? '')
    t.ok(written.length > 0)
    for (const one of written) t.notOk('complaint' in parsePattern(one), one)
  }
})

t.test('names are covered in every version', async t => {
  const covers = (text: string, name: string) => {
    const pattern = parsePattern(text)
    return !('complaint' in pattern) && coversName(pattern, name)
  }
  t.ok(covers('lib@1.0.0', 'lib'))
  t.ok(covers('@acme/*', '@acme/lib'))
  t.notOk(covers('@acme/*', '@other/lib'))
})

t.test('ranges take prereleases', async t => {
  t.ok(inRange('2.1.0-beta.1', '>=2.0.0'))
  t.ok(inRange('3.0.0-rc.0', '>=2.0.0'))
  t.notOk(inRange('2.0.0-rc.0', '>=2.0.0'))
  t.ok(inRange('2.0.0-rc.0', '<2.0.0'))
  t.notOk(inRange('2.0.0-rc.0', '^1.0.0'))
  t.notOk(inRange('not a version', '*'))
  t.ok(inRange('2.1.0beta', '>=2.0.0'), 'as clients read it')
  t.ok(inRange('=2.1.0', '>=2.0.0'))
})

t.test('what is no version is under every rule but a waiver', async t => {
  const p = policy(`rules:
  - { packages: [lib], versions: ">=3", allow: { reason: x } }
  - { name: range, packages: [lib], versions: ">=2", deny: { reason: x } }`)
  const governs = (version: string) => governing(p, { name: 'lib', version }).name
  t.same(['2.0.0', 'evil', '2.0.0.1', '', '1.0.0'].map(governs), [
    'range',
    'range',
    'range',
    'range',
    'defaults',
  ])
})

t.test('the first rule that matches governs', async t => {
  const p = policy(`rules:
  - { name: one, packages: [lib], versions: ">=2", deny: { reason: x } }
  - { name: two, packages: ["*"], versions: "<3", mode: observe }
  - { name: three, packages: [lib], deny: { reason: x } }
`)
  const name = (version: string, of = 'lib') => governing(p, { name: of, version }).name
  t.equal(name('2.0.0'), 'one')
  t.equal(name('1.0.0'), 'two')
  t.equal(name('1.0.0', 'other'), 'two')
  t.equal(name('4.0.0', 'other'), 'defaults')
})

// ------------------------------------------------------------------ globs

const word = fc.string({ minLength: 1, maxLength: 6 }).filter(s => !/[*{}]/.test(s))

t.test('globs are anchored at both ends', async t => {
  t.ok(globMatches('refs/tags/*', 'refs/tags/v1'))
  t.notOk(globMatches('refs/tags/*', 'refs/tags/v1/x'))
  t.notOk(globMatches('refs/tags/*', 'refs/tags/'))
  t.ok(globMatches('refs/heads/**', 'refs/heads/a/b'))
  t.notOk(globMatches('refs/heads/**', 'xrefs/heads/a'))
  t.ok(globMatches('a*b*c', 'axxbxxc'))
  t.notOk(globMatches('a*b*c', 'axxbxxcd'))
  t.ok(globMatches('v{version}', 'v1.2.3', { version: '1.2.3' }))
  t.notOk(globMatches('v{version}', 'v1x2x3', { version: '1.2.3' }), 'a dot is a dot')
  t.ok(globMatches('v{version}', 'v1.0.0-$&', { version: '1.0.0-$&' }))
  t.notOk(globMatches('v{version}', 'v1', { version: '*' }), 'a version is no glob')
})

t.test('a branch named like the end of the pattern does not pass', async t => {
  const wanted = 'https://github.com/acme/lib/.github/workflows/**@refs/heads/main'
  const at = (ref: string) => `https://github.com/acme/lib/.github/workflows/r.yml@${ref}`
  t.ok(globMatches(wanted, at('refs/heads/main'), { atParts: true }))
  const evil = at('refs/heads/evil@refs/heads/main')
  t.notOk(globMatches(wanted, evil, { atParts: true }))
  for (const field of ['subject', 'signer'] as const) {
    t.ok(tried({ [field]: wanted }, identity({ [field]: at('refs/heads/main') })).matched)
    t.notOk(tried({ [field]: wanted }, identity({ [field]: evil })).matched)
  }
})

t.test('a star stays within its segment', async t => {
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), word, (parts, extra) => {
      const clean = parts.map(p => p.replaceAll('/', '_'))
      const pattern = [...clean.slice(0, -1), '*'].join('/')
      const last = extra.replaceAll('/', '_')
      t.ok(globMatches(pattern, [...clean.slice(0, -1), last].join('/')))
      t.notOk(globMatches(pattern, [...clean.slice(0, -1), last, 'x'].join('/')))
      t.notOk(globMatches(pattern, `${[...clean.slice(0, -1), last].join('/')}/`))
    }),
    { numRuns: 200 },
  )
})

/** The same language by regular expression, with nothing but `*` and `**` in it. */
const byRegExp = (pattern: string) =>
  new RegExp(
    `^${pattern
      .split(/(\*\*|\*)/)
      .map(p => (p === '**' ? '[^]+' : p === '*' ? '[^/]+' : RegExp.escape(p)))
      .join('')}$`,
  )

t.test('globs agree with a regular expression made for the purpose', async t => {
  const piece = fc.constantFrom('a', 'b', '/', '*', '**', '.', 'ab')
  const pattern = fc.array(piece, { maxLength: 6 }).map(p => p.join(''))
  const text = fc.array(fc.constantFrom('a', 'b', '/', '.'), { maxLength: 8 })
  fc.assert(
    fc.property(pattern, text, (p, chars) => {
      fc.pre(!p.includes('***'))
      const s = chars.join('')
      return globMatches(p, s) === byRegExp(p).test(s)
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

t.test('no pattern makes matching slow', async t => {
  const hostile = '*a'.repeat(120)
  t.notOk(globMatches(hostile, 'a'.repeat(2000) + 'b'))
  t.notOk(globMatches('**a'.repeat(120), 'a'.repeat(2000) + 'b'))
})

// ------------------------------------------------------------------ identities

const fields = {
  issuer: github,
  subject: 'https://github.com/acme/lib/.github/workflows/release.yml@refs/tags/v{version}',
  repository: 'https://github.com/acme/lib',
  repositoryId: '1001',
  owner: 'https://github.com/acme',
  ownerId: '77',
  workflow: '.github/workflows/release.yml',
  signer: 'https://github.com/acme/lib/.github/workflows/release.yml@refs/tags/v{version}',
  ref: 'refs/tags/v{version}',
  commit: '0123456789abcdef0123456789abcdef01234567',
  trigger: 'push',
  runner: 'github-hosted',
  environment: 'npm',
  visibility: 'public',
} as const

const fieldNames = Object.keys(fields) as (keyof typeof fields)[]
const tried = (pattern: IdentityPattern['fields'], found = identity(), version = '1.2.3') =>
  tryIdentity({ fields: pattern }, found, version)

t.test('an identity with every field matches itself', async t => {
  t.ok(tried(fields).matched)
  t.notOk(tried(fields, identity(), '1.2.4').matched, 'the tag is not of this version')
})

t.test(
  'changing one character of any pinned field refuses, whichever side it is on',
  async t => {
    const change = fc.record({
      field: fc.constantFrom(...fieldNames),
      at: fc.nat(),
      char: fc.constantFrom(...'abcXYZ019./-_@: é'.split('')),
      kind: fc.constantFrom('replace', 'insert', 'delete', 'append', 'prepend'),
    })
    fc.assert(
      fc.property(change, ({ field, at, char, kind }) => {
        const value = identity()[field] ?? ''
        const i = at % value.length
        const changed = {
          replace: value.slice(0, i) + char + value.slice(i + 1),
          insert: value.slice(0, i) + char + value.slice(i),
          delete: value.slice(0, i) + value.slice(i + 1),
          append: value + char,
          prepend: char + value,
        }[kind]
        fc.pre(changed !== value)
        const found = tried(fields, identity({ [field]: changed }))
        const wanted = tried({ ...fields, [field]: changed })
        const amiss = (trial: typeof found) => trial.fields.filter(f => !f.ok).map(f => f.field)
        return (
          !found.matched &&
          !wanted.matched &&
          amiss(found).join() === field &&
          amiss(wanted).join() === field
        )
      }),
      { numRuns: 500 },
    )
    t.pass()
  },
)

t.test('a field that the certificate does not have is no match', async t => {
  for (const field of fieldNames) {
    const { [field]: _, ...rest } = identity()
    const trial = tried({ [field]: fields[field] }, rest as ReturnType<typeof identity>)
    t.notOk(trial.matched, field)
    const [reason] = mismatchReasons([trial])
    t.match(reason, { code: 'IDENTITY_MISMATCH', field, message: /found nothing$/ })
    t.notOk(reason && 'found' in reason)
  }
})

t.test('a star means itself where globs have no meaning', async t => {
  for (const field of ['issuer', 'repositoryId', 'owner', 'ownerId', 'trigger'] as const)
    t.notOk(tried({ [field]: '*' }).matched, field)
})

t.test('an identity that names nothing, or only a key, matches nobody', async t => {
  t.notOk(tried({}).matched)
  t.notOk(
    tryIdentity({ fields: { issuer: github }, key: { text: 'k.pub' } }, identity(), '1.2.3')
      .matched,
  )
})

t.test('the nearest identity is reported', async t => {
  const far = tried({ issuer: 'x', ownerId: 'y' })
  const near = tried({ issuer: github, ownerId: 'y' })
  const nearer = tried({ issuer: github, trigger: 'push', ownerId: 'y' })
  t.equal(nearestTrial([far, near, nearer]), nearer)
  t.equal(nearestTrial([nearer, near]), nearer)
  t.equal(nearestTrial([]), undefined)
  t.match(mismatchReasons([far, near]), [{ field: 'ownerId', wanted: 'y', found: '77' }])
  t.match(mismatchReasons([]), [{ code: 'IDENTITY_MISMATCH' }])
})

t.test('who is the same publisher', async t => {
  const a = identity()
  t.ok(samePublisher(a, identity({ repository: 'https://github.com/acme/renamed' })))
  t.ok(samePublisher(a, identity({ workflow: 'x', ref: 'y', trigger: 'z', signer: 's' })))
  t.notOk(samePublisher(a, identity({ repositoryId: '2' })), 'a name given to somebody else')
  t.notOk(samePublisher(a, identity({ issuer: 'https://gitlab.com' })))
  const { repositoryId: _, ...old } = identity({ repository: 'https://github.com/Acme/Lib' })
  t.ok(samePublisher(a, old), 'an old certificate without numbers')
  t.notOk(samePublisher(a, { ...old, repository: 'https://github.com/acme/other' }))
  const { repository: __, ...mail } = old
  t.ok(samePublisher({ ...mail, subject: 'a@b' }, { ...mail, subject: 'a@b' }))
  t.notOk(samePublisher({ ...mail, subject: 'a@b' }, { ...mail, subject: 'c@b' }))
  t.notOk(samePublisher(a, { ...mail, subject: a.subject }))
})
