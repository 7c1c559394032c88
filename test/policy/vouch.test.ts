/** Vouches and signatures by keys: who may make them, what they admit, and what they never admit. */
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { keyIdOf } from '../../lib/key-id.ts'
import { readCases } from '../../lib/policy/cases.ts'
import { policyDigest } from '../../lib/policy/digest.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { explain } from '../../lib/policy/explain.ts'
import { lintPolicy } from '../../lib/policy/lint.ts'
import { parsePolicy, readPolicy } from '../../lib/policy/parse.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type { Evidence, Fact, Vouch } from '../../lib/types.ts'
import {
  absent,
  daysAgo,
  google,
  identity,
  input,
  invalid,
  now,
  policy,
  releases,
  said,
  security,
  unavailable,
  vouch,
  type Overrides,
} from './material.ts'

const pair = () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString()
  return { pem, keyId: keyIdOf(publicKey.export({ format: 'der', type: 'spki' })) }
}
const ours = pair()
const theirs = pair()
const files: Readonly<Record<string, string>> = {
  './ours.pub': ours.pem,
  './theirs.pub': theirs.pem,
}
const readKey = (path: string) => {
  const text = files[path]
  if (text === undefined) throw new Error(`${path}: there is no such file`)
  return text
}
const keyed = (text: string): Policy =>
  parsePolicy(`version: 1\n${text}`, { file: 'test.policy.yaml', readKey })

const team = `identities: { team: { issuer: '${google}', subject: '${security}' } }\n`
const wants = (requirement: string, more = '') =>
  policy(`${team}rules: [{ packages: [lib], require: ${requirement}${more} }]`)
const unsigned: Overrides = {
  registrySignature: absent,
  publishAttestation: absent,
  provenance: absent,
}
const codesOf = (policies: Policy, over: Overrides) => {
  const { decision, reasons } = judge([policies], input(over), now)
  return [decision, ...reasons.map(({ code }) => code)]
}
const byKey = (keyId: string, over: Partial<Vouch> = {}) =>
  vouch({ signer: { kind: 'key', keyId }, ...over })
const by = (over: object) =>
  vouch({
    signer: {
      kind: 'certificate',
      identity: { issuer: google, subject: security, subjectType: 'email', ...over },
    },
  })

t.test('a vouch admits what nobody signed', async t => {
  const asks = wants('{ vouch: team }')
  t.strictSame(codesOf(asks, unsigned), ['refuse', 'NO_VOUCH'])
  t.strictSame(codesOf(asks, { ...unsigned, vouches: [] }), ['refuse', 'NO_VOUCH'])
  t.strictSame(codesOf(asks, { ...unsigned, vouches: [vouch()] }), ['allow'])
  t.strictSame(codesOf(asks, { ...unsigned, vouches: [absent] }), ['refuse', 'NO_VOUCH'])
})

t.test('only of those who are named, and of those exactly', async t => {
  const asks = wants('{ vouch: team }')
  const others: readonly Fact<Vouch>[] = [
    by({ subject: 'security@acme.example.evil.example' }),
    by({ subject: 'insecurity@acme.example' }),
    by({ subject: 'SECURITY@acme.example' }),
    by({ issuer: 'https://github.com/login/oauth' }),
    by(identity()),
    byKey(ours.keyId),
    byKey(security),
  ]
  for (const other of others) {
    const [decision, ...codes] = codesOf(asks, { ...unsigned, vouches: [other] })
    t.equal(decision, 'refuse')
    t.ok(
      codes.every(code => code === 'IDENTITY_MISMATCH'),
      codes.join(),
    )
  }
  t.strictSame(codesOf(asks, { ...unsigned, vouches: [...others, vouch()] }), ['allow'])
})

