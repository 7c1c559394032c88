import t from 'tap'
import { baselinePolicy } from '../../lib/policy/baseline.ts'
import {
  comparableReleases,
  publisherPredecessors,
  wantsPublisherHistory,
} from '../../lib/policy/continuity.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import type { ContinuityLevel } from '../../lib/policy/policy.ts'
import type { Release, State, Verdict } from '../../lib/types.ts'
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
  published,
  releases,
  unavailable,
  verified,
  type Overrides,
} from './material.ts'

const compared = (
  level: ContinuityLevel,
  version: string,
  history: readonly Release[],
  days?: number,
) =>
  comparableReleases(level, version, history, days === undefined ? days : daysAgo(days)).map(
    r => r.version,
  )

t.test('which releases are compared', async t => {
  const history = releases(
    '1.0.0',
    '1.1.0',
    '2.0.0',
    '1.0.1',
    '0.9.0',
    '1.2.0-rc.1',
    '1.1.5',
    'x',
  )
  t.same(compared('release-line', '1.1.5', history), ['1.1.0', '1.0.1', '1.0.0'])
  t.same(compared('package', '1.1.5', history), ['1.1.0', '1.0.1', '1.0.0', '0.9.0'])
  t.same(compared('off', '1.1.5', history), [])
  for (const level of ['package', 'release-line'] as const)
    t.same(
      compared(level, 'not semver', history),
      ['2.0.0', '1.2.0-rc.1', '1.1.5', '1.1.0', '1.0.1', '1.0.0', '0.9.0'],
      'what has no place comes after all',
    )
  t.same(compared('package', 'x', history).includes('x'), false)
  t.same(compared('off', 'not semver', history), [])
  t.same(compared('release-line', '1.0.1beta', history), ['1.0.0'], 'as clients read it')
  t.same(compared('release-line', '1.0.1', releases('1.0.0', '1.0.1beta')), ['1.0.0'])
  t.same(
    compared('release-line', '1.2.0-rc.2', history),
    ['1.2.0-rc.1', '1.1.5', '1.1.0', '1.0.1', '1.0.0'],
    'a prerelease with all',
  )
  t.same(compared('release-line', '2.0.1', history), ['2.0.0'])
})

t.test('what is equal to semver has one order, whatever that of the list', async t => {
  const equal = ['1.0.0', 'v1.0.0', '1.0.0-a', '1.0.0-a+1', '1.0.0-a+2'].map(version => ({
    version,
    claimsProvenance: false,
  }))
  const order = ['v1.0.0', '1.0.0', '1.0.0-a+2', '1.0.0-a+1', '1.0.0-a']
  for (const listed of [equal, equal.toReversed()])
    t.same(compared('package', '1.1.0-a', listed), order)
})

t.test('earlier is lower, or known to be published before', async t => {
  const history = releases('1.0.0@40', '1.2.0@30', '1.3.0@5', '1.1.1@1', '1.4.0')
  t.same(compared('release-line', '1.1.2', history, 10), ['1.1.1', '1.0.0', '1.2.0'])
  t.same(compared('release-line', '1.1.2', history), ['1.1.1', '1.0.0'])
})

t.test(
  'a line opened after provenance was adopted is compared with the lines below',
  async t => {
    const adopted = releases('1.0.0@90', '1.1.0+@60')
    t.same(compared('release-line', '2.0.0', adopted, 10), ['1.1.0', '1.0.0'])
    t.same(compared('release-line', '2.0.0', adopted), ['1.1.0', '1.0.0'], 'no times known')
    const before = releases('1.0.0@90', '2.0.0@80', '1.1.0+@60')
    t.same(
      compared('release-line', '2.0.1', before, 10),
      ['2.0.0'],
      'the line is older than that',
    )
    t.same(compared('release-line', '2.0.1', releases('1.1.0+', '2.0.0')), ['2.0.0'])
    const after = releases('1.1.0+@60', '2.0.0@50')
    t.same(compared('release-line', '2.0.1', after, 10), ['2.0.0', '1.1.0'])
    t.same(compared('release-line', '0.9.1', adopted, 10), [], 'a back-port to an old line')
    t.same(
      compared('release-line', '2.0.0', releases('1.1.0-rc.1+@60', '1.0.0@50'), 10),
      [],
      'prereleases say nothing about a stable line',
    )
  },
)

