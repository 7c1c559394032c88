import t, { type Test } from 'tap'
import { builtInContinuity, builtInRequirement } from '../../lib/policy/baseline.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { complaints, github, policy } from './material.ts'

const head = `version: 1\n`
const id = `{ issuer: '${github}', repository: 'https://github.com/acme/lib' }`

/** One complaint, at this line and column, that says these words. */
const refused = (t: Test, text: string, place: string, words: RegExp) => {
  const all = complaints(text)
  t.equal(all.length, 1, all.join(' | '))
  t.match(all[0], new RegExp(`^${place}: `))
  t.match(all[0], words)
}

t.test('an empty policy is the built-in one', async t => {
  const { defaults, rules, mode } = policy('')
  t.equal(mode, 'enforce')
  t.same(rules, [])
  t.same(defaults.outcome, { kind: 'require', anyOf: [builtInRequirement] })
  t.same(defaults.continuity, builtInContinuity)
  t.equal(defaults.minimumAge, 0)
})

t.test('names: the file, or the name given', async t => {
  t.equal(policy('').name, 'test.policy.yaml')
  t.equal(policy('', 'organization').name, 'organization')
})

t.test('what is not a policy at all', async t => {
  refused(t, '', '1:1', /version: wanted 1; found nothing/)
  refused(t, 'version: 2', '1:1', /version: wanted 1; found 2/)
  refused(t, `${head}rule: []`, '2:1', /unknown key "rule".*rules/)
  refused(t, `${head}mode: warn`, '2:1', /mode: wanted enforce or observe; found "warn"/)
  refused(t, `${head}rules: {}`, '2:1', /wanted a list of rules; found a mapping/)
  refused(t, `${head}version: 1`, '2:1', /unique/i)
  refused(t, `${head}rules:\n  - packages: [a\n`, '4:1', /./)
})

t.test('deep nesting is EPOLICY too', async t => {
  t.ok(complaints('['.repeat(200_000)).length > 0)
  t.ok(complaints(`${head}x: ${'{a: '.repeat(50_000)}`).length > 0)
})