t.test('by a key: in a file, in place, or by its name', async t => {
  const written = ['./ours.pub', ours.keyId, JSON.stringify(ours.pem)]
  for (const key of written) {
    const asks = keyed(`rules: [{ packages: [lib], require: { vouch: { key: ${key} } } }]`)
    t.strictSame(codesOf(asks, { ...unsigned, vouches: [byKey(ours.keyId)] }), ['allow'], key)
    const others = { ...unsigned, vouches: [byKey(theirs.keyId), vouch()] }
    t.strictSame(codesOf(asks, others), ['refuse', 'IDENTITY_MISMATCH'], key)
  }
  const text = 'rules: [{ packages: [lib], require: { vouch: { key: ./ours.pub } } }]'
  const unread = policy(text)
  t.strictSame(
    codesOf(unread, { ...unsigned, vouches: [byKey(ours.keyId)] }),
    ['refuse', 'IDENTITY_MISMATCH'],
    'a key that nobody read is nobody’s',
  )
  const swapped = parsePolicy(`version: 1\n${text}`, { file: 'f', readKey: () => theirs.pem })
  t.not(policyDigest([keyed(text)]), policyDigest([swapped]), 'another key is another policy')
})

t.test('keys that cannot be read are told at their place', async t => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
  const bad: Readonly<Record<string, RegExp>> = {
    './none.pub': /no such file/,
    [JSON.stringify(secret)]: /private key/,
    [JSON.stringify(p384.export({ format: 'pem', type: 'spki' }).toString())]: /P-256/,
    '"-----BEGIN NONSENSE-----"': /no public key/,
  }
  for (const [key, words] of Object.entries(bad)) {
    const text = `rules: [{ packages: [lib], require: { vouch: { key: ${key} } } }]`
    t.throws(() => keyed(text), { code: 'EPOLICY', message: words })
    t.throws(() => keyed(text), { message: /^test\.policy\.yaml:2:/ })
  }
  t.throws(
    () =>
      policy(`identities: { a: { issuer: '${google}', subject: x, validUntil: 2027-01-01 } }`),
    { code: 'EPOLICY' },
    'certificates have their own time',
  )
})

t.test('a key that holds for a time', async t => {
  const asks = keyed(
    `rules: [{ packages: [lib], require: { vouch: { key: ./ours.pub, validFrom: 2026-01-01, validUntil: 2026-06-30 } } }]`,
  )
  const at = (time?: string) =>
    codesOf(asks, {
      ...unsigned,
      vouches: [
        { ...byKey(ours.keyId), signedAt: time && { time, source: 'log' } } as Fact<Vouch>,
      ],
    })[0]
  t.equal(at('2026-01-01T00:00:00.000Z'), 'allow')
  t.equal(at('2026-06-30T23:59:59.000Z'), 'allow')
  t.equal(at('2025-12-31T23:59:59.000Z'), 'refuse')
  t.equal(at('2026-07-01T00:00:00.000Z'), 'refuse')
  t.equal(at(), 'refuse', 'nobody tells when')
})

t.test('ended, revoked, and who else still holds', async t => {
  const asks = wants('{ vouch: team }')
  const ended = vouch({ said: { ...said, until: daysAgo(1) } })
  const revoked = vouch({ revoked: { reason: 'key leaked', at: daysAgo(1) } })
  const codes = (...vouches: readonly Fact<Vouch>[]) => codesOf(asks, { ...unsigned, vouches })
  t.strictSame(codes(ended), ['refuse', 'VOUCH_EXPIRED'])
  t.strictSame(codes(revoked), ['refuse', 'VOUCH_REVOKED'])
  t.strictSame(
    codes(
      vouch({ said: { ...said, until: daysAgo(-1) }, revoked: { reason: 'x', at: said.at } }),
    ),
    ['refuse', 'VOUCH_REVOKED'],
  )
  t.strictSame(codes(ended, revoked, vouch()), ['allow'])
  t.strictSame(codes(vouch({ said: { ...said, until: 'never' } })), ['refuse', 'VOUCH_EXPIRED'])
  const until = daysAgo(-5)
  const soon = judge(
    [asks],
    input({ ...unsigned, vouches: [vouch({ said: { ...said, until } })] }),
    now,
  )
  t.equal(soon.decision, 'allow')
  t.equal(soon.changesAt, until, 'it is judged again when the vouch ends')
})

