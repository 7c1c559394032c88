/** A standing made of the one before it is the standing that would be made afresh. */
import fc from 'fast-check'
import t from 'tap'
import type { EvidenceBook } from '../../lib/gate/evidence-book.ts'
import {
  claimedEvidence,
  fingerprint,
  standingFacts,
  type EvidenceRecord,
} from '../../lib/gate/evidence-facts.ts'
import { openJudges } from '../../lib/gate/judge.ts'
import { sightingOf, type PackageIndex } from '../../lib/gate/package-index.ts'
import { isObserved } from '../../lib/gate/reasons.ts'
import { splitViewFact } from '../../lib/gate/split-view.ts'
import { carriedFrom, type Standing } from '../../lib/gate/standing.ts'
import type { VouchBook, VouchQuestion } from '../../lib/gate/vouch-book.ts'
import { judgedAlike } from '../../lib/policy/alike.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { hasProvenance } from '../../lib/policy/releases.ts'
import type {
  Fact,
  Provenance,
  Release,
  Sighting,
  Verdict,
  VersionClaims,
  Vouch,
} from '../../lib/types.ts'
import {
  absent,
  daysAgo,
  identity,
  invalid,
  now,
  policy,
  published,
  signed,
  verified,
  vouch,
} from '../policy/material.ts'

const name = 'lib'
const vouchedFor = '1.1.0'
const versions = ['1.0.0', '1.0.1', '1.1.0', '2.0.0-rc.1', '2.0.0', '2.1.0', 'no version']
const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}` as const
const other = { repository: 'https://github.com/evil/lib', repositoryId: '666', ownerId: '6' }

const policies = [
  [],
  [policy('defaults: { continuity: package, minimumAge: 3d }')],
  [policy('defaults: { continuity: off, require: { registrySignature: required } }')],
  [policy('mode: observe\ndefaults: { require: { provenance: required } }')],
  [policy('rules:\n  - { packages: ["lib@1.1.0"], allow: { reason: x, until: 2026-12-01 } }')],
  [
    policy('defaults: { continuity: { level: package, settledAfter: 30d } }'),
    policy(
      'rules:\n  - { packages: [lib], versions: ">=2.0.0", deny: { reason: x } }\ndefaults: { continuity: release-line }',
    ),
  ],
  [policy(`defaults: { where: 'pkg.ageHours > 48 || provenance == "verified"' }`)],
  [
    policy(
      'identities:\n  us: { issuer: https://accounts.google.com, subject: security@acme.example }\nrules:\n  - { packages: [lib], require: { anyOf: [{ provenance: required }, { vouch: us }] } }',
    ),
  ],
]

type Facts = {
  readonly registrySignature: EvidenceRecord['evidence']['registrySignature']
  readonly provenance: Fact<Provenance>
}

const facts: fc.Arbitrary<Facts> = fc.record({
  registrySignature: fc.constantFrom(signed, signed, absent, invalid('INVALID_SIGNATURE')),
  provenance: fc.constantFrom(
    absent,
    verified(),
    verified(identity(other)),
    verified(identity(), daysAgo(1)),
    invalid('INVALID_ATTESTATION'),
  ),
})

const claim = (
  version: string,
  days: number | undefined,
  attested: boolean,
): VersionClaims => ({
  version,
  integrity,
  tarball: `http://127.0.0.1/${version}.tgz`,
  signatures: [{ keyid: 'SHA256:key', sig: 'x' }],
  ...(attested && { attestations: { url: 'x', provenance: 'https://slsa.dev/provenance/v1' } }),
  ...(days !== undefined && { publishedAt: daysAgo(days) }),
})

const claims = fc
  .tuple(
    ...versions.map(version =>
      fc
        .tuple(fc.constantFrom(undefined, 1, 20, 29, 89, 400), fc.boolean())
        .map(([days, attested]) => claim(version, days, attested)),
    ),
  )
  .map(list => new Map(list.map(one => [one.version, one])))

