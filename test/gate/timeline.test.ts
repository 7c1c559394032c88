/** Who published a package over its versions: the grouping, and how much is looked at for it. */
import t, { type Test } from 'tap'
import {
  byPublication,
  runsOf,
  shownRuns,
  type TimelineEntry,
} from '../../lib/gate/timeline-runs.ts'
import type { VersionClaims } from '../../lib/types.ts'
import { localSigstore } from '../support/local-sigstore.ts'
import { startProxy, type ProxyOptions } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const claims = (version: string, publishedAt?: string): VersionClaims => ({
  version,
  tarball: '',
  signatures: [],
  ...(publishedAt !== undefined && { publishedAt }),
})

const acme = {
  issuer: 'https://token.actions.githubusercontent.com',
  subject: 'https://github.com/acme/lib/.github/workflows/release.yml@refs/heads/main',
  repository: 'https://github.com/acme/lib',
  repositoryId: '1',
  workflow: '.github/workflows/release.yml',
}

const entry = (
  version: string,
  over: Partial<TimelineEntry['publisher'] & object> | TimelineEntry['provenance'],
): TimelineEntry =>
  typeof over === 'string'
    ? { version, claimsProvenance: over !== 'absent', provenance: over }
    : {
        version,
        claimsProvenance: true,
        provenance: 'verified',
        publisher: { ...acme, ...over },
      }

const shape = (entries: readonly TimelineEntry[]) =>
  runsOf(entries).map(({ provenance, since, until, versions }) => [
    provenance,
    since,
    until,
    versions.length,
  ])

t.test('in the order of publication', async t => {
  const ordered = byPublication([
    claims('0.9.0'),
    claims('2.0.0', '2026-02-01T00:00:00.000Z'),
    claims('2.0.1'),
    claims('1.0.0', '2026-01-01T00:00:00.000Z'),
    claims('1.0.1', '2026-03-01T00:00:00.000Z'),
  ])
  t.same(
    ordered.map(({ version }) => version),
    ['0.9.0', '1.0.0', '2.0.0', '2.0.1', '1.0.1'],
  )
})

t.test('what tells one publisher from another', async t => {
  const { repositoryId: _, ...unnumbered } = acme
  const cases: readonly (readonly [what: string, over: object, runs: number])[] = [
    ['the same', {}, 1],
    ['a renamed repository', { repository: 'https://github.com/acme/renamed' }, 1],
    ['another ref', { subject: `${acme.subject}2` }, 1],
    ['another repository of that name', { repositoryId: '2' }, 2],
    ['another workflow', { workflow: '.github/workflows/other.yml' }, 2],
    ['another issuer', { issuer: 'https://gitlab.acme.example' }, 2],
  ]
  for (const [what, over, runs] of cases)
    t.equal(shape([entry('1.0.0', {}), entry('1.0.1', over)]).length, runs, what)
  const plain = { version: '1.0.0', claimsProvenance: true, provenance: 'verified' } as const
  const other = { ...unnumbered, repository: 'https://github.com/other/lib' }
  t.equal(
    shape([
      { ...plain, publisher: unnumbered },
      { ...plain, publisher: other },
    ]).length,
    2,
    'the name counts where there is no number',
  )
  t.same(
    runsOf([
      entry('1.0.0', {}),
      entry('1.0.1', { repository: 'https://github.com/acme/new' }),
    ])[0]?.publisher?.repository,
    'https://github.com/acme/new',
  )
})

t.test('gaps, and what does not verify, are runs of their own', async t => {
  t.same(
    shape([
      entry('0.1.0', 'absent'),
      entry('0.2.0', 'absent'),
      entry('1.0.0', {}),
      entry('1.1.0', 'unknown'),
      entry('1.2.0', {}),
      entry('1.3.0', 'invalid'),
      entry('1.4.0', 'unavailable'),
    ]),
    [
      ['absent', '0.1.0', '0.2.0', 2],
      ['verified', '1.0.0', '1.0.0', 1],
      ['unknown', '1.1.0', '1.1.0', 1],
      ['verified', '1.2.0', '1.2.0', 1],
      ['invalid', '1.3.0', '1.3.0', 1],
      ['unavailable', '1.4.0', '1.4.0', 1],
    ],
  )
})