t.test(
  'what does not verify does not count, and what nobody could look at is asked again',
  async t => {
    const asks = wants('{ vouch: team }')
    const codes = (...vouches: readonly Fact<Vouch>[]) =>
      codesOf(asks, { ...unsigned, vouches })
    t.strictSame(codes(invalid('INVALID_ATTESTATION')), ['refuse', 'INVALID_ATTESTATION'])
    t.strictSame(codes(invalid('WRONG_SUBJECT')), ['refuse', 'WRONG_SUBJECT'])
    t.strictSame(codes(unavailable), ['unavailable', 'EVIDENCE_UNAVAILABLE'])
    t.strictSame(codes(unavailable, by({ subject: 'x' }))[0], 'unavailable')
    t.strictSame(
      codes(invalid('INVALID_ATTESTATION'), vouch()),
      ['allow'],
      'anybody can add rubbish',
    )
  },
)

t.test('a vouch never speaks for what was forged, whatever is ignored beside it', async t => {
  const vouches = [vouch()]
  const ignoring = wants(
    '{ vouch: team, registrySignature: ignore, publishAttestation: ignore, provenance: ignore, manifest: ignore }',
  )
  t.strictSame(codesOf(ignoring, { ...unsigned, vouches }), ['allow'])
  const forged: readonly (readonly [keyof Evidence, Parameters<typeof invalid>[0]])[] = [
    ['registrySignature', 'INVALID_SIGNATURE'],
    ['publishAttestation', 'INVALID_ATTESTATION'],
    ['publishAttestation', 'WRONG_SUBJECT'],
    ['provenance', 'INVALID_ATTESTATION'],
    ['provenance', 'WRONG_SUBJECT'],
    ['manifest', 'MANIFEST_MISMATCH'],
    ['bytes', 'INTEGRITY_MISMATCH'],
  ]
  for (const [fact, code] of forged) {
    const over = { ...unsigned, [fact]: invalid(code), vouches }
    for (const asks of [wants('{ vouch: team }'), ignoring])
      t.strictSame(codesOf(asks, over), ['refuse', code], `${fact} ${code}`)
    const any = wants('{ anyOf: [{ provenance: any }, { vouch: team }] }')
    t.equal(codesOf(any, over)[0], 'refuse', `${fact} ${code} in an alternative`)
  }
  const unlooked = { ...unsigned, provenance: unavailable, vouches }
  t.strictSame(codesOf(ignoring, unlooked), ['unavailable', 'EVIDENCE_UNAVAILABLE'])
})

t.test('a vouch stands beside what else is asked', async t => {
  const vouches = [vouch()]
  const signed = wants('{ vouch: team, registrySignature: required }')
  t.strictSame(codesOf(signed, { ...unsigned, vouches }), ['refuse', 'UNSIGNED'])
  const young = wants('{ vouch: team }, minimumAge: 3d')
  const over = { ...unsigned, vouches, claims: { publishedAt: daysAgo(1) } }
  t.strictSame(codesOf(young, over), ['refuse', 'TOO_NEW'])
  const lost = { ...unsigned, history: releases('1.2.2+@400') }
  const asks = wants('{ vouch: team }')
  t.strictSame(codesOf(asks, { ...lost, vouches }), ['allow'], 'continuity: it was looked at')
  t.match(codesOf(asks, { ...lost, vouches: [by({ subject: 'x' })] }), [
    'refuse',
    'IDENTITY_MISMATCH',
  ])
  t.strictSame(
    codesOf(wants('{ anyOf: [{ provenance: any }, { vouch: team }] }'), {
      ...unsigned,
      vouches,
    }),
    ['allow'],
  )
  t.strictSame(
    codesOf(wants('{ anyOf: [{ provenance: any }, { vouch: team }] }'), { vouches: [] }),
    ['allow'],
  )
})

