import t from 'tap'
import { isAttestryError } from '../../lib/errors.ts'
import { reasonCodes } from '../../lib/policy/case-schema.ts'
import { misses, readCases, type PolicyCase } from '../../lib/policy/cases.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import type { JudgeInput } from '../../lib/types.ts'
import { daysAgo, github, now, policy } from './material.ts'

const head = `version: 1
signers:
  ours: { issuer: '${github}', repository: 'https://github.com/acme/lib', workflow: w.yml, ref: refs/heads/main }
cases:
`
const one = (body: string): PolicyCase => {
  const { cases } = readCases(`${head}  - { ${body} }\n`, { file: 'f', now })
  const [first] = cases
  if (!first) throw new Error('no case')
  return first
}
const inputOf = (body: string): JudgeInput => {
  const { input } = one(`package: lib@1.2.3, expect: allow, ${body}`)
  if (!input) throw new Error('it is looked up')
  return input
}
const complaints = (text: string): readonly string[] => {
  try {
    readCases(text, { file: 'f', now })
  } catch (error) {
    if (!isAttestryError(error) || error.code !== 'EPOLICY') throw error
    return error.message.split('\n')
  }
  throw new Error('it was taken')
}

t.test('what a case does not say is as usual', async t => {
  const { input, name, place, expect } = one("package: '@a/lib@1.2.3', expect: allow")
  t.equal(name, '@a/lib@1.2.3')
  t.match(place, { file: 'f', line: 5, column: 32 })
  t.same(expect, { decision: 'allow' })
  t.match(input, {
    package: { name: '@a/lib', version: '1.2.3' },
    upstream: 'npm',
    history: [],
    evidence: {
      registrySignature: { state: 'verified' },
      publishAttestation: { state: 'absent' },
      provenance: { state: 'absent' },
    },
    claims: { publishedAt: daysAgo(365) },
  })
  t.notOk('attestations' in (input?.claims ?? {}))
  t.notOk('bytes' in (input?.evidence ?? {}))
})

t.test('facts', async t => {
  const facts = (body: string) => inputOf(`facts: { ${body} }`)
  const states = { absent: 'absent', unavailable: 'unavailable', verified: 'verified' }
  const names = ['registrySignature', 'publishAttestation', 'manifest', 'bytes'] as const
  const codes = {
    registrySignature: 'INVALID_SIGNATURE',
    publishAttestation: 'INVALID_ATTESTATION',
    manifest: 'MANIFEST_MISMATCH',
    bytes: 'INTEGRITY_MISMATCH',
  }
  for (const name of names) {
    for (const [said, state] of Object.entries(states))
      t.match(facts(`${name}: ${said}`).evidence[name], { state })
    t.match(facts(`${name}: invalid`).evidence[name], { state: 'invalid', code: codes[name] })
    t.match(facts(`${name}: { invalid: WRONG_SUBJECT }`).evidence[name], {
      state: 'invalid',
      code: 'WRONG_SUBJECT',
    })
  }
  const proven = facts('provenance: ours, signed: 2d')
  t.match(proven.evidence, {
    provenance: {
      state: 'verified',
      signedAt: { time: daysAgo(2) },
      identity: {
        issuer: github,
        subject: 'https://github.com/acme/lib/w.yml@refs/heads/main',
        subjectType: 'uri',
        signer: 'https://github.com/acme/lib/w.yml@refs/heads/main',
      },
    },
    publishAttestation: { state: 'verified', signedAt: { time: daysAgo(2) } },
  })
  t.ok(proven.claims.attestations?.provenance)
  t.match(
    facts(`provenance: { issuer: 'https://a.example', subject: 'a@b.example' }`).evidence,
    {
      provenance: { identity: { subjectType: 'email', subject: 'a@b.example' } },
    },
  )
  for (const state of ['absent', 'invalid', 'unavailable'])
    t.match(facts(`provenance: ${state}`).evidence.provenance, { state })
  t.match(facts('provenance: { invalid: WRONG_SUBJECT }').evidence.provenance, {
    code: 'WRONG_SUBJECT',
  })
})

