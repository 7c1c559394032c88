import fc from 'fast-check'
import t from 'tap'
import {
  conditionMost,
  conditionNames,
  readCondition,
} from '../../lib/policy/condition-language.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { explain } from '../../lib/policy/explain.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import { identityFields } from '../../lib/policy/policy.ts'
import {
  absent,
  complaints,
  daysAgo,
  identity,
  input,
  invalid,
  now,
  policy,
  unavailable,
  verified,
  vouch,
  type Overrides,
} from './material.ts'

const where = (text: string) => policy(`defaults: { where: ${JSON.stringify(text)} }`)
const ask = (text: string, over: Overrides = {}, at = now) =>
  judge([where(text)], input(over), at)
const codes = (text: string, over: Overrides = {}) =>
  ask(text, over).reasons.map(({ code }) => code)
const holds = (text: string, over: Overrides = {}) => {
  const found = codes(text, over)
  return found.length === 0 ? true : found.join() === 'CONDITION_FALSE' ? false : found.join()
}
const complaint = (text: string) => {
  const read = readCondition(text)
  return 'message' in read ? `${read.offset} ${read.message}` : 'taken'
}

t.test('what can be named, and that it is what it says', async t => {
  const over = {
    name: '@acme/lib',
    version: '1.2.3-rc.1',
    upstream: 'acme',
    registrySignature: absent,
    vouches: [vouch()],
    claims: { publishedAt: daysAgo(2), deprecated: 'old' },
  }
  const said: Readonly<Record<string, string>> = {
    'pkg.name': '"@acme/lib"',
    'pkg.scope': '"@acme"',
    'pkg.version': '"1.2.3-rc.1"',
    'pkg.prerelease': 'true',
    'pkg.deprecated': 'true',
    'pkg.ageHours': '48',
    upstream: '"acme"',
    registrySignature: '"absent"',
    publishAttestation: '"verified"',
    provenance: '"verified"',
    vouchedBy: '["https://accounts.google.com security@acme.example"]',
    now: 'timestamp("2026-11-22T12:00:00Z")',
    ...Object.fromEntries(
      identityFields.map(field => [`identity.${field}`, JSON.stringify(identity()[field])]),
    ),
  }
  t.same(Object.keys(said).sort(), Object.keys(conditionNames).sort())
  for (const [name, value] of Object.entries(said)) {
    t.equal(holds(`${name} == ${value}`, over), true, name)
    t.equal(holds(`${name} != ${value}`, over), false, name)
  }
  t.equal(holds('pkg.scope == "" && !pkg.prerelease && !pkg.deprecated'), true)
})

t.test('what can be said', async t => {
  for (const text of [
    'pkg.name in ["lib", "other"]',
    'pkg.name.startsWith("l") && pkg.name.endsWith("b") && pkg.name.contains("i")',
    'pkg.name.upperAscii().lowerAscii().trim().substring(0, 1) == "l"',
    'pkg.name.indexOf("b") == 2 && size(pkg.name) == 3 && pkg.name.size() == 3',
    'int(pkg.version.substring(0, pkg.version.indexOf("."))) >= 1',
    'string(pkg.ageHours) == "8760"',
    'now.getDayOfWeek() == 0 && now.getHours() == 12 && now.getFullYear() == 2026',
    'now - timestamp("2026-11-20T00:00:00+01:00") > duration("36h")',
    'has(identity.environment) ? identity.environment == "npm" : false',
    '!(1 + 1 == 3) || false',
  ])
    t.equal(holds(text), true, text)
})

t.test('a condition that does not hold refuses, whatever else holds', async t => {
  const verdict = ask('pkg.ageHours > 24', { claims: { publishedAt: daysAgo(0.5) } })
  t.equal(verdict.decision, 'refuse')
  t.match(verdict.reasons, [
    {
      code: 'CONDITION_FALSE',
      field: 'where',
      wanted: 'pkg.ageHours > 24',
      found: /ageHours = 12/,
    },
  ])
  t.same(codes('false', { registrySignature: invalid('INVALID_SIGNATURE') }).sort(), [
    'CONDITION_FALSE',
    'INVALID_SIGNATURE',
  ])
  t.equal(
    judge([policy('mode: observe\ndefaults: { where: "false" }')], input(), now).decision,
    'allow',
  )
})

