import t from 'tap'
import { judge } from '../../lib/policy/evaluate.ts'
import { upstreamFor } from '../../lib/policy/namespace.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type { JudgeInput, Verdict } from '../../lib/types.ts'
import {
  absent,
  daysAgo,
  github,
  identity,
  input,
  invalid,
  now,
  policy,
  published,
  releases,
  unavailable,
  verified,
  type Overrides,
} from './material.ts'

const ask = (text: string, over: Overrides = {}, at = now) =>
  judge([policy(text)], input(over), at)
const codes = (verdict: Verdict) => verdict.reasons.map(r => r.code)
const require = (body: string) => `defaults: { require: { ${body} } }`
const acme = `identities:
  acme: { issuer: '${github}', repository: 'https://github.com/acme/lib', ref: 'refs/tags/v{version}' }
  other: { issuer: '${github}', repository: 'https://github.com/other/lib', trigger: push }
`

t.test('what is honest is allowed', async t => {
  for (const over of [{}, { provenance: absent }, { registrySignature: absent }]) {
    const verdict = judge([], input(over), now)
    t.equal(verdict.decision, 'allow')
    t.same(verdict.reasons, [])
    t.match(verdict.layers, [{ policy: 'baseline', rule: 'defaults', mode: 'enforce' }])
    t.match(verdict.policyDigest, /^[0-9a-f]{64}$/)
    t.notOk('changesAt' in verdict)
  }
})

// every presence by every state, for each fact: [decision, code]
const table = {
  ignore: { verified: 'allow', absent: 'allow', invalid: 'allow', unavailable: 'allow' },
  'if-present': {
    verified: 'allow',
    absent: 'allow',
    invalid: 'refuse',
    unavailable: 'unavailable',
  },
  required: {
    verified: 'allow',
    absent: 'refuse',
    invalid: 'refuse',
    unavailable: 'unavailable',
  },
} as const

t.test('presence by state', async t => {
  const facts = {
    registrySignature: { code: 'INVALID_SIGNATURE', none: 'UNSIGNED' },
    publishAttestation: { code: 'INVALID_ATTESTATION', none: 'UNSIGNED' },
    provenance: { code: 'WRONG_SUBJECT', none: 'NO_PROVENANCE' },
  } as const
  for (const [fact, { code, none }] of Object.entries(facts) as [
    keyof typeof facts,
    (typeof facts)[keyof typeof facts],
  ][]) {
    for (const [presence, states] of Object.entries(table)) {
      for (const [state, decision] of Object.entries(states)) {
        const value = {
          verified: input().evidence[fact],
          absent,
          invalid: invalid(code),
          unavailable,
        }[state as 'verified']
        const others = fact === 'publishAttestation' ? 'provenance: ignore, ' : ''
        const verdict = ask(require(`${others}${fact}: ${presence}`), { [fact]: value })
        const label = `${fact}: ${presence}, ${state}`
        t.equal(verdict.decision, decision, label)
        const wanted = { allow: [], unavailable: ['EVIDENCE_UNAVAILABLE'], refuse: undefined }[
          decision
        ]
        t.same(codes(verdict), wanted ?? [state === 'absent' ? none : code], label)
      }
    }
  }
})

t.test('a finding is handed on whole', async t => {
  const fact = {
    ...invalid('WRONG_SUBJECT'),
    npmCode: 'EATTESTATIONSUBJECT',
    wanted: 'a',
    found: 'b',
  } as const
  t.match(judge([], input({ provenance: fact }), now).reasons, [
    { code: 'WRONG_SUBJECT', npmCode: 'EATTESTATIONSUBJECT', wanted: 'a', found: 'b' },
  ])
})

t.test('a forged publish attestation counts wherever provenance counts', async t => {
  const forged = { publishAttestation: invalid('INVALID_ATTESTATION') }
  t.equal(ask(require('publishAttestation: ignore'), forged).decision, 'refuse')
  t.equal(ask(require('provenance: ignore'), forged).decision, 'allow')
  t.equal(
    ask(require('provenance: ignore, publishAttestation: if-present'), forged).decision,
    'refuse',
  )
})

t.test('manifest', async t => {
  const verdict = ask('', { manifest: invalid('MANIFEST_MISMATCH') })
  t.same(codes(verdict), ['MANIFEST_MISMATCH'])
  t.equal(
    ask(require('manifest: ignore'), { manifest: invalid('MANIFEST_MISMATCH') }).decision,
    'allow',
  )
  t.equal(ask('', { manifest: unavailable }).decision, 'unavailable')
  t.equal(ask('', { manifest: absent }).decision, 'allow')
})