t.test('times and history', async t => {
  const { history, claims } = inputOf(
    'published: 2026-01-02, history: [{ version: 1.0.0, published: 3d, provenance: ours }, { version: 1.1.0, provenance: claimed }, { version: 1.1.1 }, { version: 1.1.2, provenance: invalid }]',
  )
  t.equal(claims.publishedAt, '2026-01-02T00:00:00.000Z')
  t.match(history, [
    {
      version: '1.0.0',
      publishedAt: daysAgo(3),
      claimsProvenance: true,
      provenance: 'verified',
      identity: { repository: 'https://github.com/acme/lib' },
    },
    { version: '1.1.0', claimsProvenance: true },
    { version: '1.1.1', claimsProvenance: false },
    { version: '1.1.2', claimsProvenance: true, provenance: 'invalid' },
  ])
  t.notOk('provenance' in (history[1] ?? {}))
  t.equal(one('package: a@1.0.0, now: 1d, expect: allow').now.toISOString(), daysAgo(1))
  const late = `version: 1\nnow: 2027-01-01\ncases: [{ package: a@1.0.0, expect: allow, published: 1d }]`
  const [first] = readCases(late, { file: 'f', now }).cases
  t.equal(first?.now.toISOString(), '2027-01-01T00:00:00.000Z')
  t.equal(first?.input?.claims.publishedAt, '2026-12-31T00:00:00.000Z', "by the file's clock")
})

t.test('a case that is looked up has no input', async t => {
  t.notOk('input' in one('package: a@1.0.0, live: true, expect: allow'))
})

t.test('complaints have their place', async t => {
  // the complaint is about what the mark stands before
  const cases: readonly (readonly [body: string, words: RegExp])[] = [
    ['^package: lib, expect: allow', /name@1\.2\.3/],
    ['^package: lib@~1, expect: allow', /name@1\.2\.3/],
    ['package: lib@1.0.0, ^expect: deny', /wanted allow, refuse, unavailable/],
    ['package: lib@1.0.0, expect: allow, ^now: soon', /wanted an age/],
    ['package: lib@1.0.0, expect: allow, ^now: 2026-02-30', /a time that exists/],
    ['package: lib@1.0.0, expect: allow, live: true, ^facts: {}', /takes what the upstream/],
    ['package: lib@1.0.0, expect: allow, facts: { ^provenance: our }', /"our".*"ours"/],
    ['package: lib@1.0.0, expect: allow, facts: { ^provenance: verified }', /by whom/],
    ['package: lib@1.0.0, expect: allow, ^fact: {}', /unknown key "fact".*"facts"/],
    ['package: lib@1.0.0, expect: { decision: refuse, reasons: [^NEW] }', /wanted/],
    [
      "package: lib@1.0.0, expect: allow, facts: { provenance: { issuer: 'https://a.example', subject: a, ^repository: 'https://github.com/a/*' } }",
      /no patterns/,
    ],
  ]
  for (const [body, words] of cases) {
    const all = complaints(`${head}  - { ${body.replace('^', '')} }\n`)
    t.equal(all.length, 1, body)
    t.match(all[0], words)
    t.match(all[0], `f:5:${7 + body.indexOf('^')}: `)
  }
  t.match(complaints(`${head}  - { package: lib@1.0.0 }\n`), [/^f:5:.*expect/])
  t.match(complaints('version: 1\ncases: []\n'), [/^f:2:1: .*at least one case/])
  t.match(
    complaints(
      `version: 1\nsigners: { absent: {} }\ncases: [{ package: a@1.0.0, expect: allow }]`,
    ),
    [/another name/, /issuer/, /subject/],
  )
})

t.test('what is other than expected', async t => {
  const young = inputOf('published: 1h, facts: { registrySignature: absent }')
  const verdict = judge(
    [policy('defaults: { minimumAge: 3d, require: { registrySignature: required } }')],
    young,
    now,
  )
  const wanted = (body: string) =>
    misses(one(`package: lib@1.2.3, expect: ${body}`).expect, verdict)
  t.same(wanted('refuse'), [])
  t.same(wanted('{ decision: refuse, reasons: [UNSIGNED, TOO_NEW], rule: defaults }'), [])
  t.match(wanted('allow'), [/wanted allow, found refuse/])
  t.match(wanted('{ decision: refuse, reasons: [TOO_NEW] }'), [
    /TOO_NEW, found UNSIGNED, TOO_NEW/,
  ])
  t.match(wanted('{ decision: refuse, reasons: [] }'), [/no reasons/])
  t.match(wanted('{ decision: refuse, rule: other }'), [/wanted rule other, found defaults/])
  t.ok(reasonCodes.length > 15)
})
