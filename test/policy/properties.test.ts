/** What must hold whatever the policy, the evidence and the time. */
import fc from 'fast-check'
import t from 'tap'
import { isAttestryError } from '../../lib/errors.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { explain } from '../../lib/policy/explain.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Evidence, Fact, JudgeInput, Release } from '../../lib/types.ts'
import {
  absent,
  daysAgo,
  github,
  identity,
  input,
  now,
  policy,
  published,
  signed,
  unavailable,
  verified,
} from './material.ts'

const who = fc.constantFrom(
  identity(),
  identity({ repository: 'https://github.com/acme/other', repositoryId: '1002' }),
  identity({ repository: 'https://github.com/evil/lib', repositoryId: '666', ownerId: '6' }),
  identity({ ref: 'refs/heads/main', trigger: 'workflow_dispatch' }),
)

const plain = ['1.0.0', '1.1.0', '1.2.3', '2.0.0', '2.0.0-rc.1', '0.9.0']
const version = fc.constantFrom(...plain, '1.0.0+a', '1.0.0+b')
const daysOld = fc.constantFrom(0.5, 1, 5, 20, 60, 100, 400).map(daysAgo)
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const bad = <T>(): fc.Arbitrary<Fact<T>> =>
  fc.oneof(
    { arbitrary: fc.constant(absent), weight: 2 },
    { arbitrary: fc.constant(unavailable), weight: 1 },
    {
      arbitrary: fc
        .constantFrom('INVALID_SIGNATURE', 'WRONG_SUBJECT', 'INTEGRITY_MISMATCH')
        .map(code => ({ state: 'invalid', code, detail: 'no' }) as const),
      weight: 1,
    },
  )
const either = <T>(good: fc.Arbitrary<Fact<T>>) =>
  fc.oneof({ arbitrary: good, weight: 4 }, { arbitrary: bad<T>(), weight: 2 })

const release: fc.Arbitrary<Release> = fc
  .record({
    version,
    publishedAt: maybe(daysOld),
    claimsProvenance: fc.boolean(),
    identity: maybe(who),
  })
  .map(({ publishedAt, identity: known, ...rest }) => ({
    ...rest,
    ...(publishedAt !== undefined && { publishedAt }),
    ...(known && rest.claimsProvenance && { identity: known, provenance: 'verified' as const }),
  }))

const asked: fc.Arbitrary<JudgeInput> = fc
  .record({
    name: fc.constantFrom('lib', '@acme/lib', 'acme-x'),
    version,
    upstream: fc.constantFrom('npm', 'acme'),
    registrySignature: either(fc.constant(signed)),
    publishAttestation: either<{ keyId: string; predicateType: string }>(
      maybe(daysOld).map(time => published(time)),
    ),
    provenance: either(fc.tuple(who, maybe(daysOld)).map(([w, time]) => verified(w, time))),
    bytes: fc.option(either(fc.constant({ state: 'verified', size: 1 } as const)), {
      nil: undefined,
    }),
    // a packument has each version once
    history: fc.uniqueArray(release, { maxLength: 5, selector: r => r.version }),
    publishedAt: daysOld,
    sighting: maybe(fc.record({ firstSeen: daysOld, absentAt: daysOld })),
  })
  .map(({ publishedAt, bytes, sighting, publishAttestation, ...rest }) =>
    input({
      ...rest,
      publishAttestation: publishAttestation as Evidence['publishAttestation'],
      ...(bytes && { bytes }),
      ...(sighting && { sighting }),
      claims: { publishedAt },
    }),
  )

