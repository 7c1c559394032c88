/** `publishers`: many packages in one rule, each from whoever builds it. */
import t from 'tap'
import { explain } from '../../lib/policy/explain.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { lintPolicy } from '../../lib/policy/lint.ts'
import { readPolicy } from '../../lib/policy/parse.ts'
import { suggest } from '../../lib/policy/suggest.ts'
import { complaints, identity, input, now, policy, verified } from './material.ts'

const compact = `identities:
  named: { github: acme/named#7, workflow: release.yml }
rules:
  - name: each from its own
    mode: observe
    minimumAge: 3d
    require: { registrySignature: required }
    each: { trigger: release, environment: prod }
    publishers:
      - { packages: [lib, '@acme/*'], github: acme/lib#1001, workflow: release.yml, environment: npm }
      - { packages: [old], versions: '>=2', provenance: [named] }
      - packages: [old]
        issuer: https://token.actions.githubusercontent.com
        repositoryId: '9'
        workflow: a.yml
        ref: refs/heads/main
  - { name: other, packages: [other], deny: { reason: x } }
`
const long = `identities:
  named: { github: acme/named#7, workflow: release.yml }
rules:
  - name: 'each from its own: acme/lib'
    mode: observe
    minimumAge: 3d
    packages: [lib, '@acme/*']
    require:
      registrySignature: required
      provenance:
        github: acme/lib#1001
        workflow: release.yml
        environment: npm
        trigger: release
  - name: 'each from its own: named'
    mode: observe
    minimumAge: 3d
    packages: [old]
    versions: '>=2'
    require: { registrySignature: required, provenance: [named] }
  - name: 'each from its own: old'
    mode: observe
    minimumAge: 3d
    packages: [old]
    require:
      registrySignature: required
      provenance:
        issuer: https://token.actions.githubusercontent.com
        repositoryId: '9'
        workflow: a.yml
        ref: refs/heads/main
        trigger: release
        environment: prod
  - { name: other, packages: [other], deny: { reason: x } }
`
/** Without where it stands. */
const meaning = (text: string): unknown =>
  JSON.parse(
    JSON.stringify(policy(text), (key, value: unknown) => (key === 'line' ? 0 : value)),
  )

t.test('an entry means what a rule of its own would', async t => {
  t.same(meaning(compact), meaning(long))
  t.same(
    policy(compact).rules.map(({ line }) => line),
    [11, 12, 13, 18],
    'and stands where it stands',
  )
})

t.test('judged, explained and amended', async t => {
  const enforced = policy(compact.replace('    mode: observe\n', ''))
  const own = verified(identity({ trigger: 'release' }))
  const other = verified(
    identity({
      repository: 'https://github.com/evil/x',
      repositoryId: '8',
      trigger: 'release',
    }),
  )
  t.equal(judge([enforced], input({ provenance: own }), now).decision, 'allow')
  const refused = input({ provenance: other })
  t.match(judge([enforced], refused, now), {
    decision: 'refuse',
    reasons: [{ code: 'IDENTITY_MISMATCH' }, { code: 'IDENTITY_MISMATCH' }],
    layers: [{ rule: 'each from its own: acme/lib', line: 10 }],
  })
  const { layers } = explain([enforced], refused, now)
  t.match(layers[0]?.tried, [{ matched: true, why: 'the name matches lib' }])
  t.match(layers[0]?.nearestMiss?.fields, [{ field: 'issuer', ok: true }, { ok: false }])
  t.match(suggest([enforced], refused, now).lines, /github: "evil\/x#8"/)
  const old = (version: string) =>
    judge([enforced], input({ name: 'old', version, provenance: own }), now).layers[0]?.rule
  t.equal(old('2.0.0'), 'each from its own: named')
  t.equal(old('1.0.0'), 'each from its own: old')
})

t.test('names are told apart', async t => {
  const { rules } = policy(`rules:
  - publishers:
      - { packages: [a], github: acme/lib, workflow: release.yml }
      - { packages: [b], github: acme/lib, workflow: release.yml, branch: main }
      - { packages: [c], gitlab: acme/lib }
      - { packages: [d], google: a@acme.example }
      - { packages: [e], issuer: https://a.example, repository: https://b.example/acme/x }
      - { packages: [f], issuer: https://a.example, subject: ana }
`)
  t.same(
    rules.map(({ name }) => name.replace('rule 1: ', '')),
    ['acme/lib', 'acme/lib (2)', 'acme/lib (3)', 'a@acme.example', 'acme/x', 'ana'],
  )
})

t.test('what is not taken', async t => {
  const said = (rule: string) => complaints(`version: 1\nrules:\n  - { ${rule} }\n`).join('\n')
  const entry = '{ packages: [a], github: a/b, workflow: c.yml }'
  const cases: readonly (readonly [string, RegExp])[] = [
    [`packages: [a], publishers: [${entry}]`, /packages has no meaning beside publishers/],
    [`versions: '>=1', publishers: [${entry}]`, /versions has no meaning beside publishers/],
    [`upstream: npm, publishers: [${entry}]`, /upstream has no meaning/],
    [`deny: { reason: x }, publishers: [${entry}]`, /deny has no meaning/],
    [`allow: { reason: x }, publishers: [${entry}]`, /allow has no meaning/],
    [`require: { provenance: any }, publishers: [${entry}]`, /each of the publishers says who/],
    [
      `require: { anyOf: [{ manifest: ignore }] }, publishers: [${entry}]`,
      /each of the publishers says who/,
    ],
    ['packages: [a], mode: observe, each: { trigger: push }', /stands beside publishers/],
    ['publishers: []', /at least one publisher/],
    ['publishers: [{ packages: [a] }]', /names nobody/],
    ['publishers: [{ github: a/b, workflow: c.yml }]', /wanted a list of package names/],
    ['publishers: [{ packages: [a], provenance: any }]', /any names no publisher/],
    ['publishers: [{ packages: [a], provenance: ignore }]', /ignore names no publisher/],
    ['publishers: [{ packages: [a], provenance: [any] }]', /stands alone, not in a list/],
    ['publishers: [{ packages: [a], provenance: x }]', /there is no identity "x"/],
    [
      'publishers: [{ packages: [a], provenance: x, github: a/b }]',
      /github would say it again/,
    ],
    ['publishers: [{ packages: [a], github: a/b }]', /any workflow of the repository/],
    ['publishers: [{ packages: ["a*"], github: a/b, workflow: c.yml }]', /more than it reads/],
    ['publishers: [{ packages: [a], key: x }]', /unknown key "key"/],
  ]
  for (const [rule, wanted] of cases) t.match(said(rule), wanted, rule)
})

t.test('warnings stand where they belong', async t => {
  const text = `version: 1
rules:
  - name: each
    publishers:
      - { packages: [a, b], github: acme/a#1, workflow: c.yml }
      - { packages: [b, c], github: acme/b, workflow: c.yml }
      - { packages: [c], github: acme/c#1, workflow: c.yml }
`
  const located = readPolicy(text, { file: 'f' })
  const packages = [{ name: 'a', version: '1.0.0' }]
  t.same(
    lintPolicy(located, { now, packages }).map(
      ({ line, column, code }) => `${line}:${column} ${code}`,
    ),
    [
      '5:25 unmatched-pattern',
      '6:22 unreachable-pattern',
      '6:22 unmatched-pattern',
      '6:25 unmatched-pattern',
      '6:29 wide-identity',
      '7:9 unreachable-rule',
      '7:22 unmatched-pattern',
    ],
  )
})
