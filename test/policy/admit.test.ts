/**
 * The lines that would admit a refused version, for every code a refusal can have: put where the
 * advice says, they admit that version, and what stands next to it is refused as before.
 */
import t from 'tap'
import { judge } from '../../lib/policy/evaluate.ts'
import { explain } from '../../lib/policy/explain.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Identity, ReasonCode } from '../../lib/types.ts'
import {
  absent,
  daysAgo,
  github,
  google,
  identity,
  input,
  invalid,
  known,
  now,
  releases,
  said,
  security,
  unavailable,
  verified,
  vouch,
  type Overrides,
} from './material.ts'

type Case = {
  /** Without `version: 1`. */
  readonly policy: string
  readonly over: Overrides
  /**
   * `rule` pins the publisher from this version on; `waiver` admits the one version; `early` asks it
   * for everything but its age.
   */
  readonly offered: 'rule' | 'waiver' | 'early' | 'nothing'
}

const far = `{ issuer: '${github}', repository: 'https://github.com/far/away' }`
const acme = `{ issuer: '${github}', repository: 'https://github.com/acme/lib' }`
const inPlace = `{ issuer: '${google}', subject: '${security}' }`
const lost: Overrides = { provenance: absent, history: releases('1.2.2+@400') }
const changed: Overrides = {
  history: [known(releases('1.2.2+@400')[0], identity({ repositoryId: '2' }))],
}
const forged = (over: Overrides): readonly Case[] => [{ policy: '', over, offered: 'nothing' }]

