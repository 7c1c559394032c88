/**
 * Who published a package, over its versions: from facts that are remembered, and from a look at
 * the newest versions that claim provenance and were never looked at. A look asks the upstream and
 * verifies, so there are few of them for one timeline, and only for so long.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Evidence, VersionClaims } from '../types.ts'
import type { EvidenceBook } from './evidence-book.ts'
import { openFlights } from './flights.ts'
import type { Standing } from './standing.ts'
import type { PackageIndex } from './package-index.ts'
import type { Packages } from './packages.ts'
import { tellingReasons } from './reasons.ts'
import { byPublication, entryOf, runsOf, type TimelineRun } from './timeline-runs.ts'

export type Timeline = {
  readonly name: string
  readonly upstream: string
  /** Oldest first. */
  readonly runs: readonly TimelineRun[]
  /** Versions that claim provenance and were not looked at; another call looks at more. */
  readonly unknown: number
}

export type TimelinesOptions = {
  readonly packages: Packages
  readonly book: EvidenceBook
  /** What the policy in force makes of all versions, by what is known. */
  readonly standing: (name: string) => Promise<Standing>
}

/** Versions looked at for one timeline. */
const LOOKS = 20
const AT_ONCE = 4
/** Milliseconds after which a timeline goes without what is still being looked at. */
const PATIENCE = 10_000

type Provenance = Evidence['provenance']

export const openTimelines = ({ packages, book, standing }: TimelinesOptions) => {
  const flight = openFlights<Timeline>()

  /** What the looks found, also what is not remembered because it was unavailable. */
  const look = async (index: PackageIndex, wanted: readonly VersionClaims[]) => {
    const found = new Map<string, Provenance>()
    const queue = wanted.values()
    let failures = 0
    let over = false
    const work = async () => {
      for (const claims of queue) {
        // an upstream that does not answer is not asked for the rest
        if (over || failures >= AT_ONCE) return
        if (!claims.integrity) continue
        const { provenance } = await book.gather(index, claims, claims.integrity)
        if (provenance.state === 'unavailable') failures++
        found.set(claims.version, provenance)
      }
    }
    const patience = new AbortController()
    const workers = Promise.all(Array.from({ length: AT_ONCE }, work))
    // nobody listens any more once time is up
    workers.catch(() => undefined)
    const { signal } = patience
    const late = sleep(PATIENCE, undefined, { signal, ref: false }).catch(() => undefined)
    try {
      await Promise.race([workers, late])
    } finally {
      over = true
      patience.abort()
    }
    return new Map(found)
  }

  const make = async (name: string): Promise<Timeline> => {
    const index = await packages.get(name)
    const ordered = byPublication(index.versions.values())
    const known = new Map<string, Provenance>()
    for (const [version, { evidence }] of await book.known(index)) {
      const integrity = index.versions.get(version)?.integrity
      // facts about other bytes than those offered now are no facts about this version
      if (integrity === undefined || integrity === evidence.integrity)
        known.set(version, evidence.provenance)
    }
    const wanted = ordered
      .filter(claims => claims.attestations?.provenance !== undefined)
      .filter(claims => !known.has(claims.version))
      .toReversed()
      .slice(0, LOOKS)
    const found = wanted.length === 0 ? known : await look(index, wanted)
    const { refused } = await standing(name)
    const entries = ordered.map(claims => {
      const { version } = claims
      const verdict = refused.get(version)
      const codes = verdict && [...new Set(tellingReasons(verdict).map(({ code }) => code))]
      return entryOf(claims, found.get(version) ?? known.get(version), codes)
    })
    return {
      name,
      upstream: index.upstream,
      runs: runsOf(entries),
      unknown: entries.filter(({ provenance }) => provenance === 'unknown').length,
    }
  }

  /** Throws as a request for the package does: ENOTFOUND, or the upstream's failure. */
  return (name: string): Promise<Timeline> => flight(name, () => make(name))
}