const sightings = fc.constantFrom<Readonly<Record<string, Sighting>>>(
  {},
  { '2.1.0': { firstSeen: daysAgo(2), absentAt: daysAgo(3) } },
)

const inForce = fc.nat(policies.length - 1)
const picked = fc.constantFrom(...versions)
/** What may happen between two looks. */
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ learn: picked, as: facts }) },
  { weight: 1, arbitrary: fc.record({ forget: picked }) },
  { weight: 2, arbitrary: fc.record({ hours: fc.constantFrom<number>(1, 24, 300) }) },
  { weight: 1, arbitrary: fc.record({ policies: inForce }) },
  { weight: 1, arbitrary: fc.record({ trust: fc.constantFrom('a', 'b') }) },
  { weight: 1, arbitrary: fc.record({ revision: claims }) },
  { weight: 1, arbitrary: fc.record({ appeared: sightings }) },
  { weight: 2, arbitrary: fc.record({ vouched: fc.boolean() }) },
)

const start = (versions: PackageIndex['versions']) => {
  const index = {
    name,
    upstream: 'npm',
    raw: integrity,
    distTags: {},
    versions,
    lookedAt: daysAgo(10),
    fetchedAt: 0,
    appeared: {},
    stale: false,
  } satisfies PackageIndex
  const known = new Map<string, EvidenceRecord>()
  const vouches: Fact<Vouch>[] = []
  const state = {
    index: index as PackageIndex,
    policies: policies[0] ?? [],
    trust: 'a',
    at: now,
    known,
    vouches,
  }
  const judges = openJudges({
    policies: () => state.policies,
    // those of other trust do not count, as in the book
    book: {
      known: () =>
        Promise.resolve(
          new Map([...known].filter(([, e]) => e.evidence.trust === state.trust)),
        ),
      outdated: () => Promise.resolve([]),
    } as unknown as EvidenceBook,
    vouches: {
      any: () => Promise.resolve(vouches.length > 0),
      of: ({ package: { version } }: VouchQuestion) =>
        Promise.resolve(version === vouchedFor ? vouches : undefined),
    } as unknown as VouchBook,
    trustOf: () => state.trust,
    now: () => state.at,
  })
  return { state, judges }
}

type Event = typeof event extends fc.Arbitrary<infer E> ? E : never

const happens = ({ state }: ReturnType<typeof start>, what: Event): void => {
  if ('learn' in what) {
    const version = what.learn
    const { provenance } = what.as
    const claimed = state.index.versions.get(version) ?? claim(version, 1, false)
    state.known.set(version, {
      evidence: {
        package: { name, version },
        integrity,
        registrySignature: what.as.registrySignature,
        publishAttestation: provenance.state === 'verified' ? published() : provenance,
        provenance,
        trust: state.trust,
      },
      claims: fingerprint(claimed),
      checkedAt: 0,
    })
  } else if ('forget' in what) state.known.delete(what.forget)
  else if ('hours' in what) state.at = new Date(state.at.getTime() + what.hours * 3_600_000)
  else if ('policies' in what) state.policies = policies[what.policies] ?? []
  else if ('trust' in what) state.trust = what.trust
  else if ('revision' in what) state.index = { ...state.index, versions: what.revision }
  else if ('appeared' in what) state.index = { ...state.index, appeared: what.appeared }
  else state.vouches.splice(0, Infinity, ...(what.vouched ? [vouch()] : []))
}

