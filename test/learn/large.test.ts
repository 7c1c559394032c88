/** Learned policies of large projects: one line for each publisher, and all that goes on with them. */
import t from 'tap'
import { forget } from '../../lib/learn/forget.ts'
import { learn } from '../../lib/learn/learn.ts'
import { moved } from '../../lib/learn/moved.ts'
import { objections } from '../../lib/learn/prove.ts'
import { readSource } from '../../lib/learn/source.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { lintPolicy } from '../../lib/policy/lint.ts'
import { parsePolicy, readPolicy } from '../../lib/policy/parse.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { observationOf } from '../../lib/learn/observation.ts'
import type { Identity } from '../../lib/types.ts'
import { identity, input, now, signed, verified } from '../policy/material.ts'
import { judged, seen, type Build, type Seen } from './material.ts'

const file = 'p.yaml'
const lessonOf = (all: readonly Seen[], text?: string) =>
  learn({
    observations: seen(...all),
    others: [],
    ...(text !== undefined && { source: readSource(text, file) }),
    file,
    heading: ['Made by a test.'],
  })

/** Deterministic; of words as names of packages are made. */
const words =
  'array ast browser bundle cache chalk cli color core data date deep diff env file find fs glob hash http is json lazy lexer loader log map merge mime node object once parse path pick plugin queue regex retry router schema semver set source stream string tar test token trim type url util walk wrap yaml'.split(
    ' ',
  )
const nameOf = (i: number): string => {
  const n = words.length
  return `${words[i % n]}-${words[(i + 1 + Math.floor(i / n)) % n]}`
}
const workflows = ['release', 'publish', 'ci', 'main'].map(
  name => `.github/workflows/${name}.yml`,
)

const buildOf = (r: number): Build => ({
  repo: `${words[(r * 5) % words.length]}js/${nameOf(r)}`,
  id: String(10_000_000 + r * 7_654_321),
  workflow: workflows[r % workflows.length],
  ref: r % 3 === 0 ? 'refs/heads/main' : undefined,
  ...(r % 3 !== 0 && { ref: 'refs/tags/v1.2.3' }),
  ...(r % 9 === 4 && { trigger: 'workflow_dispatch' }),
  ...(r % 8 === 5 && { environment: 'npm' }),
})

/**
 * 500 packages as projects have them: families, some of which were built in two ways, single
 * packages that came without provenance earlier, and many that only the registry signed.
 */
const project = (repositories: number, packages = 500): readonly Seen[] => {
  const built = Array.from({ length: repositories }, (_, r): Seen[] => {
    const build = buildOf(r)
    const version = r % 3 === 0 ? `${1 + (r % 7)}.2.0` : '1.2.3'
    const others = r % 4 === 0 ? ['0.1.0'] : []
    const one = (name: string, more?: Partial<Build>): Seen => ({
      name,
      version,
      build: { ...build, ...more },
      others,
    })
    if (r % 10 === 0)
      return Array.from({ length: 8 }, (_, i) =>
        one(
          `@${words[(r * 5) % words.length]}${r}/${words[i]}`,
          r % 20 === 0 && i === 7 ? { ref: 'refs/heads/next' } : {},
        ),
      )
    return [one(nameOf(r))]
  }).flat()
  const signed = Array.from({ length: packages - built.length }, (_, i): Seen =>
    i % 6 === 0
      ? { name: `@types/${nameOf(i + 100)}`, version: '1.0.0' }
      : { name: nameOf(i + 100), version: '1.0.0' },
  )
  return [...built, ...signed]
}
const linesOf = (text: string) => text.trimEnd().split('\n')

t.test('500 packages of 60 to 80 repositories', async t => {
  for (const repositories of [30, 60, 70, 80]) {
    const all = project(repositories)
    t.equal(new Set(all.map(({ name }) => name)).size, 500)
    const { text } = lessonOf(all)
    const lines = linesOf(text)
    t.ok(lines.length < 150, `${lines.length} lines for ${repositories} repositories`)
    t.ok(Math.max(...lines.map(line => line.length)) <= 150)
    t.strictSame(
      lintPolicy(readPolicy(text, { file }), { now, packages: all }),
      [],
      'nothing is wider than it looks, and nothing is there for nothing',
    )
    t.strictSame(
      objections(text, {
        file,
        among: policy => [policy],
        learned: all.map(judged),
        pinned: new Set(all.flatMap(o => (o.build ? [`${o.name}@${o.version}`] : []))),
        now,
      }),
      [],
      'all of it is admitted, and each publisher pinned',
    )
  }
})