const lost = (over: Overrides, text = '', days = 10): Verdict =>
  judge(
    [policy(text)],
    input({
      provenance: absent,
      ...over,
      claims: { publishedAt: daysAgo(days), ...over.claims },
    }),
    now,
  )
const codes = (verdict: Verdict) => verdict.reasons.map(r => r.code)

t.test('losing provenance', async t => {
  const history = releases('1.2.2+@30')
  t.match(lost({ history }), {
    decision: 'refuse',
    reasons: [{ code: 'DOWNGRADED', found: 'none', message: /^1\.2\.2 was published with/ }],
  })
  t.equal(lost({ history, provenance: verified() }).decision, 'allow')
  t.same(codes(lost({ history, provenance: unavailable })), ['EVIDENCE_UNAVAILABLE'])
  t.same(codes(lost({ history, provenance: invalid('WRONG_SUBJECT') })), ['WRONG_SUBJECT'])
  t.equal(lost({ history: releases('1.2.2@30', '1.1.0@40') }).decision, 'allow')
  t.equal(lost({ history }, 'defaults: { continuity: off }').decision, 'allow')
  const other = releases('2.0.0+@30', '1.0.0@60')
  t.equal(lost({ history: other }).decision, 'allow', 'another line')
  t.equal(lost({ history: other }, 'defaults: { continuity: package }').decision, 'refuse')
  t.equal(lost({ history, version: '1.2.2' }).decision, 'allow', 'not compared with itself')
})

t.test('what was proven counts, not only what was claimed', async t => {
  const proven: readonly Release[] = [
    { version: '1.2.2', claimsProvenance: false, provenance: 'verified' },
  ]
  t.same(codes(lost({ history: proven })), ['DOWNGRADED'])
})

t.test(
  'a registry that attests the publication attests that provenance came with it',
  async t => {
    const history = releases('1.2.2+@30')
    const attestations = {
      url: 'http://127.0.0.1/',
      provenance: 'https://slsa.dev/provenance/v1',
    }
    const over = { history, publishAttestation: published() }
    t.equal(lost({ ...over, claims: { attestations } }).decision, 'allow')
    t.equal(lost(over).decision, 'refuse')
    t.equal(
      lost({ ...over, publishAttestation: absent, claims: { attestations } }).decision,
      'refuse',
    )
  },
)

t.test('where provenance is ignored there is nothing to lose', async t => {
  const history = releases('1.2.2+@30')
  const text = 'rules: [{ packages: [lib], require: { provenance: ignore } }]'
  t.equal(lost({ history }, text).decision, 'allow')
})

t.test('a loss is settled by time and a later release that has provenance', async t => {
  const returned = releases('1.2.2+@200', '1.2.4+@90')
  t.equal(lost({ history: returned }, '', 100).decision, 'allow')
  t.equal(lost({ history: returned }, '', 90).decision, 'refuse', 'the other was not later')
  t.equal(
    lost({ history: releases('1.2.2+@200') }, '', 100).decision,
    'refuse',
    'nothing later',
  )
  const young = lost({ history: releases('1.2.2+@200', '2.0.0+@40') }, '', 60)
  t.match(young, { decision: 'refuse', changesAt: daysAgo(-30) })
  t.equal(judge([baselinePolicy], input(), now).decision, 'allow')
  const later = new Date(daysAgo(-30))
  const same = input({
    provenance: absent,
    history: releases('1.2.2+@200', '2.0.0+@40'),
    claims: { publishedAt: daysAgo(60) },
  })
  t.equal(judge([baselinePolicy], same, later).decision, 'allow')
  t.equal(judge([baselinePolicy], same, new Date(later.getTime() - 1)).decision, 'refuse')
  const settled = (text: string, days: number) =>
    lost({ history: returned }, `defaults: { continuity: ${text} }`, days).decision
  t.equal(settled('{ level: release-line, settledAfter: never }', 100), 'refuse')
  t.equal(settled('{ level: release-line, settledAfter: 200d }', 100), 'refuse')
  t.equal(settled('{ level: release-line, settledAfter: 95d }', 100), 'allow')
  t.equal(settled('release-line', 100), 'allow', 'the short form settles after 90 days')
})

