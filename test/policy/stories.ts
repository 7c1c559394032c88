/**
 * Packages with their releases in time, to judge one version as it would have been judged from the
 * packument alone: real ones are read from the corpus, incidents are told here in their shape.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { judge } from '../../lib/policy/evaluate.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type { JudgeInput, Release, Verdict } from '../../lib/types.ts'
import { corpusFile } from '../support/corpus.ts'
import { absent, input, unavailable, verified } from './material.ts'

export type Story = {
  readonly name: string
  readonly title: string
  readonly releases: readonly Release[]
}

export type Incident = Story & {
  readonly bad: readonly string[]
  /** The bad versions themselves came with provenance that verifies, from the right publisher. */
  readonly attested?: true
}

type Packument = {
  readonly name: string
  readonly time: Readonly<Record<string, string>>
  readonly versions: Readonly<
    Record<string, { dist: { attestations?: { provenance?: object } } }>
  >
}

const packument = ({ name, time, versions }: Packument): Story => ({
  name,
  title: 'recorded packument',
  releases: Object.entries(versions).map(([version, { dist }]) => ({
    version,
    claimsProvenance: dist.attestations?.provenance !== undefined,
    ...(time[version] !== undefined && { publishedAt: time[version] }),
  })),
})

/** Every package of the corpus whose releases, times and claims were recorded, by name. */
export const recordedPackages = (): ReadonlyMap<string, Story> => {
  type Line = { name: string; version: string; published?: string; provenanceClaimed?: boolean }
  const lines = gunzipSync(readFileSync(corpusFile('signatures.jsonl.gz')))
    .toString()
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line)
    .filter(line => line.published !== undefined)
  const stories = new Map<string, Story>()
  for (const [name, mine] of Map.groupBy(lines, line => line.name)) {
    const releases = mine.map(({ version, published, provenanceClaimed }) => ({
      version,
      claimsProvenance: provenanceClaimed === true,
      ...(published !== undefined && { publishedAt: published }),
    }))
    stories.set(name, { name, title: 'recorded signatures', releases })
  }
  for (const file of readdirSync(corpusFile('packuments'))) {
    const story = packument(
      JSON.parse(readFileSync(corpusFile('packuments', file), 'utf8')) as Packument,
    )
    stories.set(story.name, story)
  }
  return stories
}

/** `1.2.3 2025-01-31`, with a plus before the day when it came with provenance. */
const told = (...lines: readonly string[]): readonly Release[] =>
  lines.map(line => {
    const [version = '', plus, day] = line.split(/ (\+?)(?=\d{4}-)/)
    return { version, claimsProvenance: plus === '+', publishedAt: `${day}T00:00:00.000Z` }
  })

/**
 * Public incidents. Bad versions, their days, and whether releases had provenance are as reported;
 * the good releases before them stand for the line, with days of about that time.
 */
export const incidents: readonly Incident[] = [
  {
    name: 'event-stream',
    title: '2018, before there was provenance',
    releases: told('3.3.5 2018-09-04', '3.3.6 2018-09-09'),
    bad: ['3.3.6'],
  },
  {
    name: 'ua-parser-js',
    title: '2021, before there was provenance',
    releases: told(
      '0.7.28 2021-04-10',
      '0.7.29 2021-10-22',
      '0.8.0 2021-10-22',
      '1.0.0 2021-10-22',
    ),
    bad: ['0.7.29', '0.8.0', '1.0.0'],
  },
  {
    name: '@rspack/core',
    title: '2024, stolen token, published without provenance',
    releases: told('1.1.5 +2024-12-04', '1.1.6 +2024-12-11', '1.1.7 2024-12-19'),
    bad: ['1.1.7'],
  },
  {
    name: 'nx',
    title: '2025, stolen token, published without provenance on two lines',
    releases: told(
      '20.8.2 +2025-06-05',
      '21.4.1 +2025-08-25',
      ...['20.9.0', '20.10.0', '20.11.0', '20.12.0'].map(v => `${v} 2025-08-26`),
      ...['21.5.0', '21.6.0', '21.7.0', '21.8.0'].map(v => `${v} 2025-08-26`),
    ),
    bad: ['20.9.0', '20.10.0', '20.11.0', '20.12.0', '21.5.0', '21.6.0', '21.7.0', '21.8.0'],
  },
  {
    name: 'debug',
    title: '2025, phished maintainer; no release ever had provenance',
    releases: told('4.4.0 2024-12-06', '4.4.1 2025-05-13', '4.4.2 2025-09-08'),
    bad: ['4.4.2'],
  },
  {
    name: 'axios (1.x)',
    title: '2026, stolen token; the line has provenance',
    releases: told(
      '1.6.1 +2023-11-08',
      '1.13.2 +2025-11-04',
      '1.13.3 2026-01-20',
      '1.13.4 +2026-01-27',
      '1.14.0 +2026-03-27',
      '1.14.1 2026-03-31',
    ),
    bad: ['1.14.1'],
  },
  {
    name: 'axios (0.x)',
    title: '2026, stolen token; the line had provenance once, then was published by hand',
    releases: told(
      '0.27.2 2022-04-27',
      '1.6.1 +2023-11-08',
      '0.28.1 +2024-03-28',
      '0.29.0 2024-11-21',
      '0.30.3 2026-02-18',
      '1.14.0 +2026-03-27',
      '0.30.4 2026-03-31',
    ),
    bad: ['0.30.4'],
  },
  {
    name: '@tanstack/react-router',
    title: '2026, built by the right workflow out of a poisoned cache',
    releases: told('1.169.2 +2026-05-08', '1.169.5 +2026-05-11', '1.169.8 +2026-05-11'),
    bad: ['1.169.5', '1.169.8'],
    attested: true,
  },
]

/** What is known of one version from the packument alone; `proven` takes its provenance for verified. */
export const inputOf = (story: Story, version: string, proven = false): JudgeInput => {
  const release = story.releases.find(r => r.version === version)
  const claimed = release?.claimsProvenance === true
  const { publishedAt: _, ...claims } = input().claims
  return {
    ...input({
      name: story.name,
      version,
      registrySignature: { state: 'verified', keyId: 'SHA256:key' },
      publishAttestation: claimed ? unavailable : absent,
      provenance: !claimed ? absent : proven ? verified() : unavailable,
    }),
    claims: {
      ...claims,
      version,
      ...(release?.publishedAt !== undefined && { publishedAt: release.publishedAt }),
    },
    history: story.releases,
  }
}

export const judgeVersion = (
  policies: readonly Policy[],
  story: Story,
  version: string,
  at: Date,
): Verdict => judge(policies, inputOf(story, version), at)

/** The package as it stood when this version came out: nothing later is known. */
export const whenPublished = (story: Story, version: string): Story => {
  const day = story.releases.find(r => r.version === version)?.publishedAt ?? ''
  return { ...story, releases: story.releases.filter(r => (r.publishedAt ?? '') <= day) }
}