/** Every code there is. */
const cases: Readonly<Record<ReasonCode, readonly Case[]>> = {
  UNSIGNED: [
    {
      policy: 'defaults: { require: { registrySignature: required } }',
      over: { registrySignature: absent, provenance: absent },
      offered: 'waiver',
    },
    {
      // the publisher is known, but the rule that pins it must go on asking for the signature
      policy: 'defaults: { require: { registrySignature: required } }',
      over: { registrySignature: absent },
      offered: 'waiver',
    },
    {
      policy: 'defaults: { require: { publishAttestation: required } }',
      over: { provenance: absent },
      offered: 'waiver',
    },
  ],
  NO_PROVENANCE: [
    {
      policy: 'defaults: { require: { provenance: required } }',
      over: { provenance: absent },
      offered: 'waiver',
    },
    {
      policy: `rules: [{ packages: ['*'], require: { provenance: ${far} } }]`,
      over: { provenance: absent },
      offered: 'waiver',
    },
  ],
  IDENTITY_MISMATCH: [
    {
      policy: `defaults: { require: { provenance: ${far} } }`,
      over: {},
      offered: 'rule',
    },
    {
      policy: `rules: [{ publishers: [{ packages: [lib], github: far/away#1, workflow: a.yml }] }]
defaults: { require: { provenance: ${far} } }`,
      over: {},
      offered: 'rule',
    },
    ...[
      { trigger: 'pull_request_target' },
      { issuer: `${github}/acme` },
      {
        issuer: 'https://gitlab.com',
        repository: 'https://gitlab.com/acme/tools/lib',
        workflow: '.gitlab-ci.yml',
        signer: 'https://gitlab.com/acme/tools/lib//.gitlab-ci.yml@refs/tags/v1.2.3',
        runner: 'gitlab-hosted',
      },
      {
        issuer: 'https://oidc.circleci.com/org/1',
        subject: 'https://circleci.com/api/v2/projects/2/pipeline-definitions/3',
        repositoryId: undefined,
        workflow: undefined,
        runner: '""',
      },
    ].map((over): Case => ({
      policy: `defaults: { require: { provenance: ${far} } }`,
      over: { provenance: verified(identity(over as Partial<Identity>)) },
      offered: 'rule',
    })),
    {
      policy: `defaults: { require: { provenance: ${far} } }`,
      // a name that the language can only mean as a pattern
      over: { provenance: verified(identity({ environment: 'a*' })) },
      offered: 'waiver',
    },
  ],
  NO_VOUCH: [
    {
      policy: `rules: [{ packages: ['*'], require: { vouch: ${far} } }]`,
      // the publisher is known, but pinning it would let go the vouch that is asked for
      over: {},
      offered: 'waiver',
    },
  ],
  VOUCH_EXPIRED: [
    {
      policy: `rules: [{ packages: ['*'], require: { vouch: ${inPlace} } }]`,
      over: { vouches: [vouch({ said: { ...said, until: daysAgo(1) } })] },
      offered: 'waiver',
    },
  ],
  VOUCH_REVOKED: [
    {
      policy: `rules: [{ packages: ['*'], require: { vouch: ${inPlace} } }]`,
      over: { vouches: [vouch({ revoked: { reason: 'leaked', at: daysAgo(1) } })] },
      offered: 'waiver',
    },
  ],
  DOWNGRADED: [{ policy: '', over: lost, offered: 'waiver' }],
  PUBLISHER_CHANGED: [{ policy: '', over: changed, offered: 'rule' }],
  TOO_NEW: [
    {
      policy: 'defaults: { minimumAge: 3d }',
      over: { claims: { publishedAt: daysAgo(1) } },
      offered: 'early',
    },
    {
      policy: 'defaults: { minimumAge: 3d, require: { registrySignature: required } }',
      over: { claims: { publishedAt: daysAgo(1) }, provenance: absent },
      offered: 'early',
    },
    {
      // the rule that governs names the publisher, and so do the lines
      policy: `rules: [{ packages: ['*'], versions: '>=1.2.3', require: { provenance: ${acme} } }]
defaults: { minimumAge: 3d }`,
      over: { claims: { publishedAt: daysAgo(1) } },
      offered: 'early',
    },
    {
      policy:
        "rules: [{ packages: ['*'], continuity: off, where: 'true' }]\ndefaults: { minimumAge: 3d, where: 'pkg.name == \"x\"', continuity: package }",
      over: { claims: { publishedAt: daysAgo(1) }, provenance: absent },
      offered: 'early',
    },
    {
      // a vouch cannot be said here
      policy: `rules: [{ packages: ['*'], require: { vouch: ${inPlace} } }]
defaults: { minimumAge: 3d }`,
      over: { claims: { publishedAt: daysAgo(1) }, vouches: [vouch()] },
      offered: 'waiver',
    },
    {
      // two reasons: the age is not all there is
      policy: 'defaults: { minimumAge: 3d, require: { provenance: required } }',
      over: { claims: { publishedAt: daysAgo(1) }, provenance: absent },
      offered: 'waiver',
    },
  ],
  DENIED: [
    {
      policy: 'defaults: { deny: { reason: not listed } }',
      over: {},
      offered: 'rule',
    },
    {
      policy: 'defaults: { deny: { reason: not listed } }',
      over: { provenance: absent },
      offered: 'waiver',
    },
    {
      policy: 'defaults: { deny: { reason: not listed } }',
      over: { provenance: unavailable },
      offered: 'nothing',
    },
    {
      policy: "rules: [{ packages: ['*'], deny: { reason: known bad } }]",
      over: {},
      offered: 'nothing',
    },
  ],
  WAIVER_EXPIRED: [
    {
      policy:
        "rules: [{ packages: ['*'], allow: { reason: old, by: ana@acme.example, until: 2026-01-01 } }]",
      over: { provenance: absent },
      offered: 'waiver',
    },
  ],
  OUT_OF_NAMESPACE: [
    {
      policy: "rules: [{ packages: ['*'], upstream: acme }]",
      over: {},
      offered: 'nothing',
    },
  ],
  EVIDENCE_UNAVAILABLE: [
    { policy: '', over: { registrySignature: unavailable }, offered: 'nothing' },
  ],
  INVALID_SIGNATURE: forged({ registrySignature: invalid('INVALID_SIGNATURE') }),
  INVALID_ATTESTATION: forged({ provenance: invalid('INVALID_ATTESTATION') }),
  WRONG_SUBJECT: forged({ publishAttestation: invalid('WRONG_SUBJECT') }),
  INTEGRITY_MISMATCH: forged({ bytes: invalid('INTEGRITY_MISMATCH') }),
  MANIFEST_MISMATCH: forged({ manifest: invalid('MANIFEST_MISMATCH') }),
  CONDITION_FALSE: [
    { policy: `defaults: { where: 'pkg.name == "none"' }`, over: {}, offered: 'waiver' },
    {
      // no signer that could be pinned makes the condition true
      policy: `defaults: { where: 'identity.trigger == "schedule"' }`,
      over: {},
      offered: 'waiver',
    },
  ],
}

const parsed = (text: string) => parsePolicy(`version: 1\n${text}`, { file: 'policy' })

/** Where the advice says: under `rules:`, before the others. */
const amended = (text: string, lines: string) => {
  const before = parsed(text)
  const { rules } = parsed(`rules:\n${lines}`)
  return { ...before, rules: [...rules, ...before.rules] }
}

/** What stands next to the version, whatever admits it. */
const neighbours: readonly (readonly [what: string, over: Overrides])[] = [
  ['the version before', { version: '1.2.2' }],
  ['a prerelease of it', { version: '1.2.3-rc.1' }],
  ['a package of a longer name', { name: 'lib-tools' }],
  ['the name in a scope', { name: '@acme/lib' }],
]

/** What a waiver does not let in besides. */
const afterAWaiver: typeof neighbours = [
  ['the version after', { version: '1.2.4' }],
  ['the next major', { version: '2.0.0' }],
]