t.test('only what may be true brings provenance back', async t => {
  for (const [provenance, decision] of [
    ['verified', 'allow'],
    ['unavailable', 'allow'],
    ['invalid', 'refuse'],
    ['absent', 'refuse'],
  ] as const) {
    const [before, after] = releases('1.2.2+@200', '1.2.4+@90')
    const history = [before, { ...after, provenance }] as Release[]
    t.equal(lost({ history }, '', 100).decision, decision, provenance)
  }
})

t.test('the clock that we kept ourselves settles, not the one somebody wrote', async t => {
  const history = releases('1.2.2+@200', '1.2.4+@50')
  const backdated = { publishedAt: daysAgo(100) }
  const sighting = { firstSeen: daysAgo(10), absentAt: daysAgo(11) }
  t.equal(lost({ history, claims: backdated }).decision, 'allow')
  t.equal(lost({ history, claims: backdated, sighting }).decision, 'refuse')
})

// ------------------------------------------------------------------ publishers

const mine = identity()
const theirs = identity({ repository: 'https://github.com/evil/lib', repositoryId: '666' })
const changed = (history: readonly Release[], text = '', over: Overrides = {}) =>
  judge(
    [policy(text)],
    input({
      history,
      provenance: verified(theirs),
      claims: { publishedAt: daysAgo(10) },
      ...over,
    }),
    now,
  )

t.test('changing the publisher', async t => {
  const [before] = releases('1.2.2+@40')
  t.match(changed([known(before, mine)]), {
    decision: 'refuse',
    reasons: [
      {
        code: 'PUBLISHER_CHANGED',
        field: 'repository',
        wanted: 'https://github.com/acme/lib (id 1001)',
        found: 'https://github.com/evil/lib (id 666)',
      },
    ],
  })
  t.equal(changed([known(before, theirs)]).decision, 'allow')
  t.match(
    changed([known(before, identity({ ...theirs, issuer: 'https://gitlab.com' }))]).reasons,
    [{ code: 'PUBLISHER_CHANGED', field: 'issuer' }],
  )
  t.equal(changed([known(before, mine)], 'defaults: { continuity: off }').decision, 'allow')
  const [line2] = releases('2.0.0+@40')
  t.equal(changed([known(line2, mine)]).decision, 'allow', 'another line')
  t.equal(changed([known(line2, mine)], 'defaults: { continuity: package }').decision, 'refuse')
  const { provenance: _, ...unproven } = known(before, mine)
  t.equal(changed([{ ...unproven, provenance: 'invalid' }]).decision, 'allow', 'not proven')
})

t.test('it does not settle with time', async t => {
  const history = [
    known(releases('1.2.2+@400')[0], mine),
    known(releases('1.2.4+@200')[0], mine),
  ]
  t.equal(changed(history, '', { claims: { publishedAt: daysAgo(300) } }).decision, 'refuse')
})

t.test('a rule that names the publisher decides alone', async t => {
  const history = [known(releases('1.2.2+@40')[0], mine)]
  const rule = (who: string) => `rules: [{ packages: [lib], require: { provenance: ${who} } }]`
  t.equal(
    changed(history, rule(`{ issuer: '${github}', repositoryId: '666' }`)).decision,
    'allow',
  )
  t.same(codes(changed(history, rule(`{ issuer: '${github}', repositoryId: '1001' }`))), [
    'IDENTITY_MISMATCH',
    'PUBLISHER_CHANGED',
  ])
  t.same(codes(changed(history, rule('any'))), ['PUBLISHER_CHANGED'])
  t.equal(changed(history, rule('ignore')).decision, 'allow')
})