t.test('an error in evaluating refuses, and says so', async t => {
  for (const [text, words] of [
    ['1 / (pkg.ageHours - 8760) == 1', /division by zero/],
    ['pkg.ageHours + 9223372036854775807 > 0', /overflow/],
    ['int(pkg.name) == 1', /int/],
    ['pkg.name.substring(5) == ""', /could not be evaluated/],
  ] as const) {
    const { decision, reasons } = ask(text)
    t.equal(decision, 'refuse', text)
    t.match(reasons, [{ code: 'CONDITION_FALSE', message: words }])
    t.match(reasons[0]?.message, 'could not be evaluated')
  }
})

t.test('a field that the certificate lacks is no match, either way', async t => {
  const { trigger: _, ...without } = identity()
  const bare = { provenance: verified(without) }
  t.equal(holds('identity.trigger == "push"', bare), false)
  t.equal(holds('identity.trigger != "push"', bare), false)
  t.equal(holds('has(identity.trigger)', bare), false)
  t.equal(holds('!has(identity.trigger) || identity.trigger == "push"', bare), true)
  for (const provenance of [absent, invalid('INVALID_ATTESTATION')]) {
    const over = { provenance }
    t.match(codes('identity.repository != "x"', over), /CONDITION_FALSE/)
    t.notMatch(codes('provenance != "verified"', over), /CONDITION_FALSE/)
  }
})

t.test('what could not be looked up', async t => {
  const dark = {
    provenance: unavailable,
    publishAttestation: absent,
    registrySignature: absent,
  }
  const lax = (text: string, over: Overrides = {}) =>
    judge(
      [
        policy(
          `defaults: { require: { registrySignature: ignore, publishAttestation: ignore, provenance: ignore, manifest: ignore }, where: ${JSON.stringify(text)} }`,
        ),
      ],
      input({ ...dark, ...over }),
      now,
    )
  const cases: readonly (readonly [text: string, decision: string])[] = [
    ['identity.repository == "x"', 'unavailable'],
    ['!has(identity.repository)', 'unavailable'],
    ['provenance == "absent"', 'unavailable'],
    ['provenance != "verified"', 'unavailable'],
    ['provenance == "verified" || pkg.name == "lib"', 'allow'],
    ['pkg.name == "lib" || provenance == "verified"', 'allow'],
    ['provenance == "verified" && pkg.name == "x"', 'refuse'],
    ['provenance == "verified" && pkg.name == "lib"', 'unavailable'],
    ['pkg.name == "lib" ? true : provenance == "verified"', 'allow'],
    ['registrySignature == "absent"', 'allow'],
    ['pkg.name == "lib"', 'allow'],
    ['1 / 0 == 1', 'refuse'],
  ]
  for (const [text, decision] of cases) {
    const verdict = lax(text)
    t.equal(verdict.decision, decision, text)
    if (decision === 'unavailable')
      t.match(verdict.reasons, [{ code: 'EVIDENCE_UNAVAILABLE' }], text)
  }
  for (const fact of ['registrySignature', 'publishAttestation'] as const)
    t.equal(lax(`${fact} == "absent"`, { [fact]: unavailable }).decision, 'unavailable', fact)
  const ageless = input()
  const { publishedAt: _, ...claims } = ageless.claims
  const verdict = judge([where('pkg.ageHours > 1')], { ...ageless, claims }, now)
  t.match(verdict, { decision: 'unavailable', reasons: [{ message: /pkg\.ageHours/ }] })
})

t.test('time: whole hours, and the hour at which the verdict may change', async t => {
  const at = new Date('2026-11-22T12:34:56.789Z')
  t.equal(ask('now == timestamp("2026-11-22T12:00:00Z")', {}, at).decision, 'allow')
  t.equal(ask('now.getHours() == 12', {}, at).changesAt, '2026-11-22T13:00:00.000Z')
  const young = { claims: { publishedAt: '2026-11-22T10:10:10.000Z' } }
  const verdict = ask('pkg.ageHours >= 3', young, at)
  t.match(verdict, { decision: 'refuse', changesAt: '2026-11-22T13:10:10.000Z' })
  t.equal(
    ask('pkg.ageHours >= 3', young, new Date('2026-11-22T13:10:09.999Z')).decision,
    'refuse',
  )
  t.equal(
    ask('pkg.ageHours >= 3', young, new Date('2026-11-22T13:10:10.000Z')).decision,
    'allow',
  )
  const future = { claims: { publishedAt: '2026-11-22T12:50:00.000Z' } }
  t.match(ask('pkg.ageHours < 0', future, at), {
    decision: 'allow',
    changesAt: '2026-11-22T12:50:00.000Z',
  })
  t.notOk('changesAt' in ask('pkg.name == "lib"', {}, at))
})

