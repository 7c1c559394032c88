import t from 'tap'
import { explain, type Explanation } from '../../lib/policy/explain.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import {
  absent,
  daysAgo,
  github,
  identity,
  input,
  invalid,
  known,
  now,
  policy,
  releases,
  unavailable,
  verified,
  type Overrides,
} from './material.ts'

const head = 'version: 1\n'
const who = (repository: string) =>
  `{ issuer: '${github}', repository: 'https://github.com/${repository}', trigger: push }`

const told = (text: string, over: Overrides = {}): Explanation =>
  explain([policy(text)], input(over), now)

/** What happens when somebody puts the lines where the advice says. */
const withLines = (text: string, lines: string, over: Overrides = {}) => {
  const amended = `${head}${/^rules:\n/m.test(text) ? text.replace(/^rules:\n/m, `rules:\n${lines}`) : `${text}\nrules:\n${lines}`}`
  return judge([parsePolicy(amended, { file: 'amended' })], input(over), now)
}

t.test('it is JSON', async t => {
  const explanation = told('defaults: { minimumAge: 3d }')
  t.same(JSON.parse(JSON.stringify(explanation)), explanation)
})

t.test('the verdict is the same as judged', async t => {
  const p = [policy('defaults: { minimumAge: 2w }')]
  const asked = input({ claims: { publishedAt: daysAgo(3) } })
  const { decision, reasons, policyDigest, changesAt } = judge(p, asked, now)
  t.match(explain(p, asked, now), {
    decision,
    reasons,
    policyDigest,
    changesAt: changesAt ?? '',
  })
})

t.test('every rule tried, up to the one that governs', async t => {
  const text = `rules:
  - { name: one, packages: [other, "@acme/*"], deny: { reason: x } }
  - { name: two, packages: [lib], versions: ">=2", deny: { reason: x } }
  - { name: three, packages: ["lib@1.2.3"], mode: observe }
  - { name: four, packages: ["*"], deny: { reason: x } }
`
  t.match(told(text).layers, [
    {
      policy: 'test.policy.yaml',
      file: 'test.policy.yaml',
      mode: 'observe',
      tried: [
        { rule: 'one', line: 3, matched: false, why: 'lib@1.2.3 is none of other, @acme/*' },
        { rule: 'two', line: 4, matched: false, why: 'matches lib but does not lie in >=2' },
        { rule: 'three', line: 5, matched: true, why: 'the name matches lib@1.2.3' },
      ],
      governing: { rule: 'three', line: 5, outcome: 'require' },
    },
  ])
  t.equal(told(text).layers[0]?.tried.length, 3)
  t.match(told('defaults: { minimumAge: off }').layers[0]?.tried, [
    { rule: 'defaults', line: 2, matched: true },
  ])
  const many = `rules: [{ packages: [a, b, c, d, e, f, g], mode: observe }]`
  t.match(told(many).layers[0]?.tried[0]?.why, /none of a, b, c, d, e, 2 more$/)
})

t.test('wanted and found, field by field, and the nearest miss', async t => {
  const { layers } = told(`identities:
  far: ${who('far/away')}
  near: { issuer: '${github}', repository: 'https://github.com/acme/lib', ref: refs/heads/main }
defaults: { require: { provenance: [far, near] } }
`)
  t.match(layers[0]?.nearestMiss, { name: 'far', line: 3, matched: false })
  const { layers: closer } = told(`identities:
  far: ${who('far/away').replace('push', 'pull')}
  near: { issuer: '${github}', repository: 'https://github.com/acme/lib', ref: refs/heads/main }
defaults: { require: { provenance: [far, near] } }
`)
  t.match(closer[0]?.nearestMiss, {
    name: 'near',
    fields: [
      { field: 'issuer', wanted: github, found: github, ok: true },
      { field: 'repository', ok: true },
      { field: 'ref', wanted: 'refs/heads/main', found: 'refs/tags/v1.2.3', ok: false },
    ],
  })
  const checks = closer[0]?.alternatives[0]?.checks
  t.match(checks, [
    { what: 'registrySignature', wanted: 'if-present', found: 'verified', ok: true },
    { what: 'publishAttestation', ok: true },
    { what: 'provenance', wanted: 'signed by far or near', ok: false, identities: [{}, {}] },
    { what: 'manifest', found: 'not looked at yet', ok: true },
    { what: 'continuity', ok: true },
  ])
  t.notOk(told('').layers[0]?.nearestMiss)
})