t.test('identities', async t => {
  const identity = (body: string) => `${head}identities:\n  a: ${body}\n`
  const repository = 'repository: https://github.com/acme/lib'
  const issuer = `issuer: ${github}`
  t.same(policy(`identities:\n  a: ${id}`).identities.a?.fields, {
    issuer: github,
    repository: 'https://github.com/acme/lib',
  })
  const cases: readonly (readonly [body: string, column: number, words: RegExp])[] = [
    ['{}', 3, /without any field would match everybody/],
    [`{ ${repository} }`, 3, /needs its issuer/],
    [`{ ${issuer} }`, 3, /names nobody/],
    [`{ ${issuer}, trigger: push, runner: github-hosted }`, 3, /names nobody/],
    [`{ ${issuer}/, ${repository} }`, 8, /issuer: wanted an address/],
    [`{ ${issuer}, repositoryId: 12 }`, 61, /in quotes; found 12/],
    [`{ ${issuer}, repositoryId: x }`, 61, /wanted digits/],
    [`{ ${issuer}, repositry: x }`, 61, /unknown key "repositry" \(did you mean "repository"/],
    [`{ ${issuer}, repository: https://github.com/acme/lib/ }`, 61, /without a slash/],
    [`{ ${issuer}, repository: acme/lib }`, 61, /wanted an address/],
    [`{ ${issuer}, repository: https://github.com/acme/lib.git }`, 61, /without .git/],
    [`{ ${issuer}, owner: acme }`, 61, /https:\/\/github.com\/owner/],
    [`{ ${issuer}, ownerId: 'a*' }`, 61, /compared exactly/],
    [
      `{ ${issuer}, repository: 'https://github.com/*/lib' }`,
      61,
      /behind the host and the owner/,
    ],
    [`{ ${issuer}, repository: 'https://github.com/**' }`, 61, /behind the host and the owner/],
    [`{ ${issuer}, repository: 'https://*/acme/lib' }`, 61, /behind the host and the owner/],
    [`{ ${issuer}, repository: 'https://github.com/acme*/lib' }`, 61, /behind the host/],
    [`{ ${issuer}, subject: 'https://github.com/**' }`, 61, /behind the host and the owner/],
    [`{ ${issuer}, subject: '*@acme.example' }`, 61, /no URL is compared exactly/],
    [`{ ${issuer}, ownerId: '7', signer: 'https://github.com/a*/x' }`, 75, /behind the host/],
    [`{ ${issuer}, ownerId: '7', ref: main }`, 75, /wanted a full ref/],
    [`{ ${issuer}, ownerId: '7', ref: '**' }`, 75, /kind of ref/],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/*/x' }`, 75, /kind of ref/],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/tags/***' }`, 75, /wanted \* .* or \*\*/],
    [
      `{ ${issuer}, ownerId: '7', ref: 'refs/tags/v{tag}' }`,
      75,
      /wanted \{version\} and no other/,
    ],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/tags/{version' }`, 75, /wanted \{version\} and no/],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/tags/{version}{version}' }`, 75, /once/],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/tags/*{version}' }`, 75, /other versions as well/],
    [`{ ${issuer}, ownerId: '7', ref: 'refs/tags/{version}**' }`, 75, /other versions as well/],
    [`{ ${issuer}, ownerId: '7', ref: '{version}' }`, 75, /wanted a full ref/],
    [`{ ${issuer}, ownerId: '7', workflow: '**' }`, 75, /every workflow/],
    [`{ ${issuer}, ownerId: '7', workflow: 'a-{version}.yml' }`, 75, /takes no \{version\}/],
    [`{ ${issuer}, ownerId: '7', workflow: /a.yml }`, 75, /a path inside the repository/],
    [`{ ${issuer}, ownerId: '7', commit: abc }`, 75, /40 or 64 hex/],
    [`{ ${issuer}, ownerId: '7', visibility: secret }`, 75, /public, private or internal/],
    [`{ ${issuer}, ownerId: '7', environment: 'np*' }`, 75, /compared exactly/],
    [`{ ${issuer}, ownerId: '7', environment: '' }`, 75, /wanted the name of an environment/],
    ['{ key: "-----BEGIN PUBLIC KEY-----" }', 8, /no public key in PEM/],
    [`{ ${issuer}, ownerId: '7', validFrom: 2026-01-01 }`, 75, /beside key only/],
    ['{ key: k.pub, validUntil: 2026-02-30 }', 20, /validUntil: wanted a date/],
  ]
  for (const [body, column, words] of cases) {
    t.test(body, async t => refused(t, identity(body), `3:${column}`, words))
  }
  refused(t, identity(`{ key: k.pub, ${issuer} }`), '3:8', /a key stands alone/)
  refused(t, `${head}identities:\n  any: ${id}`, '3:3', /meaning of its own/)
  refused(t, `${head}identities:\n  'a b': ${id}`, '3:3', /wanted a name/)
  refused(t, `${head}identities:\n  a: ${id}\n  a: ${id}`, '4:3', /unique/i)
})

t.test('good globs and versions in identities', async t => {
  const fields = [
    "ref: 'refs/tags/v{version}'",
    "ref: 'refs/tags/lib@{version}'",
    "ref: 'refs/heads/release/*'",
    "ref: 'refs/heads/**'",
    "workflow: '.github/workflows/*.yml'",
    "signer: 'https://github.com/acme/ci/.github/workflows/publish.yml@refs/tags/v*'",
    "repository: 'https://github.com/acme/*'",
    "repository: 'https://gitlab.com/acme/**'",
    "subject: 'https://github.com/acme/lib/.github/workflows/r.yml@refs/tags/v{version}'",
  ]
  for (const field of fields)
    t.doesNotThrow(() =>
      policy(`identities:\n  a: { issuer: '${github}', ownerId: '7', ${field} }`),
    )
})

