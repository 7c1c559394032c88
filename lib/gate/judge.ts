/**
 * From claims and facts to verdicts: puts together what the policy judges by, for one version or
 * for all versions of a package, and looks up the predecessors' publishers where continuity asks.
 */
import { judgedAlike } from '../policy/alike.ts'
import { publisherPredecessors } from '../policy/continuity.ts'
import { judge } from '../policy/evaluate.ts'
import type { Policy } from '../policy/policy.ts'
import type { Evidence, JudgeInput, Release, Verdict, VersionClaims } from '../types.ts'
import type { EvidenceBook } from './evidence-book.ts'
import { claimedEvidence, standingFacts, type EvidenceRecord } from './evidence-facts.ts'
import { openPace } from './pace.ts'
import { sightingOf, type PackageIndex } from './package-index.ts'
import { isObserved } from './reasons.ts'
import { splitViewFact } from './split-view.ts'
import { carriedFrom, provenOf, type Carried, type Standing } from './standing.ts'
import type { VouchBook } from './vouch-book.ts'

/** Predecessors looked up at most for one verdict; the nearest come first. */
const PREDECESSORS = 3

export type JudgesOptions = {
  /** Those in force now. */
  readonly policies: () => readonly Policy[]
  readonly book: EvidenceBook
  readonly vouches: VouchBook
  /** Digest of the trust material that counts for an upstream. */
  readonly trustOf: (upstream: string) => string
  readonly now: () => Date
}

export type Judges = ReturnType<typeof openJudges>

type Known = ReadonlyMap<string, EvidenceRecord>

const releaseOf = (
  index: PackageIndex,
  claims: VersionClaims,
  entry?: EvidenceRecord,
): Release => {
  const provenance = entry?.evidence.provenance
  return {
    version: claims.version,
    ...(claims.publishedAt && { publishedAt: claims.publishedAt }),
    sighting: sightingOf(index, claims.version),
    claimsProvenance: claims.attestations?.provenance !== undefined,
    ...(provenance && { provenance: provenance.state }),
    ...(provenance?.state === 'verified' && { identity: provenance.identity }),
  }
}

/**
 * What verified, and is not in the packument any more: to take releases away is no way of losing
 * what they prove. As old as their signatures are; of what nobody tells the time it cannot be told
 * whether it stood for long enough.
 */
const vanishedFrom = (index: PackageIndex, known: Known): readonly Release[] =>
  [...known].flatMap(([version, { evidence }]): Release[] => {
    const { provenance, publishAttestation } = evidence
    const here = index.versions.has(version) || index.elsewhere?.has(version) === true
    if (provenance.state !== 'verified' || here) return []
    const published =
      publishAttestation.state === 'verified' ? publishAttestation.signedAt : undefined
    const { time: publishedAt } = published ?? provenance.signedAt ?? {}
    if (publishedAt === undefined) return []
    const { state, identity } = provenance
    return [{ version, publishedAt, claimsProvenance: true, provenance: state, identity }]
  })

type History = {
  readonly index: PackageIndex
  readonly provenance: ReadonlyMap<string, Evidence['provenance']>
  readonly releases: readonly Release[]
}

/** One list as long as it says the same: an install asks for it several times for every version. */
const openHistories = () => {
  const made = new WeakMap<PackageIndex['versions'], History>()

  const isSame = ({ provenance }: History, known: Known): boolean =>
    provenance.size === known.size &&
    [...known].every(
      ([version, { evidence }]) => provenance.get(version) === evidence.provenance,
    )

  return (index: PackageIndex, known: Known): readonly Release[] => {
    const was = made.get(index.versions)
    const sighted =
      was?.index.appeared === index.appeared && was.index.lookedAt === index.lookedAt
    if (sighted && isSame(was, known)) return was.releases
    // those of which nothing else became known stay what they are, to be compared at a glance
    const told = [...index.versions.values(), ...(index.elsewhere?.values() ?? [])]
    const shown = told.map((claims, i) => {
      const { version } = claims
      const entry = known.get(version)
      const same = sighted && was.provenance.get(version) === entry?.evidence.provenance
      return (same && was.releases[i]) || releaseOf(index, claims, entry)
    })
    const releases = [...shown, ...vanishedFrom(index, known)]
    const provenance = new Map(
      [...known].map(([version, { evidence }]) => [version, evidence.provenance] as const),
    )
    made.set(index.versions, { index, provenance, releases })
    return releases
  }
}

