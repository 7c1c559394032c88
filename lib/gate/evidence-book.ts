/**
 * Facts, gathered once and kept: looked up in memory, then in the store, then made by fetching the
 * attestations and examining them. Policy is not asked here; verdicts are made from these facts.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import { isAttestryError, messageOf } from '../errors.ts'
import type { AttestationsFound, Examiner } from '../evidence/examiner.ts'
import type { Change, Store } from '../store/store.ts'
import type { Evidence, Integrity, PackageId, VersionClaims } from '../types.ts'
import type { Documents } from './documents.ts'
import type { Alone } from './alone.ts'
import {
  digestOf,
  factsOf,
  fingerprint,
  has,
  idOf,
  merge,
  type EvidenceRecord,
} from './evidence-facts.ts'
import { openFlights } from './flights.ts'
import { sightingOf, type PackageIndex } from './package-index.ts'

export type EvidenceBook = ReturnType<typeof openEvidenceBook>

export type EvidenceObserver = {
  readonly onExamined?: (milliseconds: number) => void
  /** Attestations of which something verified, as they were received; of `name@version`. */
  readonly onAttested?: (document: Uint8Array, id: string) => void
}

export type EvidenceBookOptions = {
  readonly store: Store
  readonly alone: Alone
  /** Tells other processes. */
  readonly tell: (change: Change) => void
  /** Whose keys count depends on where a package comes from. */
  readonly examinerFor: (upstream: string) => Examiner
  readonly documents: Documents
  readonly now: () => Date
  /** Milliseconds after which a claim found invalid is looked at again. */
  readonly recheck: number
  /** Evidence changed: what was shown of this package may have to change. */
  readonly onChange: (name: string, evidence: Evidence) => void
  readonly observer?: EvidenceObserver
}