t.test('alternatives, the age and the evidence', async t => {
  const explanation = told(
    `rules: [{ packages: [lib], minimumAge: 3d, require: { anyOf: [{ provenance: any }, { registrySignature: required }] } }]`,
    { provenance: absent, claims: { publishedAt: daysAgo(1) }, registrySignature: unavailable },
  )
  t.match(explanation, {
    package: { name: 'lib', version: '1.2.3' },
    upstream: 'npm',
    decision: 'refuse',
    clock: { source: 'packument' },
    layers: [
      {
        alternatives: [
          { counts: false, ok: false },
          { counts: true, ok: false },
        ],
        age: { what: 'minimumAge', wanted: '3d', ok: false },
      },
    ],
    evidence: {
      facts: [
        {
          fact: 'registrySignature',
          state: 'unavailable',
          detail: 'the upstream did not answer',
        },
        { fact: 'publishAttestation', state: 'absent' },
        { fact: 'provenance', state: 'absent' },
        { fact: 'manifest', state: 'not looked at yet' },
        { fact: 'bytes', state: 'not looked at yet' },
      ],
    },
  })
  t.match(told('').evidence.identity, { repository: 'https://github.com/acme/lib' })
  t.match(told('rules: [{ packages: [lib], allow: { reason: old } }]').layers, [
    { waiver: { reason: 'old' }, governing: { outcome: 'allow' }, alternatives: [] },
  ])
})

t.test('a settled loss says so', async t => {
  const over = {
    provenance: absent,
    history: releases('1.2.2+@200', '1.2.4+@90'),
    claims: { publishedAt: daysAgo(100) },
  }
  const check = told('', over).layers[0]?.alternatives[0]?.checks.at(-1)
  t.match(check, {
    what: 'continuity',
    ok: true,
    found: /compared with 1\.2\.2; the loss is settled/,
  })
})

// ------------------------------------------------------------------ lines

t.test('a signer who was found is pinned, and the rule kept as strong', async t => {
  const text = `rules:
  - { name: r, packages: [lib], minimumAge: 2w, require: { registrySignature: required, provenance: ${who('far/away')} } }
`
  const { lines, addTo, advice } = told(text)
  t.same(addTo, ['test.policy.yaml'])
  t.match(advice, /pin the publisher/)
  t.equal(withLines(text, lines).decision, 'allow')
  const [rule] = parsePolicy(`${head}rules:\n${lines}`, { file: 'lines' }).rules
  t.match(rule, {
    packages: [{ name: 'lib' }],
    versions: '>=1.2.3',
    minimumAge: 14 * 86_400_000,
    outcome: {
      anyOf: [
        {
          registrySignature: 'required',
          provenance: {
            identities: [
              {
                fields: {
                  issuer: github,
                  repository: 'https://github.com/acme/lib',
                  repositoryId: '1001',
                  ownerId: '77',
                  workflow: '.github/workflows/release.yml',
                  ref: 'refs/tags/v{version}',
                },
              },
            ],
          },
        },
      ],
    },
  })
  const next = identity({ ref: 'refs/tags/v1.2.4' })
  t.equal(
    withLines(text, lines, { version: '1.2.4', provenance: verified(next) }).decision,
    'allow',
  )
  const other = identity({ repositoryId: '2' })
  t.equal(withLines(text, lines, { provenance: verified(other) }).decision, 'refuse')
  t.equal(withLines(text, lines, { registrySignature: absent }).decision, 'refuse')
})

t.test('a changed publisher can be named', async t => {
  const over = { history: [known(releases('1.2.2+@400')[0], identity({ repositoryId: '2' }))] }
  const { lines, reasons } = told('', over)
  t.match(reasons, [{ code: 'PUBLISHER_CHANGED' }])
  t.match(lines, /github: "acme\/lib#1001"/)
  t.equal(withLines('', lines, over).decision, 'allow')
})