export const openJudges = ({ policies, book, vouches, trustOf, now }: JudgesOptions) => {
  const historyOf = openHistories()
  /** What was vouched for is no fact of the upstream's, and is kept beside them. */
  const withVouches = async (index: PackageIndex, evidence: Evidence): Promise<Evidence> => {
    const { package: id, integrity } = evidence
    const found = await vouches.of({ package: id, integrity, upstream: index.upstream })
    return found ? { ...evidence, vouches: found } : evidence
  }

  const inputFor = (
    index: PackageIndex,
    claims: VersionClaims,
    evidence: Evidence,
    history: readonly Release[],
  ): JudgeInput => ({
    package: { name: index.name, version: claims.version },
    upstream: index.upstream,
    evidence: claims.splitView
      ? { ...evidence, bytes: splitViewFact(claims.splitView) }
      : evidence,
    claims,
    sighting: sightingOf(index, claims.version),
    history,
  })

  /** Facts as they stand, without looking: remembered ones where they still answer, else claims. */
  const standingEvidence = (
    index: PackageIndex,
    claims: VersionClaims,
    entry?: EvidenceRecord,
  ) =>
    entry && (!claims.integrity || entry.evidence.integrity === claims.integrity)
      ? standingFacts(entry, claims)
      : claimedEvidence(
          { name: index.name, version: claims.version },
          claims,
          trustOf(index.upstream),
        )

  const input = async (index: PackageIndex, claims: VersionClaims, evidence: Evidence) =>
    inputFor(
      index,
      claims,
      await withVouches(index, evidence),
      historyOf(index, await book.known(index)),
    )

  /** Learns who published the releases that continuity compares this one with. */
  const withPredecessors = async (
    index: PackageIndex,
    first: JudgeInput,
  ): Promise<JudgeInput> => {
    const releases = publisherPredecessors(policies(), first).slice(0, PREDECESSORS)
    if (releases.length === 0) return first
    const looked = new Map<string, Evidence>()
    for (const release of releases) {
      const claims =
        index.versions.get(release.version) ?? index.elsewhere?.get(release.version)
      if (!claims?.integrity) continue
      const evidence = await book.gather(index, claims, claims.integrity)
      looked.set(release.version, evidence)
      if (evidence.provenance.state === 'verified') break
    }
    const history = historyOf(index, await book.known(index)).map(release => {
      const evidence = looked.get(release.version)
      return evidence && !release.provenance
        ? { ...release, provenance: evidence.provenance.state }
        : release
    })
    return { ...first, history }
  }

  return {
    /** What the policy judges this version by; asks for predecessors where continuity wants them. */
    inputFor: async (index: PackageIndex, claims: VersionClaims, evidence: Evidence) =>
      withPredecessors(index, await input(index, claims, evidence)),

    judge: (judged: JudgeInput): Verdict => judge(policies(), judged, now()),

    standingEvidence: async (index: PackageIndex, claims: VersionClaims): Promise<Evidence> =>
      standingEvidence(index, claims, (await book.known(index)).get(claims.version)),

    /**
     * Judges every version by claims and remembered facts; makes no request, and no cryptography
     * but over vouches that nobody looked at yet. Of `before` it takes what cannot have changed.
     */
    standing: async (index: PackageIndex, before?: Standing): Promise<Standing> => {
      const known = await book.known(index)
      const history = historyOf(index, known)
      const at = now()
      const layers = policies()
      const vouched = await vouches.any(index.name)
      const trust = trustOf(index.upstream)
      const basis = { policies: layers, trust, known, proven: provenOf(history) }
      const carried = vouched
        ? () => undefined
        : carriedFrom(before, index, basis, at.getTime())
      const breathe = openPace()
      const refused = new Map<string, Verdict>()
      const observed = new Map<string, Verdict>()
      const changing = new Map<string, number>()
      const judgeOne = async (claims: VersionClaims): Promise<Carried> => {
        const facts = standingEvidence(index, claims, known.get(claims.version))
        const evidence = vouched ? await withVouches(index, facts) : facts
        const verdict = judge(layers, inputFor(index, claims, evidence, history), at)
        const changesAt = verdict.changesAt ? Date.parse(verdict.changesAt) : Infinity
        const tells = verdict.decision === 'refuse' || isObserved(verdict)
        return { verdict: tells ? verdict : undefined, changesAt }
      }
      const alike = vouched ? () => false : judgedAlike(layers, index.name, history)
      /** Plain allows of versions that nobody looked at, by what these claim. */
      const unseen = new Map<string, Carried>()
      for (const claims of index.versions.values()) {
        const { version } = claims
        const have = carried(version)
        const key =
          !have && !known.has(version) && claims.splitView === undefined && alike(claims)
            ? `${claims.signatures.length > 0} ${claims.attestations !== undefined}`
            : undefined
        const one =
          have ?? (key === undefined ? undefined : unseen.get(key)) ?? (await judgeOne(claims))
        const { verdict, changesAt } = one
        // what is told of a version names it
        if (key !== undefined && verdict === undefined) unseen.set(key, one)
        if (verdict?.decision === 'refuse') refused.set(version, verdict)
        else if (verdict) observed.set(version, verdict)
        if (changesAt !== Infinity) changing.set(version, changesAt)
        const aside = breathe()
        if (aside) await aside
      }
      const outdated = await book.outdated(index)
      return {
        index,
        refused,
        observed,
        changesAt: [...changing.values()].reduce((least, at) => Math.min(least, at), Infinity),
        ...(outdated.length > 0 && { outdated }),
        ...(!vouched && { basis: { ...basis, changing } }),
      }
    },
  }
}