/** Every version judged by itself. */
const expected = ({ state }: ReturnType<typeof start>) => {
  const { index, trust, policies, at, vouches } = state
  const known = (version: string) => {
    const entry = state.known.get(version)
    return entry?.evidence.trust === trust ? entry : undefined
  }
  const all = [...index.versions.values()]
  const history = all.map((one): Release => {
    const { version, publishedAt, attestations } = one
    const provenance = known(version)?.evidence.provenance
    return {
      version,
      ...(publishedAt !== undefined && { publishedAt }),
      sighting: sightingOf(index, version),
      claimsProvenance: attestations?.provenance !== undefined,
      ...(provenance && { provenance: provenance.state }),
      ...(provenance?.state === 'verified' && { identity: provenance.identity }),
    }
  })
  const verdicts = all.map(claims => {
    const { version, splitView } = claims
    const entry = known(version)
    const id = { name, version }
    const evidence = {
      ...(entry ? standingFacts(entry, claims) : claimedEvidence(id, claims, trust)),
      ...(vouches.length > 0 && version === vouchedFor && { vouches }),
      ...(splitView && { bytes: splitViewFact(splitView) }),
    }
    const sighting = sightingOf(index, version)
    const { upstream } = index
    return judge(policies, { package: id, upstream, evidence, claims, sighting, history }, at)
  })
  const told = (when: (verdict: Verdict) => boolean) =>
    verdicts.filter(when).map(verdict => [verdict.package.version, verdict] as const)
  const times = verdicts.flatMap(({ changesAt }) => (changesAt ? [Date.parse(changesAt)] : []))
  return {
    refused: told(({ decision }) => decision === 'refuse'),
    observed: told(isObserved),
    changesAt: Math.min(Number.POSITIVE_INFINITY, ...times),
    alike: all.filter(judgedAlike(policies, name, history)).length,
    proven: history.some(hasProvenance),
  }
}

const same = (
  made: Standing,
  { alike: _alike, proven: _proven, ...wanted }: ReturnType<typeof expected>,
) => {
  const { refused, observed, changesAt } = made
  t.same({ refused: [...refused], observed: [...observed], changesAt }, wanted)
}

t.test('whatever becomes known, in whatever order', async t => {
  let carried = 0
  await fc.assert(
    fc.asyncProperty(
      claims,
      fc.array(event, { maxLength: 12 }),
      inForce,
      async (first, events, at) => {
        const world = start(first)
        happens(world, { policies: at })
        let before: Standing | undefined
        for (const what of [{ hours: 0 }, ...events]) {
          happens(world, what)
          const { judges, state } = world
          const made: Standing = await judges.standing(state.index, before)
          same(made, expected(world))
          for (const [version, verdict] of made.refused)
            if (before?.refused.get(version) === verdict) carried++
          before = made
        }
      },
    ),
    { numRuns: 300 },
  )
  t.ok(carried > 100, 'and verdicts were taken over')
})

t.test('versions that nobody looked at are judged as each of them would be', async t => {
  const signatures = fc.constantFrom([], [{ keyid: 'SHA256:key', sig: 'x' }])
  const odd = fc.record({
    signatures,
    attestations: fc.constantFrom(undefined, { url: 'x' }),
    deprecated: fc.constantFrom(undefined, 'old'),
    splitView: fc.constantFrom(undefined, undefined, undefined, {
      mirror: 'm',
      evidence: 'e',
      mirrorSays: 'a',
      evidenceSays: 'b',
    }),
  })
  const set = (one: object) => Object.entries(one).filter(([, value]) => value !== undefined)
  const some = fc
    .tuple(claims, fc.array(odd, { minLength: 7, maxLength: 7 }), fc.boolean())
    .map(([all, over, unattested]) => {
      const list = [...all.values()].map((one, i): VersionClaims => {
        const { attestations, ...bare } = one
        const kept = unattested || !attestations ? bare : one
        return { ...kept, ...Object.fromEntries(set(over[i] ?? {})) }
      })
      return new Map(list.map(one => [one.version, one]))
    })
  const hours = fc.constantFrom(0, 24, 300)
  let alike = 0
  let besideProven = 0
  await fc.assert(
    fc.asyncProperty(some, inForce, hours, sightings, fc.boolean(), async (...given) => {
      const [all, at, later, appeared, vouched] = given
      const world = start(all)
      const { state, judges } = world
      state.policies = policies[at] ?? []
      state.at = new Date(now.getTime() + later * 3_600_000)
      state.index = { ...state.index, appeared }
      if (vouched) state.vouches.push(vouch())
      const wanted = expected(world)
      if (wanted.alike > 1) alike++
      if (wanted.alike > 1 && wanted.proven) besideProven++
      same(await judges.standing(state.index), wanted)
    }),
    { numRuns: 300 },
  )
  t.ok(alike > 30, 'and many were judged together')
  t.ok(besideProven > 10, 'some of them beside releases with provenance')
})