t.test('else a waiver for this version alone, for thirty days', async t => {
  const over = { provenance: absent, history: releases('1.2.2+@400') }
  const { lines, advice } = told('', over)
  t.match(advice, /30 days/)
  t.match(lines, /packages: \["lib@1\.2\.3"\]/)
  t.match(lines, /until: 2026-12-22/)
  t.match(lines, /DOWNGRADED/)
  t.equal(withLines('', lines, over).decision, 'allow')
  t.equal(withLines('', lines, { ...over, version: '1.2.4' }).decision, 'refuse')
})

t.test('the name of the rule is not taken yet', async t => {
  const over = { provenance: absent, history: releases('1.2.2+@400') }
  const first = told('', over).lines
  const text = `rules:\n${first.replace('lib@1.2.3"]', 'other@1.0.0"]')}`
  const { lines } = told(text, over)
  t.match(lines, /\(2\)/)
  t.equal(withLines(text, lines, over).decision, 'allow')
})

t.test('lines go to every layer that refuses, and admit there', async t => {
  const layers = [
    policy('defaults: { require: { provenance: any } }', 'organization'),
    policy('', 'quiet'),
    policy('defaults: { deny: { reason: not listed } }', 'team'),
  ]
  const { lines, addTo } = explain(layers, input({ provenance: absent }), now)
  t.same(addTo, ['organization', 'team'])
  const { rules } = parsePolicy(`${head}rules:\n${lines}`, { file: 'lines' })
  const amended = layers.map(l => (addTo.includes(l.name) ? { ...l, rules } : l))
  t.equal(judge(amended, input({ provenance: absent }), now).decision, 'allow')
})

t.test('what only observing would refuse gets its lines too', async t => {
  const over = { provenance: absent, history: releases('1.2.2+@400') }
  const text = 'mode: observe'
  const { lines, decision } = told(text, over)
  t.equal(decision, 'allow')
  t.same(withLines(text, lines, over).reasons, [])
  const own = `mode: observe
rules:
  - { name: r, packages: [lib], mode: enforce, require: { provenance: ${who('far/away')} } }
`
  t.match(told(own).lines, /mode: enforce/)
})

t.test('nothing is offered where nothing may be', async t => {
  const cases: readonly (readonly [text: string, over: Overrides, advice: RegExp])[] = [
    ['', {}, /nothing needs adding/],
    ['', { bytes: invalid('INTEGRITY_MISMATCH') }, /not what was published or signed/],
    ['', { manifest: invalid('INTEGRITY_MISMATCH') }, /not what was published or signed/],
    ['', { registrySignature: invalid('INVALID_SIGNATURE') }, /may be forged/],
    ['', { provenance: invalid('INVALID_ATTESTATION') }, /may be forged/],
    ['', { publishAttestation: invalid('WRONG_SUBJECT') }, /may be forged/],
    ['', { manifest: invalid('MANIFEST_MISMATCH') }, /may be forged/],
    [
      'defaults: { minimumAge: 900d, require: { provenance: ignore } }',
      { provenance: invalid('INVALID_ATTESTATION') },
      /may be forged/,
    ],
    ['', { registrySignature: unavailable }, /could not be checked/],
    [
      'defaults: { minimumAge: 900d }',
      { registrySignature: unavailable },
      /has not been checked/,
    ],
    [
      'rules: [{ packages: [lib], deny: { reason: x } }]',
      {},
      /Rule "rule 1" in line 2 of test.* on purpose/,
    ],
    ['rules: [{ packages: [lib], upstream: acme }]', {}, /reserved for another upstream/],
    [
      'defaults: { deny: { reason: x } }',
      { name: 'a b', provenance: absent },
      /No rule can be written/,
    ],
    [
      'defaults: { deny: { reason: x } }',
      { version: 'x', provenance: absent },
      /No rule can be/,
    ],
  ]
  for (const [text, over, advice] of cases) {
    const said = told(text, over)
    t.equal(said.lines, '', text)
    t.same(said.addTo, [])
    t.match(said.advice, advice)
  }
  const timeless = explain(
    [policy('defaults: { deny: { reason: x } }')],
    input({ provenance: absent }),
    new Date(Number.NaN),
  )
  t.equal(timeless.lines, '')
})

t.test('what the language cannot pin is waived', async t => {
  const odd = identity({ environment: 'a*', trigger: 'x' })
  const { lines } = told(`defaults: { require: { provenance: ${who('far/away')} } }`, {
    provenance: verified(odd),
  })
  t.match(lines, /allow:/)
})
