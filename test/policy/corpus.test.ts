import t from 'tap'
import { baselinePolicy } from '../../lib/policy/baseline.ts'
import type { ContinuityLevel } from '../../lib/policy/policy.ts'
import { noCorpus } from '../support/corpus.ts'
import { policy } from './material.ts'
import {
  incidents,
  judgeVersion,
  recordedPackages,
  whenPublished,
  type Story,
} from './stories.ts'

const at = new Date('2026-11-22T00:00:00Z')
const continuity = (level: ContinuityLevel, settledAfter: string) =>
  policy(`defaults: { continuity: { level: ${level}, settledAfter: ${settledAfter} } }`)

const refusedIn = (story: Story, level: ContinuityLevel, settledAfter: string) => {
  const layers = [continuity(level, settledAfter)]
  return story.releases
    .filter(r => judgeVersion(layers, story, r.version, at).decision === 'refuse')
    .map(r => r.version)
    .sort()
}

t.test('real packuments', { skip: noCorpus }, async t => {
  const recorded = recordedPackages()
  const read = (name: string) => {
    const story = recorded.get(name)
    if (story === undefined) throw new Error(`${name} is not in the corpus`)
    return story
  }
  const undici = read('undici-types')
  t.same(refusedIn(undici, 'release-line', '90d'), [], 'what @types/node pins is let be')
  t.same(refusedIn(undici, 'release-line', 'never'), [
    '6.19.3',
    '6.19.4',
    '6.19.5',
    '6.19.6',
    '6.19.8',
    '6.20.0',
    '6.21.0',
    '7.0.0',
    '7.2.0',
  ])
  const fresh = whenPublished(undici, '6.19.3')
  const day = new Date('2024-07-22T12:00:00Z')
  t.equal(judgeVersion([baselinePolicy], fresh, '6.19.3', day).decision, 'refuse', 'when new')
  const semver = read('semver')
  t.same(refusedIn(semver, 'release-line', 'never'), [], 'back-ports by hand')
  t.same(refusedIn(semver, 'package', 'never'), ['5.7.2', '6.3.1'])
  for (const name of ['cacache', '@npmcli/agent', 'supports-color'])
    t.same(refusedIn(read(name), 'package', 'never'), [], name)
})

// by the real dates of the incidents, which are long past: [off, release-line, package]
const stopped: Readonly<Record<string, readonly [boolean, boolean, boolean]>> = {
  'event-stream': [false, false, false],
  'ua-parser-js': [false, false, false],
  '@rspack/core': [false, true, true],
  nx: [false, true, true],
  debug: [false, false, false],
  'axios (1.x)': [false, true, true],
  'axios (0.x)': [false, true, true],
  '@tanstack/react-router': [false, false, false],
}

t.test('the shape of attacks', async t => {
  t.same(
    incidents.map(i => i.name),
    Object.keys(stopped),
  )
  for (const story of incidents)
    for (const [i, level] of (['off', 'release-line', 'package'] as const).entries())
      for (const settled of ['90d', 'never'])
        for (const version of story.bad)
          t.equal(
            judgeVersion([continuity(level, settled)], story, version, at).decision ===
              'refuse',
            stopped[story.name]?.[i],
            `${story.name} ${version}, ${level}, ${settled}`,
          )
})

t.test('an attack does not become right by being old', async t => {
  const years = new Date('2036-01-01T00:00:00Z')
  for (const story of incidents)
    for (const version of stopped[story.name]?.[1] ? story.bad : [])
      t.equal(judgeVersion([baselinePolicy], story, version, years).decision, 'refuse', version)
})

t.test('the age stops for three days what comes with valid provenance', async t => {
  const age = policy('defaults: { minimumAge: 3d }')
  for (const story of incidents)
    for (const version of story.bad) {
      const day = Date.parse(story.releases.find(r => r.version === version)?.publishedAt ?? '')
      const after = (hours: number) => new Date(day + hours * 3_600_000)
      const codes = judgeVersion([age], story, version, after(71)).reasons.map(r => r.code)
      t.ok(codes.includes('TOO_NEW'), `${story.name} ${version}`)
      const later = judgeVersion([age], story, version, after(72)).reasons.map(r => r.code)
      t.notOk(later.includes('TOO_NEW'))
    }
})