t.test('bytes that do not match are refused whatever the policy says', async t => {
  const texts = [
    '',
    'mode: observe',
    'rules: [{ packages: [lib], allow: { reason: x } }]',
    'mode: observe\nrules: [{ packages: [lib], allow: { reason: x } }]',
    require('registrySignature: ignore, provenance: ignore, manifest: ignore'),
  ]
  const forged: readonly Overrides[] = [
    { bytes: invalid('INTEGRITY_MISMATCH') },
    // whatever the finding is called: what is wrong are the bytes
    { bytes: invalid('INVALID_SIGNATURE') },
    { registrySignature: invalid('INTEGRITY_MISMATCH') },
    { publishAttestation: invalid('INTEGRITY_MISMATCH') },
    { provenance: invalid('INTEGRITY_MISMATCH') },
    { manifest: invalid('INTEGRITY_MISMATCH') },
  ]
  for (const text of texts)
    for (const over of forged) {
      const verdict = ask(text, over)
      t.equal(verdict.decision, 'refuse', text)
      t.same(codes(verdict), ['INTEGRITY_MISMATCH'], text)
    }
  t.equal(ask('', { bytes: unavailable }).decision, 'unavailable')
  t.equal(ask('', { bytes: { state: 'verified', size: 3 } }).decision, 'allow')
})

t.test('identities', async t => {
  const wanted = (what: string) => `${acme}${require(`provenance: ${what}`)}`
  t.equal(ask(wanted('acme')).decision, 'allow')
  t.equal(ask(wanted('any')).decision, 'allow')
  t.equal(ask(wanted('[other, acme]')).decision, 'allow')
  t.equal(ask(wanted(`{ issuer: '${github}', ownerId: '77' }`)).decision, 'allow')
  t.equal(ask(wanted(`[other, { issuer: '${github}', ownerId: '77' }]`)).decision, 'allow')
  t.match(ask(wanted('other')), {
    decision: 'refuse',
    reasons: [
      {
        code: 'IDENTITY_MISMATCH',
        field: 'repository',
        wanted: 'https://github.com/other/lib',
        found: 'https://github.com/acme/lib',
      },
    ],
  })
  t.match(
    ask(wanted('[other, acme]'), { version: '1.2.4' }).reasons,
    [{ field: 'repository', wanted: 'https://github.com/other/lib' }],
    'as near as acme, and first',
  )
  t.same(codes(ask(wanted('acme'), { provenance: absent })), ['NO_PROVENANCE'])
  t.same(codes(ask(wanted('any'), { provenance: absent })), ['NO_PROVENANCE'])
  t.same(codes(ask(wanted('acme'), { provenance: invalid('WRONG_SUBJECT') })), [
    'WRONG_SUBJECT',
  ])
  t.equal(ask(wanted('acme'), { provenance: unavailable }).decision, 'unavailable')
})

t.test('anyOf: one alternative must hold, else the nearest says why not', async t => {
  const any = (list: string) =>
    `${acme}rules: [{ packages: [lib], require: { anyOf: [${list}] } }]`
  const list = '{ provenance: other }, { registrySignature: required }'
  t.equal(ask(any(list)).decision, 'allow')
  t.match(ask(any(list), { registrySignature: absent }), {
    decision: 'refuse',
    reasons: [{ code: 'IDENTITY_MISMATCH' }],
  })
  t.same(
    codes(
      ask(any(`{ provenance: any, registrySignature: required }, ${list}`), {
        registrySignature: absent,
        provenance: absent,
      }),
    ),
    ['NO_PROVENANCE'],
    'the first of those with one thing missing',
  )
  t.equal(
    ask(any(list), { registrySignature: unavailable }).decision,
    'unavailable',
    'an alternative that may still hold is not a refusal',
  )
  t.equal(ask(any('{ provenance: other }, { provenance: ignore }')).decision, 'allow')
})

t.test('denials and waivers', async t => {
  const rule = (body: string) => `rules: [{ name: r, packages: [lib], ${body} }]`
  t.match(ask(rule('deny: { reason: stole wallets }')), {
    decision: 'refuse',
    reasons: [{ code: 'DENIED', message: /stole wallets/ }],
    layers: [{ rule: 'r', line: 2 }],
  })
  t.same(codes(ask('defaults: { deny: { reason: not on the list } }')), ['DENIED'])
  const waiver = rule('allow: { reason: old, by: us, until: 2026-11-23 }')
  const bad = { registrySignature: invalid('INVALID_SIGNATURE'), provenance: unavailable }
  t.match(ask(waiver, bad), {
    decision: 'allow',
    reasons: [],
    changesAt: '2026-11-24T00:00:00.000Z',
    layers: [{ waiver: { reason: 'old', by: 'us', until: '2026-11-24T00:00:00.000Z' } }],
  })
  t.equal(ask(rule('allow: { reason: old }'), bad).decision, 'allow')
  t.equal(ask(waiver, {}, new Date('2026-11-23T23:59:59.999Z')).decision, 'allow')
  const after = ask(waiver, {}, new Date('2026-11-24T00:00:00.000Z'))
  t.match(after, { decision: 'refuse', reasons: [{ code: 'WAIVER_EXPIRED' }] })
  t.notOk('changesAt' in after)
  t.notOk(after.layers[0]?.waiver)
  t.equal(ask(waiver, {}, new Date(Number.NaN)).decision, 'refuse', 'no time, no waiver')
})