const presence = fc.constantFrom('required', 'if-present', 'ignore')
const pinnedTo = fc.constantFrom(
  `{ issuer: '${github}', repositoryId: '1001' }`,
  `{ issuer: '${github}', repository: 'https://github.com/acme/*' }`,
  `{ issuer: '${github}', ownerId: '77', ref: 'refs/tags/v{version}' }`,
)
const requirement = fc
  .record({
    registrySignature: presence,
    publishAttestation: presence,
    provenance: fc.oneof(
      presence,
      pinnedTo,
      fc.tuple(pinnedTo, pinnedTo).map(p => `[${p.join()}]`),
    ),
    manifest: fc.constantFrom('if-present', 'ignore'),
  })
  .map(
    r =>
      `{ ${Object.entries(r)
        .map(([k, v]) => `${k}: ${v}`)
        .join(', ')} }`,
  )
const anyOf = fc
  .array(requirement, { minLength: 1, maxLength: 3 })
  .map(list => `{ anyOf: [${list.join(', ')}] }`)
const end = fc.constantFrom('2026-11-01', '2026-11-22', '2026-11-30', '2027-11-01')
const terms = fc.oneof(
  fc.oneof(requirement, anyOf).map(r => `require: ${r}`),
  end.map(e => `allow: { reason: x, until: ${e} }`),
  fc.constantFrom(
    'allow: { reason: x }',
    'deny: { reason: x }',
    'mode: observe',
    'minimumAge: 3d',
  ),
)
const packages = fc.constantFrom('"*"', 'lib', '"@acme/*"', '"acme-*"', '"lib@1.2.3"')
const rule = fc.oneof(
  fc.tuple(packages, terms).map(([p, say]) => `  - { packages: [${p}], ${say} }\n`),
  fc.constant('  - { packages: ["@acme/*"], upstream: acme }\n'),
)
const text = fc
  .record({
    mode: fc.constantFrom('enforce', 'enforce', 'observe'),
    rules: fc.array(rule, { maxLength: 3 }),
    require: requirement,
    continuity: fc.constantFrom(
      'off',
      'release-line',
      'package',
      '{ level: package, settledAfter: never }',
    ),
    minimumAge: fc.constantFrom('off', '3d', '90d'),
  })
  .map(({ mode, rules, ...d }) => {
    const defaults = Object.entries(d).map(([k, v]) => `${k}: ${v}`)
    const list = rules.length === 0 ? '' : `rules:\n${rules.join('')}`
    return `mode: ${mode}\n${list}defaults: { ${defaults.join(', ')} }\n`
  })
const layers = fc
  .array(text, { minLength: 1, maxLength: 3 })
  .map(all => all.map((x, i) => policy(x, `p${i}`)))
const moment = fc.constantFrom(0, 1, 30, 500).map(days => new Date(daysAgo(-days)))

t.test('whatever the text, it is a policy or EPOLICY with file, line and column', async t => {
  const yamlish = fc
    .array(
      fc.constantFrom(
        ...'version: 1|\n|rules:|defaults:|identities:|  |- |packages: |[lib]|"*"|deny: |{ |} |: |reason: x|require: |provenance: |any|&a |*a|!!js|<<: |[ |]|? |---\n|%YAML|\t|0x1|~|"|anyOf: '.split(
          '|',
        ),
      ),
      { maxLength: 30 },
    )
    .map(parts => parts.join(''))
  const any = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    yamlish,
    yamlish.map(y => `version: 1\n${y}`),
  )
  fc.assert(
    fc.property(any, source => {
      try {
        parsePolicy(source, { file: 'f' })
      } catch (error) {
        if (!isAttestryError(error) || error.code !== 'EPOLICY') throw error
        return error.message.split('\n').every(line => /^f:\d+:\d+: ./.test(line))
      }
      return true
    }),
    { numRuns: 1500 },
  )
  t.pass()
})

t.test('the same question has the same answer, and nothing throws', async t => {
  fc.assert(
    fc.property(layers, asked, moment, (policies, question, at) => {
      const first = judge(policies, question, at)
      const copy = structuredClone({ policies, question })
      t.same(judge(copy.policies, copy.question, at), first)
      const shuffled = { ...question, history: question.history.toReversed() }
      t.equal(judge(policies, shuffled, at).decision, first.decision)
    }),
    { numRuns: 150 },
  )
})