t.test('built elsewhere is refused', async t => {
  const all = project(70)
  const policy = parsePolicy(lessonOf(all).text, { file })
  for (const one of all) {
    if (!one.build) continue
    const { build } = one
    for (const other of [
      { repo: 'evil/x', id: '1' },
      { id: '1' },
      { workflow: '.github/workflows/evil.yml' },
      { ref: 'refs/heads/evil' },
      { trigger: 'pull_request_target' },
      { runner: 'self-hosted' },
    ]) {
      const input = judged({ ...one, build: { ...build, ...other } })
      const { decision, reasons } = judge([policy], input, now)
      t.equal(decision, 'refuse', `${one.name} ${JSON.stringify(other)}`)
      t.ok(reasons.some(({ code }) => code === 'IDENTITY_MISMATCH'))
    }
  }
})

t.test('what it looks like', async t => {
  const { text } = lessonOf(project(70))
  t.match(text, /^ {2}- name: each built by its own repository, on push # learned$/m)
  t.match(text, /^ {4}require: \{ registrySignature: required \}$/m)
  t.match(text, /^ {4}each: \{ trigger: push \}$/m)
  t.match(
    text,
    /^ {6}- \{ packages: \[[a-z-]+\], github: [a-z]+js\/[a-z-]+#\d+, workflow: publish\.yml \}$/m,
    'a line for each',
  )
  t.match(text, /started by hand # learned$/m)
  t.match(
    text,
    /\{ packages: \['@\w+\/\*'\],[^}]*branch: \[main, next\] \}/,
    'two branches of one repository',
  )
  t.notMatch(text, 'identities:', 'no name is needed')
})

t.test('learned again', async t => {
  const all = project(70)
  const { text } = lessonOf(all)
  t.equal(lessonOf(all, text).text, text, 'nothing new, nothing changed')
  t.equal(lessonOf(all.toReversed()).text, text, 'in any order')

  const [family] = all
  const single = all.find(({ name }) => name === nameOf(3))
  if (!family?.build || !single?.build) return t.fail('no builds')
  const more = lessonOf(
    [
      ...all,
      { ...single, name: 'sibling' },
      { name: 'newcomer', version: '1.0.0', build: { repo: 'new/comer' } },
      { name: 'bare-one', version: '1.0.0' },
      // another version of a family, by the second of its two branches
      { ...family, version: '9.9.9', build: { ...family.build, ref: 'refs/heads/next' } },
    ],
    text,
  )
  t.same(
    more.joined.map(({ packages }) => packages),
    [['sibling'], ['bare-one']],
  )
  const [added, removed] = [
    linesOf(more.text).filter(line => !text.includes(line)),
    linesOf(text).filter(line => !more.text.includes(line)),
  ]
  t.ok(added.length <= 4 && removed.length <= 3, added.join('\n'))
  t.match(
    more.text,
    /\n {6}- \{ packages: \[newcomer\], github: new\/comer#\d+, workflow: release\.yml \}\n/,
    'in the rule that is there',
  )
  t.equal(
    more.text.match(/each built by its own repository, on push/g)?.length,
    1,
    'and in no other',
  )
  t.strictSame(lintPolicy(readPolicy(more.text, { file }), { now }), [])

  // what is younger than a rule that somebody wrote stands behind it
  const own = text.replace(
    '  - name: signed by the registry',
    "  - name: mine\n    packages: ['newc*']\n    deny: { reason: x }\n  - name: signed by the registry",
  )
  const mine = own.replace("'newc*'", 'comer')
  const behind = lessonOf(
    [...all, { name: 'newcomer', version: '1.0.0', build: { repo: 'new/comer' } }],
    mine,
  ).text
  t.ok(behind.indexOf('name: mine') < behind.indexOf('newcomer'))
})

t.test('single versions of another stand before the publisher of the rest', async t => {
  const all = project(70)
  const { text } = lessonOf(all)
  const by = (version: string, repo: string): Seen => ({
    name: 'lent-out',
    version,
    build: { repo, ref: 'refs/heads/main' },
  })
  const versions = [by('1.0.0', 'own/er'), by('1.5.0', 'other/er'), by('2.0.0', 'own/er')]
  const learned = [...all, ...versions]
  for (const said of [lessonOf(learned, text).text, lessonOf(learned).text])
    t.strictSame(
      objections(said, {
        file,
        among: policy => [policy],
        learned: learned.map(judged),
        pinned: new Set(versions.map(({ version }) => `lent-out@${version}`)),
        now,
      }),
      [],
    )
})

t.test('a repository of another owner is a decision', async t => {
  const all = project(70)
  const source = readSource(lessonOf(all).text, file)
  t.same(moved(source, seen(...all)), [])
  const [first] = all
  if (!first?.build) return t.fail('no build')
  const gone = seen({ ...first, build: { repo: 'evil/x', id: '1' } })
  t.match(moved(source, gone), [{ found: 'https://github.com/evil/x (id 1)' }])
})

t.test('forgotten, in part and as a whole', async t => {
  const all = project(70)
  const { text } = lessonOf(all)
  const source = readSource(text, file)
  const nothing = forget(source, new Set()).text
  t.notMatch(nothing, /rules|publishers|learned #/)
  t.equal(lessonOf(all, nothing).text, text, 'and learned anew, the same')

  const name = nameOf(3)
  const left = forget(source, new Set([name])).text
  const { rules } = parsePolicy(left, { file })
  t.same(
    rules.map(rule => rule.packages.map(p => p.text)),
    [[name]],
    'what could not be learned keeps what guards it',
  )

  // a mark taken away from the rule makes all of it the own
  const kept = text.replace(/(, on push) # learned/, '$1')
  t.equal(
    parsePolicy(forget(readSource(kept, file), new Set()).text, { file }).rules.length,
    parsePolicy(text, { file }).rules.filter(rule => rule.name.includes(', on push')).length,
  )
  // a comment and a rule of the own stay
  const commented = text.replace(
    'rules:\n',
    'rules:\n  # by hand\n  - { packages: [x], deny: { reason: y } }\n',
  )
  t.match(forget(readSource(commented, file), new Set()).text, /# by hand\n {2}- \{ packages/)
})

t.test('written by hand', async t => {
  const text = `version: 1
identities:
  named: { github: acme/named#7, workflow: release.yml, branch: main, trigger: push } # learned
rules:
  - name: each # learned
    each: { trigger: push }
    publishers: [{ packages: [a], github: acme/a#1, workflow: release.yml, branch: main }]
  - name: others # learned
    publishers:
      - packages:
          - b # first
          - d
        github: acme/b#2
        workflow: release.yml
        branch: [main, next]
        trigger: [push, release]
      - { packages: [c], provenance: named }
`
  const one = (name: string, repo: string, id: string, more: Partial<Build> = {}): Seen => ({
    name,
    version: '1.0.0',
    unsigned: true,
    build: { repo, id, ref: 'refs/heads/main', ...more },
  })
  const { joined, text: next } = lessonOf(
    [
      one('aa', 'acme/a', '1'),
      one('bb', 'acme/b', '2', { ref: 'refs/heads/next', trigger: 'release' }),
      one('cc', 'acme/named', '7'),
    ],
    text,
  )
  t.same(joined, [
    { rule: 'each: acme/a', packages: ['aa'] },
    { rule: 'others: acme/b', packages: ['bb'] },
    { rule: 'others: named', packages: ['cc'] },
  ])
  t.match(next, 'publishers: [{ packages: [a, aa],')
  t.match(next, '          - b # first\n          - bb\n          - d\n')
  t.match(next, '- { packages: [c, cc], provenance: named }')
  t.not(
    policyDigest([parsePolicy(text, { file })]),
    policyDigest([parsePolicy(next, { file })]),
  )
})

t.test('publishers of other issuers', async t => {
  const found = (over: {
    readonly [K in keyof Identity]?: Identity[K] | undefined
  }): Identity =>
    Object.fromEntries(
      Object.entries({ ...identity(), environment: undefined, ...over }).filter(
        ([, value]) => value !== undefined,
      ),
    ) as Identity
  const bare = {
    signer: undefined,
    repository: undefined,
    repositoryId: undefined,
    owner: undefined,
    ownerId: undefined,
    workflow: undefined,
    ref: undefined,
    commit: undefined,
    trigger: undefined,
    runner: undefined,
    visibility: undefined,
  }
  const api = 'https://circleci.com/api/v2/projects/22222222-2222-4222-8222-222222222222'
  const identities: Readonly<Record<string, Identity>> = {
    gitlab: found({
      issuer: 'https://gitlab.com',
      subject: 'https://gitlab.com/acme/tools/lib//.gitlab-ci.yml@refs/tags/v1.2.3',
      signer: 'https://gitlab.com/acme/tools/lib//.gitlab-ci.yml@refs/tags/v1.2.3',
      repository: 'https://gitlab.com/acme/tools/lib',
      workflow: '.gitlab-ci.yml',
      runner: 'gitlab-hosted',
    }),
    enterprise: found({ issuer: 'https://token.actions.githubusercontent.com/acme' }),
    circleci: found({
      ...bare,
      issuer: 'https://oidc.circleci.com/org/11111111-1111-4111-8111-111111111111',
      subject: `${api}/pipeline-definitions/33333333-3333-4333-8333-333333333333`,
      signer: `${api}/pipeline-definitions/33333333-3333-4333-8333-333333333333`,
      repository: 'https://github.com/acme/app',
      ref: 'refs/heads/main',
      runner: '""',
    }),
    google: found({
      ...bare,
      issuer: 'https://accounts.google.com',
      subject: 'release@acme.iam.gserviceaccount.com',
      subjectType: 'email',
    }),
    other: found({
      ...bare,
      issuer: 'https://issuer.acme.example',
      subject: 'ana!acme.example',
      subjectType: 'other',
    }),
  }
  const inputs = Object.entries(identities).map(([name, who]) =>
    input({ name, version: '1.2.3', provenance: verified(who), registrySignature: signed }),
  )
  const { text } = learn({
    observations: inputs.map(observationOf),
    others: [],
    file,
    heading: [],
  })
  for (const line of [
    /name: circleci is built by acme\/app # learned\n {4}packages: \[circleci\]\n/,
    / {2}acme-tools-lib: \{ gitlab: acme\/tools\/lib#1001, trigger: push \} # learned\n/,
    / {2}acme-lib: \{ github: acme\/lib#1001, workflow: release\.yml, trigger: push, enterprise: acme \} # learned\n/,
    / {2}app: \{ circleci: \{ organization: '1{8}[^}]+, pipeline: '3{8}[^}]+ \}, /,
    / {2}release-acme\.iam\.gserviceaccount\.com: \{ google: release@acme\.iam\.gserviceaccount\.com \} # learned\n/,
    /issuer: https:\/\/issuer\.acme\.example\n {4}subject: '?ana!acme\.example'?\n/,
  ])
    t.match(text.replaceAll(/,\n +/g, ', '), line)
  t.strictSame(
    objections(text, {
      file,
      among: policy => [policy],
      learned: inputs,
      pinned: new Set(inputs.map(({ package: { name, version } }) => `${name}@${version}`)),
      now,
    }),
    [],
  )
  const policy = parsePolicy(text, { file })
  const refused = (name: string, over: Partial<Identity>) => {
    const facts = { name, version: '1.2.3', registrySignature: signed }
    const who = { ...(identities[name] as Identity), ...over }
    const { decision } = judge([policy], input({ ...facts, provenance: verified(who) }), now)
    t.equal(decision, 'refuse', `${name} ${JSON.stringify(over)}`)
  }
  refused('gitlab', { issuer: 'https://gitlab.acme.example' })
  refused('gitlab', { trigger: 'merge_request_event' })
  refused('enterprise', { issuer: 'https://token.actions.githubusercontent.com' })
  refused('circleci', { runner: 'ssh-rerun' })
  refused('circleci', { repository: 'https://github.com/evil/app' })
  refused('google', { subject: 'release@evil.iam.gserviceaccount.com' })
  refused('other', { issuer: 'https://evil.example' })
})