t.test('rules', async t => {
  const rule = (body: string) => `${head}identities:\n  acme: ${id}\nrules:\n  - ${body}\n`
  const cases: readonly (readonly [body: string, column: number, words: RegExp])[] = [
    ['{ packages: [] , deny: { reason: x } }', 7, /at least one package/],
    ['{ deny: { reason: x } }', 5, /wanted a list of package names; found nothing/],
    ['{ packages: a, deny: { reason: x } }', 7, /wanted a list of package names; found "a"/],
    ['{ packages: [a] }', 5, /says nothing/],
    ['{ packages: [a, a], mode: observe }', 21, /twice/],
    ['{ packages: [a], deny: {} }', 28, /reason: wanted why it is refused/],
    ['{ packages: [a], deny: { reason: "" } }', 30, /wanted why it is refused/],
    ['{ packages: [a], allow: { reason: x }, deny: { reason: y } }', 44, /allow and deny/],
    ['{ packages: [a], allow: { reason: x }, minimumAge: 3d }', 44, /no meaning beside allow/],
    [
      '{ packages: [a], deny: { reason: x }, continuity: package }',
      43,
      /no meaning beside deny/,
    ],
    ['{ packages: [a], allow: { reason: x, until: tomorrow } }', 42, /wanted a date/],
    ['{ packages: [a], allow: { reason: x, until: 2027-02-30 } }', 42, /wanted a date/],
    ['{ packages: [a], allow: { reason: x, until: 2027-03-01T12:00:00 } }', 42, /its zone/],
    [
      '{ packages: [a], allow: { reason: x, until: 2027-03-01T25:00:00Z } }',
      42,
      /wanted a date/,
    ],
    ['{ packages: [a], versions: two, mode: observe }', 22, /semver range.*found "two"/],
    ['{ packages: [a], versions: ">2 <1", mode: observe }', 22, /no version lies in/],
    ['{ packages: [a], versions: 2, mode: observe }', 22, /in quotes; found 2/],
    ['{ packages: [a], versions: ">1", upstream: acme }', 22, /all their versions/],
    ['{ packages: ["a@1.0.0"], versions: ">1", mode: observe }', 18, /leave versions out/],
    ['{ packages: ["a@1.0.0"], upstream: acme }', 18, /leave upstream out/],
    ['{ packages: [a], minimumAge: 3 }', 22, /as in 3d, or off/],
    ['{ packages: [a], minimumAge: 3y }', 22, /as in 3d, or off/],
    ['{ packages: [a], minimumAge: 99999d }', 22, /ten years/],
    ['{ packages: [a], continuity: line }', 22, /off, release-line, package/],
    ['{ packages: [a], continuity: { level: package, settledAfter: x } }', 52, /or never/],
    ['{ packages: [a], continuity: { settledAfter: 3d } }', 34, /wanted off, release-line or/],
    [
      '{ packages: [a], require: { provenance: ignore }, continuity: package }',
      55,
      /nothing to/,
    ],
    ['{ packages: [a], require: { provenance: acne } }', 33, /no identity "acne".*"acme"/],
    ['{ packages: [a], require: { provenance: constructor } }', 33, /no identity/],
    ['{ packages: [a], require: { provenance: [] } }', 33, /./],
    ['{ packages: [a], require: { provenance: [acme, any] } }', 52, /stands alone/],
    ['{ packages: [a], require: { provenance: [acme, acme] } }', 52, /twice/],
    ['{ packages: [a], require: { provenance: [acme, {}] } }', 52, /without any field/],
    [
      '{ packages: [a], require: { registrySignature: yes } }',
      33,
      /required, if-present or ig/,
    ],
    ['{ packages: [a], require: { manifest: required } }', 33, /if-present or ignore/],
    ['{ packages: [a], require: { anyOf: [] } }', 33, /at least one alternative/],
    ['{ packages: [a], require: { anyOf: [{ anyOf: [] }] } }', 43, /unknown key "anyOf"/],
    [
      '{ packages: [a], require: { provenance: any, anyOf: [{ provenance: acme }] } }',
      60,
      /beside anyOf/,
    ],
    [
      '{ packages: [a], require: { vouch: nobody } }',
      33,
      /vouch: there is no identity "nobody"/,
    ],
    ['{ packages: [a], require: { vouch: any } }', 33, /vouch: found any; wanted whose/],
    ['{ packages: [a], require: { vouch: [acme, acme] } }', 47, /vouch: acme .* twice/],
    ['{ packages: [a], require: { vouch: [] } }', 33, /at least one identity/],
    ['{ packages: [a], require: { signature: acme } }', 33, /signature: acme is no key/],
    ['{ packages: [a], require: { anyOf: [{ vouch: nobody }] } }', 43, /no identity "nobody"/],
    [
      '{ packages: [a], require: { vouch: acme, anyOf: [{ vouch: acme }] } }',
      56,
      /vouch stands beside anyOf/,
    ],
    [
      '{ packages: [a], require: { provenance: { key: k.pub } } }',
      33,
      /provenance: it is a key/,
    ],
    [
      '{ packages: [a], require: { provenance: [{ key: k.pub }] } }',
      46,
      /provenance: it is a key/,
    ],
    [
      '{ packages: [a], require: { signature: { key: k.pub, validUntil: 2027-01-01 } } }',
      33,
      /tell no time/,
    ],
    [
      '{ packages: [a], require: { vouch: { key: k.pub, issuer: "https://a.b" } } }',
      42,
      /stands alone/,
    ],
    ['{ packages: [a], where: true }', 22, /condition in quotes/],
    ['{ packages: [a], where: "pkg.nme == 1" }', 34, /"pkg.name"/],
    ['{ packages: [a], allow: { reason: x }, where: "true" }', 44, /no meaning beside allow/],
    ['{ packages: [a], deny: { reason: x }, where: "true" }', 43, /no meaning beside deny/],
    ['{ packages: [a], mode: observe, name: defaults }', 37, /no rule matched/],
    ['{ packages: [a], mode: observe, nam: x }', 37, /unknown key "nam" \(did you mean "name"/],
  ]
  for (const [body, column, words] of cases) {
    t.test(body, async t => refused(t, rule(body), `5:${column}`, words))
  }
  const twice = '  - { name: x, packages: [a], mode: observe }\n'
  refused(t, `${head}rules:\n${twice}${twice}`, '4:7', /line 3 is called "x" too/)
})

t.test('defaults', async t => {
  const cases: readonly (readonly [body: string, column: number, words: RegExp])[] = [
    ['{ where: "1" }', 21, /true or false; found int/],
    ["{ where: 'x' }", 21, /there is no x/],
    ['{ require: { vouch: x } }', 24, /no identity "x"/],
    ['{ require: { anyOf: [] } }', 24, /unknown key "anyOf"/],
    ['{ require: { provenance: nobody } }', 24, /no identity "nobody"/],
    ['{ minimumAge: 1s }', 13, /as in 3d/],
    ['{ mode: observe }', 13, /unknown key "mode"/],
    ['{ deny: true }', 13, /wanted \{ reason: . \}; found true/],
  ]
  for (const [body, column, words] of cases) {
    t.test(body, async t => refused(t, `${head}defaults: ${body}`, `2:${column}`, words))
  }
})

t.test(
  'a complaint about the defaults is made once, however many rules take them over',
  async t => {
    const rules =
      'rules:\n  - { packages: [a], mode: observe }\n  - { packages: [b], mode: observe }\n'
    refused(t, `${head}${rules}defaults: { require: { provenance: nobody } }`, '5:24', /nobody/)
  },
)

t.test('every complaint is told, in the order of the file', async t => {
  const all = complaints(`${head}rules:
  - { packages: ["*x*"], versions: no, mode: observe }
identities:
  a: {}
defaults: { where: x }
`)
  t.same(
    all.map(line => /^\d+/.exec(line)?.[0]),
    ['3', '3', '5', '6'],
  )
})

t.test('inheritance', async t => {
  const { rules, defaults } = policy(`
identities: { acme: ${id} }
rules:
  - { packages: [a], require: { registrySignature: required } }
  - { packages: [b], require: { provenance: ignore } }
  - { packages: [c], require: { registrySignature: ignore, anyOf: [{ provenance: acme }, { manifest: if-present }] } }
  - { packages: [d], minimumAge: off, continuity: off, mode: enforce }
  - { packages: [e], upstream: acme }
mode: observe
defaults:
  require: { provenance: any, manifest: ignore }
  minimumAge: 2w
  continuity: { level: package, settledAfter: never }
`)
  const [a, b, c, d, e] = rules
  const mine = { registrySignature: 'if-present', manifest: 'ignore' }
  const kept = { want: 'required' }
  t.same(defaults.outcome, {
    kind: 'require',
    anyOf: [{ ...mine, publishAttestation: 'if-present', provenance: kept }],
  })
  t.match(a?.outcome, {
    anyOf: [{ registrySignature: 'required', provenance: kept, manifest: 'ignore' }],
  })
  t.match(b?.outcome, {
    anyOf: [{ provenance: { want: 'ignore' }, publishAttestation: 'ignore' }],
  })
  t.match(c?.outcome, {
    anyOf: [
      { registrySignature: 'ignore', provenance: { want: 'identity' }, manifest: 'ignore' },
      { registrySignature: 'ignore', provenance: kept, manifest: 'if-present' },
    ],
  })
  t.equal(a?.minimumAge, 14 * 86_400_000)
  t.equal(a?.mode, 'observe')
  t.same(a?.continuity, { level: 'package', settledAfter: 'never' })
  t.equal(d?.minimumAge, 0)
  t.equal(d?.mode, 'enforce')
  t.equal(d?.continuity.level, 'off')
  t.same(e?.outcome, defaults.outcome)
  t.equal(e?.upstream, 'acme')
  t.same(
    rules.map(r => r.name),
    ['rule 1', 'rule 2', 'rule 3', 'rule 4', 'rule 5'],
  )
  t.equal(a?.line, 5)
})

t.test('said publish attestation stays where provenance is ignored', async t => {
  const { rules } = policy(`rules:
  - { packages: [a], require: { provenance: ignore, publishAttestation: required } }`)
  t.match(rules[0]?.outcome, { anyOf: [{ publishAttestation: 'required' }] })
})

t.test('a day ends when it is over', async t => {
  const until = (text: string) => {
    const outcome = policy(`rules: [{ packages: [a], allow: { reason: x, until: ${text} } }]`)
      .rules[0]?.outcome
    return outcome?.kind === 'allow' ? outcome.waiver.until : undefined
  }
  t.equal(until('2027-03-01'), '2027-03-02T00:00:00.000Z')
  t.equal(until('2027-03-01T12:00:00+02:00'), '2027-03-01T10:00:00.000Z')
  t.equal(until('2028-02-29'), '2028-03-01T00:00:00.000Z')
})

t.test('the digest is over what is said, not over how', async t => {
  const digest = (text: string) => policyDigest([policy(text)])
  const rules = 'rules: [{ packages: [a], deny: { reason: x } }]'
  t.match(digest(rules), /^[0-9a-f]{64}$/)
  t.equal(digest(rules), digest(`\n# a comment\n${rules}`))
  t.not(digest(rules), digest(rules.replace('reason: x', 'reason: y')))
  t.not(digest(rules), digest(`${rules}\nmode: observe`))
  t.not(
    policyDigest([policy('', 'a'), policy('', 'b')]),
    policyDigest([policy('', 'b'), policy('', 'a')]),
  )
  t.not(digest('defaults: { minimumAge: 1d }'), digest('defaults: { minimumAge: 2d }'))
})