t.test('one more layer never turns a refusal into anything else', async t => {
  const rank = { allow: 0, unavailable: 1, refuse: 2 }
  fc.assert(
    fc.property(layers, layers, asked, moment, (policies, more, question, at) => {
      const before = judge(policies, question, at).decision
      return (
        rank[judge([...policies, ...more], question, at).decision] >= rank[before] &&
        rank[judge([...more, ...policies], question, at).decision] >= rank[before]
      )
    }),
    { numRuns: 400 },
  )
  t.pass()
})

t.test('bytes that do not match are refused by every policy', async t => {
  const bytes = { state: 'invalid', code: 'INTEGRITY_MISMATCH', detail: 'x' } as const
  fc.assert(
    fc.property(layers, asked, moment, (policies, question, at) => {
      const evidence = { ...question.evidence, bytes }
      const verdict = judge(policies, { ...question, evidence }, at)
      return (
        verdict.decision === 'refuse' &&
        verdict.reasons.some(r => r.code === 'INTEGRITY_MISMATCH') &&
        explain(policies, { ...question, evidence }, at).lines === ''
      )
    }),
    { numRuns: 200 },
  )
  t.pass()
})

t.test('decisions follow from reasons', async t => {
  fc.assert(
    fc.property(layers, asked, moment, (policies, question, at) => {
      const { decision, reasons, layers: said } = judge(policies, question, at)
      const enforced = said.filter(l => l.mode === 'enforce').flatMap(l => l.reasons)
      const certain = enforced.filter(r => r.code !== 'EVIDENCE_UNAVAILABLE')
      if (decision === 'refuse') return reasons.some(r => r.code !== 'EVIDENCE_UNAVAILABLE')
      if (decision === 'unavailable')
        return certain.length === 0 && reasons.every(r => r.code === 'EVIDENCE_UNAVAILABLE')
      return enforced.length === 0
    }),
    { numRuns: 300 },
  )
  t.pass()
})

t.test('nothing changes before the time named, and a verdict without one lasts', async t => {
  fc.assert(
    fc.property(
      layers,
      asked,
      moment,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (policies, question, at, part) => {
        const codes = (when: number) =>
          judge(policies, question, new Date(when))
            .reasons.map(r => r.code)
            .join()
        const first = judge(policies, question, at)
        const forever = at.getTime() + 4000 * 86_400_000
        const until = first.changesAt === undefined ? forever : Date.parse(first.changesAt)
        const between = Math.floor(at.getTime() + (until - 1 - at.getTime()) * part)
        return until > at.getTime() && codes(between) === codes(at.getTime())
      },
    ),
    { numRuns: 400 },
  )
  t.pass()
})

t.test('the lines offered read, and admit where they are put', async t => {
  let offered = 0
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 2 }), asked, (texts, question) => {
      const policies = texts.map((x, i) => policy(x, `p${i}`))
      const { lines, addTo, advice } = explain(policies, question, now)
      if (lines === '') return advice.length > 0 && addTo.length === 0
      offered++
      const amended = texts.map((x, i) => {
        if (!addTo.includes(`p${i}`)) return policies[i] ?? policy(x)
        const more = x.includes('\nrules:\n')
          ? x.replace('\nrules:\n', () => `\nrules:\n${lines}`)
          : `${x}rules:\n${lines}`
        return policy(more, `p${i}`)
      })
      const { decision, reasons } = judge(amended, question, now)
      return decision === 'allow' && reasons.length === 0
    }),
    { numRuns: 500 },
  )
  t.ok(offered > 30, `${offered} offers were tried`)
})

t.test('forged evidence gets no lines', async t => {
  fc.assert(
    fc.property(layers, asked, moment, (policies, question, at) => {
      const { registrySignature, publishAttestation, provenance } = question.evidence
      fc.pre(
        [registrySignature, publishAttestation, provenance].some(f => f.state === 'invalid'),
      )
      return explain(policies, question, at).lines === ''
    }),
    { numRuns: 200 },
  )
  t.pass()
})