t.test('whoever publishes twice is not vouched for by their own first release', async t => {
  const [good, first] = releases('1.2.1+@40', '1.2.2+@11')
  t.equal(changed([known(good, mine), known(first, theirs)]).decision, 'refuse')
  t.equal(
    changed([known(good, theirs), known(first, mine)]).decision,
    'allow',
    'nor is the next release of the true publisher held against them',
  )
  const [stood] = releases('1.2.2+@24')
  t.equal(changed([known(good, mine), known(stood, theirs)]).decision, 'allow', 'after 14 days')
  const [yesterday, today] = releases('1.2.1+@11', '1.2.2+@10.5')
  t.equal(
    changed([known(yesterday, mine), known(today, theirs)]).decision,
    'refuse',
    'in a young package the oldest speaks',
  )
})

t.test('who published before must be known, or be looked for', async t => {
  const fresh = { provenance: verified(theirs), claims: { publishedAt: daysAgo(10) } }
  const wanted = (history: readonly Release[], over: Overrides = {}, text = '') => {
    const asked = input({ history, ...fresh, ...over })
    const found = publisherPredecessors([policy(text)], asked).map(r => r.version)
    t.equal(wantsPublisherHistory([policy(text)], asked), found.length > 0)
    return found
  }
  const unknown = releases('1.2.0+@60', '1.2.2+@40', '1.2.1@50')
  t.same(wanted(unknown), ['1.2.2', '1.2.0'])
  t.same(wanted(unknown, { provenance: absent }), [])
  t.same(wanted(unknown, { provenance: unavailable }), [])
  t.same(wanted(unknown, {}, 'defaults: { continuity: off }'), [])
  t.same(wanted(unknown, {}, 'defaults: { require: { provenance: ignore } }'), [])
  t.same(wanted(unknown, {}, 'rules: [{ packages: [lib], deny: { reason: x } }]'), [])
  const pin = `{ issuer: '${github}', repositoryId: '666' }`
  t.same(wanted(unknown, {}, `defaults: { require: { provenance: ${pin} } }`), [])
  t.same(wanted([known(unknown[1], mine), ...unknown.slice(0, 1)]), [])
  t.same(wanted(unknown.map(r => ({ ...r, provenance: 'invalid' as const }))), [])
  t.same(wanted(releases('1.2.1+@40', '1.2.2+@11')), ['1.2.1'], 'only what had stood')
  t.same(wanted(releases('1.2.1+@11', '1.2.2+@10.5')), ['1.2.1', '1.2.2'], 'the oldest first')
  t.same(wanted([]), [])
  t.same(publisherPredecessors([], input({ history: unknown, ...fresh })).length, 2, 'baseline')

  t.equal(changed(unknown).decision, 'allow', 'nobody looked')
  const [old, recent] = releases('1.2.1+@40', '1.2.2+@11') as [Release, Release]
  const beside = (provenance: State | undefined) =>
    changed([{ ...old, ...(provenance && { provenance }) }, known(recent, mine)]).decision
  t.equal(beside(undefined), 'allow', 'nobody looked at the one that speaks')
  t.equal(beside('unavailable'), 'unavailable')
  t.equal(beside('invalid'), 'refuse', 'it will never speak, so the other does')
  const failed = unknown.map(r =>
    r.claimsProvenance ? { ...r, provenance: 'unavailable' as const } : r,
  )
  t.match(changed(failed), {
    decision: 'unavailable',
    reasons: [{ code: 'EVIDENCE_UNAVAILABLE' }],
  })
  t.equal(changed([known(failed[1], theirs), ...failed.slice(0, 1)]).decision, 'allow')
})