t.test('nothing that could hang or grow is taken', async t => {
  const cases: readonly (readonly [text: string, words: RegExp])[] = [
    ['pkg.name.matches("(a+)+$")', /^0 matches is not taken/],
    ['"aaaaaaaaaaaaaaaaaaaaaaaaaaaa!".matches("^(a+)+$")', /matches is not taken/],
    ['[1, 2].all(x, x > 0)', /no function all/],
    ['[1, 2].exists(x, x > 0)', /no function exists/],
    ['[1, 2].exists_one(x, x > 0)', /no function exists_one/],
    ['[1, 2].map(x, x) == [1]', /no function map/],
    ['[1, 2].filter(x, x > 0) == [1]', /no function filter/],
    ['cel.bind(x, 1, x == 1)', /maxCallArguments|there is no/],
    ['pkg.name.split("") == ["l"]', /no function split/],
    ['["a"].join("b") == ""', /no function join/],
    ['bytes("{}").json() == 1', /no function/],
    ['dyn(pkg.name) == 1', /no function dyn/],
    ['type(1) == int', /no function type|there is no int/],
    ['{"a": 1} == {"a": 1}', /./],
    ['pkg["name"] == "lib"', /no brackets/],
    ['now.getHours("Europe/Berlin") == 1', /getHours takes nothing/],
    ['duration(pkg.version) > duration("1h")', /wanted a text/],
    [`duration("${'1'.repeat(1000)}") > duration("1h")`, /wanted a text/],
    ['duration("3d") > duration("1h")', /wanted a text/],
    ['timestamp(pkg.version) < now', /wanted a text/],
    ['timestamp("2026-11-22T12:00:00.000") < now', /wanted a text/],
    ['timestamp("2026-13-22T12:00:00Z") < now', /wanted a text/],
    ['has(pkg.ageHours)', /has takes a field of identity/],
    [`"${'x'.repeat(conditionMost)}" == ""`, /2008 characters/],
    ['('.repeat(900), /maxDepth/],
    [`${'!'.repeat(900)}true`, /maxAstNodes|maxDepth/],
    [Array.from({ length: 300 }, () => 'true').join('||'), /maxAstNodes/],
    [`1 in [${Array.from({ length: 101 }, () => '1').join()}]`, /maxListElements/],
  ]
  for (const [text, words] of cases) t.match(complaint(text), words, text.slice(0, 60))
})

t.test('names and types are checked when a policy is read', async t => {
  const cases: readonly (readonly [text: string, words: RegExp])[] = [
    ['pkg.nme == "a"', /^4 there is no pkg\.nme.*"pkg\.name"/],
    ['identity.triger == "push"', /"identity\.trigger"/],
    ['has(identity.foo)', /there is no identity\.foo/],
    ['foo', /^0 there is no foo/],
    ['pkg.name + 1 == ""', /^0 no such overload/],
    ['pkg.name == 1', /no such overload/],
    ['pkg.ageHours == "1"', /no such overload/],
    ['provenance', /true or false; found string/],
    ['pkg.name ==', /^11 /],
    ['', /./],
    ['pkg.constructor == ""', /there is no pkg\.constructor/],
    ['has(identity.__proto__)', /./],
    ['constructor == ""', /there is no constructor/],
  ]
  for (const [text, words] of cases) t.match(complaint(text), words, text)
})

t.test('complaints are placed inside the text, however it is written', async t => {
  const place = (written: string) => complaints(`version: 1\ndefaults:\n  ${written}\n`)
  const cases: readonly (readonly [written: string, place: string])[] = [
    [`where: pkg.nme == "it"`, '3:14'],
    [`where: 'pkg.nme == "it"'`, '3:15'],
    [`where: 'pkg.name == ''it'' || pkg.nme == "it"'`, '3:37'],
    [`where: "pkg.name == \\"it\\" || pkg.nme == \\"it\\""`, '3:37'],
    [`where: "pkg.name == \\"\\u0061\\" || pkg.nme == \\"it\\""`, '3:41'],
    [`where: pkg.name == "it" ||\n    pkg.nme == "it"`, '4:9'],
    [`where: "pkg.name == \\"it\\" ||\n    pkg.nme == \\"it\\""`, '4:9'],
    [`where: |\n    pkg.name == "it" ||\n      pkg.nme == "it"`, '5:11'],
    [`where: |-\n\n    pkg.name == "it" ||\n    pkg.nme == "it"`, '6:9'],
    [`where: >\n    pkg.name == "it" ||\n    pkg.nme == "it"`, '5:9'],
    [`where: &a pkg.nme == "it"`, '3:17'],
  ]
  for (const [written, wanted] of cases) {
    const all = place(written)
    t.equal(all.length, 1)
    t.match(all[0], `${wanted}: where: there is no pkg.nme`, written)
  }
})