t.test('nothing is carried over from what was made of something else', async t => {
  const { index } = start(new Map([['1.0.0', claim('1.0.0', 400, false)]])).state
  const basis = { policies: policies[0] ?? [], trust: 'a', known: new Map(), proven: [] }
  const before: Standing = {
    index,
    refused: new Map(),
    observed: new Map(),
    changesAt: Number.POSITIVE_INFINITY,
    basis: { ...basis, changing: new Map([['1.0.0', 100]]) },
  }
  const carries = (here: Partial<PackageIndex>, by: Partial<typeof basis>, at = 99) =>
    carriedFrom(before, { ...index, ...here }, { ...basis, ...by }, at)('1.0.0') !== undefined
  t.ok(carries({}, {}))
  t.ok(carries({ raw: 'sha512-', fetchedAt: 5 }, {}), 'as it is confirmed')
  t.notOk(carries({}, {}, 100))
  for (const other of [
    { versions: new Map(index.versions) },
    { appeared: {} },
    { lookedAt: daysAgo(1) },
    { upstream: 'acme' },
  ])
    t.notOk(carries(other, {}), Object.keys(other).join())
  for (const other of [{ policies: [] }, { trust: 'b' }, { known: new Map([['1.0.0', {}]]) }])
    t.notOk(carries({}, other), Object.keys(other).join())
})

t.test('a history has each release once, wherever it is known from', async t => {
  const { state, judges } = start(new Map([['1.1.0', claim('1.1.0', 1, false)]]))
  const elsewhere = new Map([['1.0.0', claim('1.0.0', 400, true)]])
  const index = { ...state.index, elsewhere }
  const about = index.versions.get('1.1.0') ?? claim('1.1.0', 1, false)
  const seen = async () => {
    const evidence = claimedEvidence({ name, version: '1.1.0' }, about, 'a')
    const { history } = await judges.inputFor(index, about, evidence)
    return history.map(({ version, provenance }) => [version, provenance])
  }
  t.same(await seen(), [
    ['1.1.0', undefined],
    ['1.0.0', undefined],
  ])
  // of the last nobody tells how long it stood
  for (const [version, time] of [
    ['1.0.0', daysAgo(500)],
    ['0.9.0', daysAgo(500)],
    ['0.8.0'],
  ] as const) {
    const provenance = verified(identity(), time)
    happens(
      { state, judges },
      { learn: version, as: { registrySignature: absent, provenance } },
    )
  }
  t.same(await seen(), [
    ['1.1.0', undefined],
    ['1.0.0', 'verified'],
    ['0.9.0', 'verified'],
  ])
})

t.test(
  'a vouch counts from when it is there until it is gone, for its version alone',
  async t => {
    const plain = new Map(versions.map(version => [version, claim(version, 400, false)]))
    const world = start(plain)
    const vouching = policies.length - 1
    happens(world, { policies: vouching })
    const refusedNow = async (before?: Standing) => {
      const made = await world.judges.standing(world.state.index, before)
      same(made, expected(world))
      return made
    }
    const without = await refusedNow()
    t.equal(without.refused.size, versions.length)
    happens(world, { vouched: true })
    const vouched = await refusedNow(without)
    t.same(
      versions.filter(version => !vouched.refused.has(version)),
      [vouchedFor],
    )
    happens(world, { vouched: false })
    t.equal((await refusedNow(vouched)).refused.size, versions.length)
  },
)