t.test('signature: whose key made the registry signature', async t => {
  const asks = keyed(
    'identities: { acme: { key: ./ours.pub } }\nrules: [{ packages: [lib], require: { signature: acme } }]',
  )
  const signed = (...fingerprints: string[]) => ({
    registrySignature: { state: 'verified', keyId: ours.keyId, fingerprints } as const,
  })
  t.strictSame(codesOf(asks, signed(ours.keyId)), ['allow'])
  t.strictSame(codesOf(asks, signed(theirs.keyId, ours.keyId)), ['allow'])
  t.strictSame(
    codesOf(asks, signed(theirs.keyId)),
    ['refuse', 'IDENTITY_MISMATCH'],
    'what a registry calls its key says nothing',
  )
  t.strictSame(codesOf(asks, signed()), ['refuse', 'IDENTITY_MISMATCH'])
  t.strictSame(codesOf(asks, { registrySignature: absent }), ['refuse', 'UNSIGNED'])
  t.strictSame(codesOf(asks, { registrySignature: invalid('INVALID_SIGNATURE') }), [
    'refuse',
    'INVALID_SIGNATURE',
  ])
  t.strictSame(codesOf(asks, { registrySignature: unavailable }), [
    'unavailable',
    'EVIDENCE_UNAVAILABLE',
  ])
})

t.test('conditions see who vouched', async t => {
  const where = `'"${google} ${security}" in vouchedBy'`
  const asks = policy(`rules: [{ packages: [lib], where: ${where} }]`)
  t.strictSame(codesOf(asks, { vouches: [vouch()] }), ['allow'])
  t.strictSame(codesOf(asks, {}), ['refuse', 'CONDITION_FALSE'])
  t.strictSame(codesOf(asks, { vouches: [by({ issuer: 'https://evil.example' })] }), [
    'refuse',
    'CONDITION_FALSE',
  ])
  const revoked = vouch({ revoked: { reason: 'x', at: said.at } })
  t.strictSame(codesOf(asks, { vouches: [revoked] }), ['refuse', 'CONDITION_FALSE'])
  t.strictSame(codesOf(asks, { vouches: [unavailable] }), [
    'unavailable',
    'EVIDENCE_UNAVAILABLE',
  ])
  const until = daysAgo(-2)
  const ending = input({ vouches: [vouch({ said: { ...said, until } })] })
  t.equal(judge([asks], ending, now).changesAt, until)
})

t.test('a refusal offers the vouch', async t => {
  const strict = policy('defaults: { require: { provenance: required } }')
  const told = explain([strict], input(unsigned), now)
  t.match(told.vouch?.command, /^attestry vouch lib@1\.2\.3 /)
  const lines = told.vouch?.lines ?? ''
  const amended = policy(`rules:\n${lines}\ndefaults: { require: { provenance: required } }`)
  t.strictSame(
    codesOf(amended, unsigned),
    ['refuse', 'NO_VOUCH'],
    'by itself it admits nothing',
  )
  t.strictSame(codesOf(amended, { ...unsigned, vouches: [vouch()] }), ['allow'])
  t.equal(codesOf(amended, { ...unsigned, version: '1.2.4', vouches: [vouch()] })[0], 'refuse')

  const takes = explain([wants('{ vouch: team }')], input(unsigned), now)
  t.match(takes.vouch, { lines: '', command: /attestry vouch/ })
  const known = explain(
    [
      policy(
        `${team}rules: [{ packages: [a], require: { vouch: team } }]\ndefaults: { require: { provenance: required } }`,
      ),
    ],
    input(unsigned),
    now,
  )
  t.match(known.vouch?.lines, /vouch: \[team\]/)

  const none: readonly (readonly [Policy, Overrides])[] = [
    [strict, { ...unsigned, registrySignature: invalid('INVALID_SIGNATURE') }],
    [policy('rules: [{ packages: [lib], deny: { reason: no } }]'), unsigned],
    [policy('defaults: { minimumAge: 3d }'), { claims: { publishedAt: daysAgo(1) } }],
    [policy(`defaults: { where: 'pkg.name == "none"' }`), unsigned],
    [
      keyed('rules: [{ packages: [lib], require: { signature: { key: ./ours.pub } } }]'),
      unsigned,
    ],
  ]
  for (const [asks, over] of none)
    t.equal(explain([asks], input(over), now).vouch, undefined, JSON.stringify(over))
})