t.test('minimum age, and the clock it goes by', async t => {
  const three = 'defaults: { minimumAge: 3d }'
  const clock = (over: Overrides) => ask(three, over).layers[0]?.clock
  const at = daysAgo(2)
  const old = daysAgo(9)
  const firstSeen = daysAgo(1)
  const unsigned = { publishAttestation: absent, provenance: absent } as const
  t.match(ask(three, { provenance: verified(identity(), at) }), {
    decision: 'refuse',
    reasons: [{ code: 'TOO_NEW', wanted: '3d', found: at, message: /the time it was signed/ }],
    changesAt: new Date(Date.parse(at) + 3 * 86_400_000).toISOString(),
  })
  t.same(clock({ publishAttestation: published(at), provenance: verified(identity(), old) }), {
    time: at,
    source: 'log',
  })
  t.same(
    clock({
      provenance: verified(identity(), at),
      sighting: { firstSeen: old, absentAt: old },
    }),
    {
      time: at,
      source: 'log',
    },
  )
  t.same(clock({ ...unsigned, sighting: { firstSeen, absentAt: daysAgo(2) } }), {
    time: firstSeen,
    source: 'first-seen',
  })
  t.same(clock({ ...unsigned, sighting: { firstSeen }, claims: { publishedAt: at } }), {
    time: at,
    source: 'packument',
  })
  const { publishedAt: _, ...claims } = input().claims
  const noTime = (over: Overrides) =>
    judge([policy(three)], { ...input(over), claims } satisfies JudgeInput, now)
  t.match(noTime({ ...unsigned, sighting: { firstSeen } }), {
    decision: 'refuse',
    layers: [{ clock: { time: firstSeen, source: 'first-seen' } }],
  })
  t.match(noTime(unsigned), {
    decision: 'unavailable',
    reasons: [{ code: 'EVIDENCE_UNAVAILABLE' }],
  })
  t.match(
    ask(three, { ...unsigned, claims: { publishedAt: 'once upon a time' } }).decision,
    'unavailable',
  )
  t.match(
    ask(three, { ...unsigned, claims: { publishedAt: '+275760-09-13T00:00:00.000Z' } })
      .decision,
    'unavailable',
    'a time that cannot be added to',
  )
  t.equal(
    ask(three, {
      provenance: { state: 'unavailable', detail: 'x' },
      publishAttestation: unavailable,
      claims: { publishedAt: firstSeen },
    }).decision,
    'refuse',
    'too new is certain though the evidence is not here yet',
  )
})

t.test('exactly old enough', async t => {
  const three = 'defaults: { minimumAge: 3d }'
  const over = { provenance: absent, claims: { publishedAt: daysAgo(3) } }
  t.equal(ask(three, over).decision, 'allow')
  t.equal(ask(three, over, new Date(now.getTime() - 1)).decision, 'refuse')
  t.equal(ask(three, over, new Date(Number.NaN)).decision, 'refuse', 'no time, no age')
})

t.test('observe lets through and records', async t => {
  const over = { registrySignature: invalid('INVALID_SIGNATURE') }
  t.match(ask('mode: observe', over), {
    decision: 'allow',
    reasons: [{ code: 'INVALID_SIGNATURE' }],
    layers: [{ mode: 'observe', reasons: [{ code: 'INVALID_SIGNATURE' }] }],
  })
  const own = 'mode: observe\nrules: [{ packages: [lib], mode: enforce }]'
  t.equal(ask(own, over).decision, 'refuse')
  t.equal(ask('rules: [{ packages: [lib], mode: observe }]', over).decision, 'allow')
})