/** What a rule that pins the publisher does not let in besides. */
const afterARule: typeof neighbours = [
  ['another repository', { provenance: verified(identity({ repositoryId: '3' })) }],
  [
    'another issuer',
    { provenance: verified(identity({ issuer: 'https://gitlab.acme.example' })) },
  ],
  [
    'another workflow',
    { provenance: verified(identity({ workflow: '.github/workflows/test.yml' })) },
  ],
  ['another ref', { provenance: verified(identity({ ref: 'refs/heads/feature' })) }],
  ['another trigger', { provenance: verified(identity({ trigger: 'pull_request' })) }],
  ['a later version of nobody', { version: '1.2.4', provenance: absent }],
]

for (const [code, list] of Object.entries(cases)) {
  t.test(code, async t => {
    for (const { policy: text, over, offered } of list) {
      const title = `${text} ${JSON.stringify(Object.keys(over))}`
      const before = explain([parsed(text)], input(over), now)
      const codes = before.reasons.map(reason => reason.code)
      t.ok(codes.includes(code as ReasonCode), `${title}: ${codes.join(' ')}`)
      t.not(before.decision, 'allow', title)
      const { lines } = before
      if (offered === 'nothing') {
        t.equal(lines, '', title)
        continue
      }
      t.match(lines, offered === 'waiver' ? /^ {4}allow:$/m : /^ {4}require:$/m, title)
      if (offered === 'early') t.match(lines, /packages: \["lib@1\.2\.3"\][^]* minimumAge: off/)
      const after = amended(text, lines)
      const decide = (more: Overrides) => judge([after], input({ ...over, ...more }), now)
      const admitted = decide({})
      t.equal(admitted.decision, 'allow', title)
      t.same(admitted.reasons, [], title)
      for (const [what, more] of [...neighbours, ...(offered === 'rule' ? [] : afterAWaiver)]) {
        const was = judge([parsed(text)], input({ ...over, ...more }), now)
        const is = decide(more)
        t.same([is.decision, is.reasons], [was.decision, was.reasons], `${title}: ${what}`)
      }
      for (const [what, more] of offered === 'rule' ? afterARule : [])
        t.equal(decide(more).decision, 'refuse', `${title}: ${what}`)
      // staying as it was must not mean that everything was let in all along
      const next = offered === 'rule' ? { name: 'lib-tools' } : { version: '1.2.4' }
      t.equal(decide(next).decision, 'refuse', title)
    }
  })
}

t.test('what need not wait is asked for everything else', async t => {
  const recent: Overrides = { claims: { publishedAt: daysAgo(1) } }
  const lines = (text: string, over: Overrides = recent) => {
    const told = explain([parsed(text)], input(over), now)
    t.match(told.advice, /before its time/)
    return told.lines
  }
  const refused = (text: string, added: string, over: Overrides) =>
    judge(
      [parsed(text.replace('rules:', `rules:\n${added}`))],
      input({ ...recent, ...over }),
      now,
    )
  const text = `rules:
  - { packages: [lib], require: { provenance: ${acme}, registrySignature: required } }
defaults: { minimumAge: 3d }`
  const added = lines(text)
  t.equal(refused(text, added, {}).decision, 'allow')
  for (const [code, over] of [
    ['IDENTITY_MISMATCH', { provenance: verified(identity({ repositoryId: '3' })) }],
    ['IDENTITY_MISMATCH', { provenance: verified(identity({ ref: 'refs/heads/x' })) }],
    ['NO_PROVENANCE', { provenance: absent }],
    ['UNSIGNED', { registrySignature: absent }],
    // what a waiver would let in
    ['MANIFEST_MISMATCH', { manifest: invalid('MANIFEST_MISMATCH') }],
  ] as const)
    t.match(refused(text, added, over).reasons, [{ code }], code)

  const open = 'rules:\ndefaults: { minimumAge: 3d }'
  const plain = { ...recent, provenance: absent }
  const more = lines(open.replace('rules:\n', ''), plain)
  t.equal(refused(open, more, plain).decision, 'allow')
  t.match(refused(open, more, { ...plain, history: releases('1.2.2+@400') }).reasons, [
    { code: 'DOWNGRADED' },
  ])
})

t.test('a waiver ends by itself', async t => {
  const text = 'defaults: { require: { provenance: required } }'
  const { lines } = explain([parsed(text)], input({ provenance: absent }), now)
  const later = new Date(now.getTime() + 31 * 86_400_000)
  const after = judge([amended(text, lines)], input({ provenance: absent }), later)
  t.equal(after.decision, 'refuse')
  t.match(after.reasons, [{ code: 'WAIVER_EXPIRED' }])
})

t.test('a waiver does not let in what turns out forged', async t => {
  const { lines } = explain(
    [parsed('defaults: { require: { provenance: required } }')],
    input({ provenance: absent }),
    now,
  )
  const after = amended('', lines)
  const mismatch = { provenance: absent, bytes: invalid('INTEGRITY_MISMATCH') }
  t.equal(judge([after], input(mismatch), now).decision, 'refuse')
})