t.test('an explanation tells the vouches there are', async t => {
  const revoked = vouch({ revoked: { reason: 'key leaked', at: said.at } })
  const asks = wants('{ vouch: team }')
  const { evidence, layers } = explain(
    [asks],
    input({ ...unsigned, vouches: [revoked, invalid('WRONG_SUBJECT')] }),
    now,
  )
  const facts = evidence.facts.filter(({ fact }) => fact === 'vouch')
  t.match(facts, [
    {
      state: 'verified',
      detail: /by security@acme\.example: read it all.*revoked.*key leaked/,
    },
    { state: 'invalid' },
  ])
  const check = layers[0]?.alternatives[0]?.checks.find(({ what }) => what === 'vouch')
  t.match(check, {
    ok: false,
    wanted: 'vouched for by team',
    reasons: [{ code: 'VOUCH_REVOKED' }],
  })
})

t.test('an identity that only vouches is in use', async t => {
  const located = readPolicy(
    `version: 1\n${team}rules: [{ packages: [lib], require: { anyOf: [{ provenance: any }, { vouch: [team] }] } }]`,
    { file: 'f' },
  )
  t.strictSame(lintPolicy(located, { now }), [])
})

t.test('golden cases say who vouched', async t => {
  const text = `version: 1
signers: { ana: { issuer: '${google}', subject: '${security}' } }
cases:
  - { package: lib@1.2.3, facts: { vouches: [{ by: ana }] }, expect: allow }
  - { package: lib@1.2.3, facts: { vouches: [{ by: ${ours.keyId} }] }, expect: { decision: refuse, reasons: [IDENTITY_MISMATCH] } }
  - { package: lib@1.2.3, facts: { vouches: [{ by: ana, revoked: true }] }, expect: { decision: refuse, reasons: [VOUCH_REVOKED] } }
  - { package: lib@1.2.3, facts: { vouches: [{ by: ana, until: 1d }] }, expect: { decision: refuse, reasons: [VOUCH_EXPIRED] } }
  - { package: lib@1.2.3, facts: { vouches: [{ by: ana, state: unavailable }] }, expect: unavailable }
  - { package: lib@1.2.3, facts: { vouches: [{ by: ana, state: invalid }] }, expect: { decision: refuse, reasons: [INVALID_ATTESTATION] } }
  - { package: lib@1.2.3, expect: { decision: refuse, reasons: [NO_VOUCH] } }
`
  const { cases } = readCases(text, { file: 'f', now })
  for (const { input: given, expect } of cases) {
    if (!given) throw new Error('a case without facts')
    const { decision, reasons } = judge([wants('{ vouch: team }')], given, now)
    t.equal(decision, expect.decision)
    if (expect.reasons)
      t.strictSame([...new Set(reasons.map(({ code }) => code))], expect.reasons)
  }
  t.throws(
    () =>
      readCases(
        'version: 1\ncases: [{ package: a@1.0.0, facts: { vouches: [{ by: nobody }] }, expect: allow }]',
        { file: 'f', now },
      ),
    { code: 'EPOLICY' },
  )
})