t.test('layers: every one must allow', async t => {
  const organization = policy(
    'defaults: { require: { registrySignature: required } }',
    'organization',
  )
  const team = policy('defaults: { minimumAge: 3d }', 'team')
  const watching = policy(
    'mode: observe\ndefaults: { require: { provenance: any } }',
    'watching',
  )
  const all = [organization, team, watching]
  t.equal(judge(all, input(), now).decision, 'allow')
  const fresh = { claims: { publishedAt: daysAgo(1) } }
  t.match(judge(all, input(fresh), now), {
    decision: 'refuse',
    reasons: [{ code: 'TOO_NEW' }],
    layers: [
      { policy: 'organization', reasons: [] },
      { policy: 'team', reasons: [{ code: 'TOO_NEW' }] },
      { policy: 'watching', reasons: [] },
    ],
  })
  const naked = input({ ...fresh, provenance: absent, registrySignature: unavailable })
  t.same(
    codes(judge(all, naked, now)),
    ['TOO_NEW', 'EVIDENCE_UNAVAILABLE'],
    'what is certain first, and nothing of what is only watched',
  )
  t.same(codes(judge([watching], naked, now)), ['NO_PROVENANCE', 'EVIDENCE_UNAVAILABLE'])
  t.equal(judge([organization, policy('')], naked, now).reasons.length, 1, 'told once')
})

t.test('a waiver in one layer is none in another', async t => {
  const waived = policy('rules: [{ packages: [lib], allow: { reason: x } }]')
  const strict = policy('defaults: { require: { provenance: any } }')
  t.equal(judge([waived], input({ provenance: absent }), now).decision, 'allow')
  t.equal(judge([waived, strict], input({ provenance: absent }), now).decision, 'refuse')
})

t.test('reserved names', async t => {
  const reserve = 'rules: [{ name: ours, packages: ["@acme/*"], upstream: acme }]'
  const layers = (...texts: string[]): readonly Policy[] => texts.map(text => policy(text))
  t.equal(upstreamFor(layers(reserve), '@acme/lib'), 'acme')
  t.equal(upstreamFor(layers(reserve), '@other/lib'), undefined)
  t.equal(upstreamFor([], '@acme/lib'), undefined)
  t.equal(
    upstreamFor(layers('', reserve.replace('acme }', 'second }'), reserve), '@acme/x'),
    'second',
  )
  const from = (upstream: string) => ({ name: '@acme/lib', upstream })
  t.equal(ask(reserve, from('acme')).decision, 'allow')
  t.match(ask(reserve, from('npm')), {
    decision: 'refuse',
    reasons: [{ code: 'OUT_OF_NAMESPACE', wanted: 'acme', found: 'npm' }],
  })
  const waived = `rules:
  - { packages: ["@acme/lib"], allow: { reason: x } }
  - { packages: ["@acme/*"], upstream: acme }`
  t.same(codes(ask(waived, from('npm'))), ['OUT_OF_NAMESPACE'], 'a waiver is no reservation')
  t.equal(ask(`mode: observe\n${reserve}`, from('npm')).decision, 'refuse', 'in any mode')
})

t.test('messages are fit for a header', async t => {
  const nasty = 'Ünïcode\r\nX-Evil: 1 \u0000 '.repeat(30)
  const policies = [
    policy(
      `rules: [{ name: ${JSON.stringify(nasty.slice(0, 400))}, packages: ["@acme/*"], upstream: acme, deny: { reason: ${JSON.stringify(nasty.slice(0, 400))} } }]`,
    ),
    policy(acme + require('provenance: other')),
    policy('defaults: { minimumAge: 9w }'),
  ]
  const verdict = judge(
    policies,
    input({
      name: '@acme/lib',
      provenance: verified(identity({ repository: nasty, trigger: nasty })),
      registrySignature: { ...invalid('INVALID_SIGNATURE'), detail: nasty },
      publishAttestation: { state: 'unavailable', detail: nasty },
      claims: { publishedAt: daysAgo(1) },
    }),
    now,
  )
  t.ok(new Set(codes(verdict)).size >= 6, codes(verdict).join())
  for (const { message } of verdict.reasons) {
    t.match(message, /^[\x20-\x7e]{1,199}$/)
    t.doesNotThrow(() => new Headers({ 'npm-notice': message }))
  }
})

t.test('claims alone refuse what is certain', async t => {
  const nobodyLooked = { registrySignature: unavailable, publishAttestation: absent }
  const history = releases('1.2.2+@30')
  const lost = ask('', {
    ...nobodyLooked,
    provenance: absent,
    history,
    claims: { publishedAt: daysAgo(1) },
  })
  t.equal(lost.decision, 'refuse')
  t.equal(codes(lost)[0], 'DOWNGRADED')
  t.equal(
    ask(require('provenance: any'), { ...nobodyLooked, provenance: absent }).decision,
    'refuse',
  )
  t.equal(ask('', { ...nobodyLooked, provenance: unavailable }).decision, 'unavailable')
})