t.test('rules take it over, say their own, or switch it off', async t => {
  const layers = [
    policy(`rules:
  - { packages: [own], where: 'pkg.version == "9.9.9"' }
  - { packages: [off], where: 'true' }
  - { packages: [silent], minimumAge: off }
  - { packages: [waived], allow: { reason: x } }
  - { packages: [any], require: { anyOf: [{ provenance: any }, { registrySignature: required }] } }
defaults: { where: 'pkg.version == "1.0.0"' }`),
  ]
  const decision = (name: string) => judge(layers, input({ name }), now).decision
  t.equal(decision('own'), 'refuse')
  t.equal(decision('off'), 'allow')
  t.equal(decision('silent'), 'refuse')
  t.equal(decision('waived'), 'allow')
  t.equal(decision('any'), 'refuse', 'whichever alternative holds')
  t.equal(decision('other'), 'refuse')
})

t.test('it is part of the digest, and a policy that was copied judges alike', async t => {
  const one = where('pkg.name == "lib"')
  t.not(policyDigest([one]), policyDigest([where('pkg.name == "x"')]))
  t.not(policyDigest([one]), policyDigest([policy('')]))
  const copy = structuredClone(one)
  t.equal(policyDigest([copy]), policyDigest([one]))
  t.same(judge([copy], input(), now), judge([one], input(), now))
})

t.test('explained, with the values it speaks of', async t => {
  const found = explain([where('pkg.name == "x" && upstream == "npm"')], input(), now)
  const checks = found.layers[0]?.alternatives[0]?.checks
  t.match(checks?.at(-1), {
    what: 'where',
    wanted: 'pkg.name == "x" && upstream == "npm"',
    found: 'false: pkg.name = "lib", upstream = "npm"',
    ok: false,
  })
})

t.test('lines that admit a version keep the condition', async t => {
  const text = 'pkg.version != "0.0.0"'
  const strict = `identities: { other: { issuer: 'https://a.example', subject: x } }
rules: [{ packages: [lib], require: { provenance: other }, where: ${JSON.stringify(text)} }]`
  const { lines, decision } = explain([policy(strict)], input(), now)
  t.equal(decision, 'refuse')
  t.match(lines, `where: ${JSON.stringify(text)}`)
  const amended = parsePolicy(`version: 1\nrules:\n${lines}`, { file: 'f' })
  t.equal(amended.rules[0]?.where?.text, text)
  const two = explain([policy(strict), policy(strict.replace('0.0.0', '0.0.1'))], input(), now)
  t.match(two.lines, '(pkg.version != \\"0.0.0\\") && (pkg.version != \\"0.0.1\\")')
  const never = explain([where('false')], input(), now)
  t.match(never.lines, 'allow:', 'what no identity can mend is waived')
})

t.test('whatever is written, it is read or refused, and what is read judges', async t => {
  const signs = '&& || ! == != < >= + - * / % in ? : . ( ) [ ] , { } " \' r" "" // 0 1 1u 1.5'
  const calls = 'has( size( int( matches( .contains( .startsWith( timestamp( duration('
  const values = 'true false null "a" "1h" [1,2] 9223372036854775807 __proto__'
  const words = [
    ...Object.keys(conditionNames),
    ...`${signs} ${calls} ${values}`.split(' '),
    '\n',
  ]
  const text = fc
    .array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 5 })), { maxLength: 40 })
    .map(parts => parts.join(' '))
  let taken = 0
  fc.assert(
    fc.property(text, written => {
      const read = readCondition(written)
      if ('message' in read) return read.message.length > 0 && read.offset <= written.length
      taken++
      const { decision } = judge([where(written)], input({ provenance: unavailable }), now)
      return ['allow', 'refuse', 'unavailable'].includes(decision)
    }),
    {
      numRuns: 2000,
      examples: ['true', 'upstream == "npm"', '1 / 0 == 1', 'pkg . name == "a"'].map(e => [e]),
    },
  )
  t.ok(taken >= 4, `${taken} were read`)
})