export const openEvidenceBook = (options: EvidenceBookOptions) => {
  const { store, examinerFor, documents, now, recheck, onChange } = options
  const pages = new LRUCache<string, Map<string, EvidenceRecord>>(atMost(20_000))
  const examining = openFlights<Evidence>()
  const reading = openFlights<Map<string, EvidenceRecord>>()
  const beingRead = new Set<string>()

  const readPage = async (name: string) => {
    const read = new Map<string, EvidenceRecord>()
    beingRead.add(name)
    try {
      for await (const [key, value] of store.records.list<EvidenceRecord>(
        'evidence',
        `${name}@`,
      )) {
        read.set(key.slice(name.length + 1), value)
      }
      pages.set(name, read)
      return read
    } finally {
      beingRead.delete(name)
    }
  }

  /** Everything remembered about a package's versions, under whatever trust. */
  const pageOf = async (name: string): Promise<Map<string, EvidenceRecord>> =>
    pages.get(name) ?? reading(name, () => readPage(name))

  /** What is stored of one version now; another process may have looked at it. */
  const reread = async ({ name, version }: PackageId): Promise<void> => {
    const page = await pageOf(name)
    const entry = await store.records.get<EvidenceRecord>('evidence', idOf({ name, version }))
    const before = page.get(version)
    if (entry === undefined || entry.checkedAt <= (before?.checkedAt ?? 0)) return
    page.set(version, entry)
    if (JSON.stringify(before?.evidence) !== JSON.stringify(entry.evidence))
      onChange(name, entry.evidence)
  }

  /** What is known of one version under the trust in force for its upstream. */
  const entryOf = async (name: string, version: string, upstream: string) => {
    const entry = (await pageOf(name)).get(version)
    return entry?.evidence.trust === examinerFor(upstream).trust ? entry : undefined
  }

  /**
   * Remembers facts of a package from `upstream`; nothing with an unavailable part is kept, and
   * nothing that was begun under other trust in place of what is known under this one.
   */
  const keep = async (
    evidence: Evidence,
    claims: VersionClaims,
    upstream: string,
  ): Promise<void> => {
    const { name, version } = evidence.package
    if (has(evidence, 'unavailable')) return
    const entry = { evidence, claims: fingerprint(claims), checkedAt: now().getTime() }
    const page = await pageOf(name)
    const before = page.get(version)
    const { trust } = examinerFor(upstream)
    if (evidence.trust !== trust && before?.evidence.trust === trust) return
    await store.records.put('evidence', idOf(evidence.package), entry)
    page.set(version, entry)
    if (JSON.stringify(before?.evidence) === JSON.stringify(evidence)) return
    onChange(name, evidence)
    options.tell({ topic: 'evidence', key: idOf(evidence.package) })
  }

  /** Remembered evidence that still answers for these bytes and these claims. */
  const recall = async (index: PackageIndex, claims: VersionClaims, integrity: Integrity) => {
    const entry = await entryOf(index.name, claims.version, index.upstream)
    if (!entry || entry.evidence.integrity !== integrity) return undefined
    const { evidence } = entry
    if (factsOf(evidence).every(fact => fact.state === 'verified')) return evidence
    if (entry.claims !== fingerprint(claims)) return undefined
    const old = now().getTime() - entry.checkedAt > recheck
    return old && has(evidence, 'invalid') ? undefined : evidence
  }

  const fetchAttestations = async (
    id: PackageId,
    claims: VersionClaims,
    upstream: string,
  ): Promise<AttestationsFound> => {
    if (!claims.attestations) return { kind: 'unclaimed' }
    try {
      const answer = await documents.fetchAttestations(id)
      if (answer.kind === 'found') return answer
      const detail = `The upstream ${upstream} claims attestations and has none to give (404).`
      return { kind: 'unavailable', detail }
    } catch (error) {
      if (!isAttestryError(error)) throw error
      return { kind: 'unavailable', detail: messageOf(error) }
    }
  }

  /** Made under other trust, of the same bytes and claims: what was given then can be examined again. */
  const outdated = async (index: PackageIndex, claims: VersionClaims, integrity: Integrity) => {
    const entry = (await pageOf(index.name)).get(claims.version)
    return entry !== undefined &&
      entry.evidence.trust !== examinerFor(index.upstream).trust &&
      entry.evidence.integrity === integrity &&
      entry.claims === fingerprint(claims)
      ? entry
      : undefined
  }

  const examineOf = async (
    index: PackageIndex,
    claims: VersionClaims,
    integrity: Integrity,
    attestations: AttestationsFound,
  ): Promise<Evidence> => {
    const started = performance.now()
    const found = await examinerFor(index.upstream).examine({
      package: { name: index.name, version: claims.version },
      integrity,
      claims,
      attestations,
      sighting: sightingOf(index, claims.version),
    })
    options.observer?.onExamined?.(performance.now() - started)
    const proven = [found.publishAttestation, found.provenance]
    if (attestations.kind === 'found' && proven.some(({ state }) => state === 'verified'))
      options.observer?.onAttested?.(attestations.body, idOf(found.package))
    return found
  }

  /** Of what was kept, without the network; undefined where nothing answers any more. */
  const examineKept = async (
    index: PackageIndex,
    claims: VersionClaims,
    integrity: Integrity,
  ): Promise<Evidence | undefined> => {
    if (!(await outdated(index, claims, integrity))) return undefined
    const id = { name: index.name, version: claims.version }
    const kept = claims.attestations
      ? await documents.keptAttestations(id)
      : ({ kind: 'unclaimed' } as const)
    return kept && examineOf(index, claims, integrity, kept)
  }

  const settle = async (
    index: PackageIndex,
    claims: VersionClaims,
    integrity: Integrity,
    found: Evidence,
  ): Promise<Evidence> => {
    const page = await pageOf(index.name)
    const before = page.get(claims.version)?.evidence
    const evidence = merge(before, found)
    // what was learnt from the bytes is kept along with it; no trust root has a say in that
    const kept =
      before && before.integrity === integrity
        ? {
            ...evidence,
            ...(before.bytes?.state === 'verified' && { bytes: before.bytes }),
            ...(before.manifest?.state === 'verified' && { manifest: before.manifest }),
          }
        : evidence
    await keep(kept, claims, index.upstream)
    return kept
  }

  const examine = async (index: PackageIndex, claims: VersionClaims, integrity: Integrity) => {
    const id = { name: index.name, version: claims.version }
    const again = await examineKept(index, claims, integrity)
    // it may have been signed anew since; what was kept is asked first because it needs nobody
    const good = again && !has(again, 'invalid') && !has(again, 'unavailable')
    const fresh = good ? undefined : await fetchAttestations(id, claims, index.upstream)
    const found =
      again && fresh?.kind !== 'found'
        ? again
        : await examineOf(index, claims, integrity, fresh ?? { kind: 'unclaimed' })
    return settle(index, claims, integrity, found)
  }

  /** Once over all processes where something is fetched for it; a look at signatures is cheap. */
  const examineOnce = (index: PackageIndex, claims: VersionClaims, integrity: Integrity) => {
    const id = { name: index.name, version: claims.version }
    const look = () => examine(index, claims, integrity)
    if (!claims.attestations) return look()
    const known = async () => {
      await reread(id)
      return recall(index, claims, integrity)
    }
    const { trust } = examinerFor(index.upstream)
    const key = `evidence ${index.upstream} ${idOf(id)} ${integrity} ${trust}`
    return options.alone(key, known, look)
  }

  return {
    keep,
    /** Remembered evidence that still answers for these bytes and these claims. */
    recall,
    /**
     * Over all that is remembered of a package's versions, whatever the trust. `holding`: undefined
     * where what is remembered of their version is not these facts.
     */
    digest: async (name: string, holding?: Evidence): Promise<string | undefined> => {
      const page = await pageOf(name)
      const held =
        holding === undefined || page.get(holding.package.version)?.evidence === holding
      return held ? digestOf(page) : undefined
    },
    /** Another process stored facts about this version. */
    changed: async (id: PackageId): Promise<void> => {
      const { name } = id
      if (pages.has(name) || beingRead.has(name)) await reread(id)
    },
    /** Nothing in memory counts any more. */
    reset: (): void => pages.clear(),
    /** Evidence of every version, as far as anybody looked, under the trust in force. */
    known: async (index: PackageIndex): Promise<ReadonlyMap<string, EvidenceRecord>> => {
      const { trust } = examinerFor(index.upstream)
      const page = await pageOf(index.name)
      return new Map([...page].filter(([, entry]) => entry.evidence.trust === trust))
    },
    /** Versions that were looked at under other trust than that in force. */
    outdated: async (index: PackageIndex): Promise<readonly string[]> => {
      const { trust } = examinerFor(index.upstream)
      const page = await pageOf(index.name)
      return [...page].flatMap(([version, { evidence }]) =>
        evidence.trust === trust ? [] : [version],
      )
    },
    /** Examines what was kept of a version under the trust in force; asks nobody for anything. */
    renew: async (
      index: PackageIndex,
      claims: VersionClaims,
    ): Promise<Evidence | undefined> => {
      const { integrity } = claims
      if (integrity === undefined) return undefined
      const found = await examineKept(index, claims, integrity)
      return found && settle(index, claims, integrity, found)
    },
    /** Facts about one version for these bytes; asks and examines when nothing is remembered. */
    gather: async (
      index: PackageIndex,
      claims: VersionClaims,
      integrity: Integrity,
    ): Promise<Evidence> => {
      const id = { name: index.name, version: claims.version }
      return (
        (await recall(index, claims, integrity)) ??
        examining(`${idOf(id)} ${integrity} ${examinerFor(index.upstream).trust}`, () =>
          examineOnce(index, claims, integrity),
        )
      )
    },
  }
}