t.test('the newest runs are shown, and the one asked about', async t => {
  const runs = runsOf(
    Array.from({ length: 40 }, (_, i) => entry(`${i}.0.0`, i % 2 === 0 ? 'absent' : {})),
  )
  const seen = (version: string, most: number) =>
    shownRuns(runs, version, most).map(item =>
      item.run ? item.run.since : [item.runs, item.versions],
    )
  t.same(seen('39.0.0', 2), [[38, 38], '38.0.0', '39.0.0'])
  t.same(seen('3.0.0', 1), [[3, 3], '3.0.0', [35, 35], '39.0.0'])
  t.equal(seen('3.0.0', 99).length, 40)
})

const sigstore = await localSigstore()
const registry = await startRegistry({ sigstore })
t.teardown(async () => {
  await registry.close()
  await sigstore.close()
})

const open = async (t: Test, options: Partial<ProxyOptions> = {}) => {
  const proxy = await startProxy({
    upstream: registry.url,
    trustedRoot: sigstore.trustedRoot,
    registryKeys: sigstore.registryKeys(),
    upstreamSettings: ['retries: 0'],
    ...options,
  })
  t.teardown(() => proxy.close())
  return proxy.gate
}

const asked = (name: string) =>
  registry.asked(new RegExp(`/-/npm/v1/attestations/${name}@`)).length

t.test('the whole story of a package', async t => {
  const name = 'story'
  const [good, bad] = [
    { repository: 'acme/story', repositoryId: '1' },
    { repository: 'mallory/story', repositoryId: '2' },
  ]
  await registry.publish({ name, version: '0.1.0' })
  await registry.publish({ name, version: '1.0.0', provenance: good })
  const { attestations } = await registry.publish({ name, version: '1.1.0', provenance: good })
  await registry.publish({ name, version: '1.2.0', attestations })
  await registry.publish({ name, version: '1.3.0', provenance: bad })
  const gate = await open(t)
  const timeline = await gate.timeline(name)
  t.match(timeline, {
    name,
    upstream: 'npm',
    unknown: 0,
    runs: [
      { provenance: 'absent', since: '0.1.0', versions: [{ claimsProvenance: false }] },
      {
        provenance: 'verified',
        since: '1.0.0',
        until: '1.1.0',
        publisher: {
          issuer: acme.issuer,
          repository: 'https://github.com/acme/story',
          repositoryId: '1',
          workflow: acme.workflow,
        },
        versions: [{ version: '1.0.0', publishedAt: /^2026-/ }, { version: '1.1.0' }],
      },
      {
        provenance: 'invalid',
        since: '1.2.0',
        versions: [{ detail: /another package or version/, refused: ['WRONG_SUBJECT'] }],
      },
      {
        provenance: 'verified',
        publisher: { repositoryId: '2' },
        versions: [{ version: '1.3.0', refused: ['PUBLISHER_CHANGED'] }],
      },
    ],
  })
  t.notOk(timeline.runs[1]?.versions[0]?.refused)
  const before = asked(name)
  t.equal(before, 4)
  await gate.timeline(name)
  t.equal(asked(name), before, 'what is known is not asked for again')
  await t.rejects(gate.timeline('no-such-package'), { code: 'ENOTFOUND' })
})

t.test('at most twenty are looked at, the newest first, a few at a time', async t => {
  const name = 'long'
  for (let i = 0; i < 23; i++)
    await registry.publish({ name, version: `1.${i}.0`, provenance: true })
  const gate = await open(t)
  const [first, same] = await Promise.all([gate.timeline(name), gate.timeline(name)])
  t.equal(asked(name), 20)
  t.same(same, first, 'who asks at the same time shares the answer')
  t.equal(first.unknown, 3)
  t.match(first.runs, [
    { provenance: 'unknown', since: '1.0.0', until: '1.2.0' },
    { provenance: 'verified', since: '1.3.0', until: '1.22.0' },
  ])
  t.equal((await gate.timeline(name)).unknown, 0, 'another call looks at the rest')
})

t.test('an upstream that fails is not asked on and on', async t => {
  const name = 'failing'
  for (let i = 0; i < 12; i++)
    await registry.publish({ name, version: `1.${i}.0`, provenance: true })
  const gate = await open(t)
  registry.faults.attestationsStatus = 500
  t.teardown(() => registry.heal())
  const { runs, unknown } = await gate.timeline(name)
  t.ok(asked(name) < 8, `${asked(name)} requests`)
  t.ok(unknown > 4)
  t.match(runs.at(-1), { provenance: 'unavailable', until: '1.11.0' })
  registry.heal()
  const healed = await gate.timeline(name)
  t.match(healed.runs, [{ provenance: 'verified', since: '1.0.0', until: '1.11.0' }])
  t.equal(healed.runs.length, 1, 'a failure is not remembered')
})
