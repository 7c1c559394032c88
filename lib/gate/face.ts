/**
 * The judging half of the gate, made once for each view and address: the same packages and facts
 * as all others, its own policies, verdicts and finished answers.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import { AttestryError } from '../errors.ts'
import type { Examiner } from '../evidence/examiner.ts'
import { policyDigest } from '../policy/digest.ts'
import type { Policy } from '../policy/policy.ts'
import type { Store } from '../store/store.ts'
import type { PackageId } from '../types.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { openAdmissions, type Admission } from './admissions.ts'
import { openAdvisories } from './advisories.ts'
import { openAssessments } from './assessments.ts'
import type { Alone } from './alone.ts'
import type { Background } from './background.ts'
import { own } from './claims.ts'
import type { Documents } from './documents.ts'
import type { Epochs } from './epochs.ts'
import type { EvidenceBook } from './evidence-book.ts'
import { openFindings } from './findings.ts'
import type { Client, Gate, GateObserver } from './gate.ts'
import { openJudges } from './judge.ts'
import { aheadOf, isStanding, type Standing } from './standing.ts'
import { inflate } from './inflate.ts'
import { openGrounds } from './grounds.ts'
import type { Keeping } from './keeping.ts'
import { openKeptVerdicts } from './kept-verdicts.ts'
import type { Memory } from './memory.ts'
import type { PackageIndex } from './package-index.ts'
import type { Packages } from './packages.ts'
import type { PassThrough } from './pass-through.ts'
import { openRecorder } from './recorder.ts'
import type { Repeats } from './repeats.ts'
import { deprecateManifest, rewriteManifest } from './representation.ts'
import type { Routing } from './routing.ts'
import type { Search } from './search.ts'
import type { SignVersion } from './sign-version.ts'
import type { SignatureWatch } from './signature-watch.ts'
import { openSummaries, type SummaryTerms } from './summaries.ts'
import { openTimelines } from './timeline.ts'
import { openViews } from './views.ts'
import { openWithheld } from './withheld.ts'
import type { VouchBook } from './vouch-book.ts'
import type { Vouching } from './vouching.ts'

/** What all faces of a gate have in common. */
export type Shared = {
  readonly store: Store
  readonly alone: Alone
  readonly packages: Packages
  readonly book: EvidenceBook
  readonly repeats: Repeats
  readonly vouchBook: VouchBook
  readonly vouching: Vouching
  readonly documents: Documents
  readonly epochs: Epochs
  readonly signatures: SignatureWatch
  readonly background: Background
  readonly memory: Memory
  readonly keeping: Keeping | undefined
  readonly routing: Routing
  readonly passThrough: PassThrough
  readonly summaries?: SummaryTerms
  readonly search: Search
  readonly sign: SignVersion
  readonly upstreamFor: (name: string) => Upstream
  readonly examinerFor: (upstream: string) => Examiner
  /** Marks what observe mode lets through as deprecated. */
  readonly deprecates: boolean
  readonly now: () => Date
  readonly observer: GateObserver
}

export type FaceOptions = {
  /** The view's name; absent for those who have none. */
  readonly view?: string | undefined
  /** Those in force now, the same array as long as they are the same. */
  readonly policies: () => readonly Policy[]
  /** Where these clients reach us; ends with a slash. */
  readonly publicUrl: string
}

export type Face = Omit<Gate, 'view' | 'adopt' | 'distrust' | 'check' | 'idle' | 'close'>

/** Versions that are remembered as renewed. */
const RENEWED = 50_000

export const openFace = (shared: Shared, { view, policies, publicUrl }: FaceOptions): Face => {
  const { store, packages, book, documents, epochs, signatures, memory, now, observer } = shared
  const { upstreamFor, examinerFor, deprecates } = shared
  const key = `${view ?? ''} ${publicUrl}`
  const renewed = new LRUCache<string, true>(atMost(RENEWED))
  const trustOf = (upstream: string) => examinerFor(upstream).trust
  const { vouchBook, keeping } = shared
  const judges = openJudges({ policies, book, vouches: vouchBook, trustOf, now })
  const kept =
    keeping &&
    openKeptVerdicts({
      records: store.records,
      grounds: openGrounds({
        maker: keeping.maker,
        policies,
        book,
        vouches: vouchBook,
        trustOf,
      }),
      behind: keeping.behind,
      now,
      key,
    })
  const views = openViews({
    packages,
    judges,
    epochs,
    now,
    publicUrl,
    kept: kept && keeping && { ...kept, representations: keeping.representations },
    memory,
    key,
    deprecates,
    onMade: openWithheld(observer, view),
  })
  keeping?.settling.onSettled(views.settle)
  const admissions = openAdmissions({
    store,
    alone: shared.alone,
    packages,
    book,
    judges,
    examinerFor,
    epochs,
    upstreamFor,
    now,
    kept,
    memory,
    key,
  })

  /** What was examined under other trust, under that in force: what rested on a key that is gone must go. */
  const verifyAnew = (index: PackageIndex, outdated: readonly string[]) => {
    for (const version of outdated) {
      const claims = index.versions.get(version)
      if (!claims) continue
      const work = `${index.name}@${version} ${examinerFor(index.upstream).trust}`
      // once; where nothing was kept the next to ask for the tarball has it looked at
      if (renewed.has(work)) continue
      const added = shared.background.add(work, async () => {
        await book.renew(index, claims)
      })
      if (added) renewed.set(work, true)
    }
  }

  /** Verifies what the dist-tags name, so that the tarball request finds its facts ready. */
  const verifyAhead = (standing: Standing) => {
    const { index, outdated } = standing
    if (outdated) verifyAnew(index, outdated)
    for (const claims of aheadOf(standing)) {
      const { version, integrity } = claims
      if (integrity === undefined) continue
      shared.background.add(`${index.name}@${version}`, async () => {
        await book.gather(index, claims, integrity)
      })
    }
  }

  const record = openRecorder({
    audit: store.audit,
    repeats: shared.repeats,
    view,
    now,
    observer,
  })

  const summaries =
    shared.summaries &&
    openSummaries({ store, documents, terms: shared.summaries, view, publicUrl, now })

  const summaryOf = async (id: PackageId, { verdict, blob }: Admission) => {
    if (!summaries || !blob || verdict.decision !== 'allow' || verdict.reasons.length > 0)
      return undefined
    const index = await packages.get(id.name, Number.POSITIVE_INFINITY)
    const claims = index.versions.get(id.version)
    if (!claims) return undefined
    const { integrity } = blob
    const evidence = await book.gather(index, claims, integrity)
    const vouches = await shared.vouchBook.of({
      package: id,
      integrity,
      upstream: index.upstream,
    })
    return summaries.of(id, { ...evidence, ...(vouches && { vouches }) }, verdict.policyDigest)
  }

  const admit = async (id: PackageId, client: Client): Promise<Admission> => {
    const { admission, remember, keep } = await admissions.admit(id)
    const recorded = record(id, admission, client)
    // in the transaction of the entry
    keep?.()
    await recorded
    remember?.()
    return admission
  }

  const assessments = openAssessments({ packages, book, judges, signatures, policies, now })
  const timeline = openTimelines({ packages, book, standing: views.standing })
  const { passThrough, routing } = shared
  const findings = openFindings({ packages, judged: views.judged, publicUrl })
  const { limits } = passThrough

  return {
    publicUrl,
    get policyDigest() {
      return policyDigest(policies())
    },
    ready: {
      packument: views.ready,
      plain: ({ etag }) => memory.plain.get(etag),
      tarball: (id, client, known) => {
        const admission = admissions.remembered(id)
        const blob = admission?.blob
        if (!blob) return undefined
        const { integrity } = blob
        const same = known(integrity)
        const bytes = same ? undefined : store.blobs.peek?.(integrity)
        if (!same && bytes === undefined) return undefined
        void record(id, admission, client)
        return bytes ? { integrity, bytes } : { integrity }
      },
    },
    packument: async (name, form, hinting) => {
      const served = await views.packument(name, form, hinting)
      if (isStanding(served.standing)) verifyAhead(served.standing)
      return served
    },
    manifest: async (name, versionOrTag) => {
      const { index, refused, observed } = await views.standing(name)
      const tags = await views.distTags(name)
      const version = index.versions.has(versionOrTag) ? versionOrTag : own(tags, versionOrTag)
      if (version === undefined) {
        throw new AttestryError(
          'ENOTFOUND',
          `${name} has no version or dist-tag ${versionOrTag}.`,
        )
      }
      const verdict = refused.get(version)
      if (verdict) return { refused: verdict }
      const manifest = await packages.manifest(index, version)
      const against = deprecates ? observed.get(version) : undefined
      const warned = against ? deprecateManifest(manifest, against, { publicUrl }) : manifest
      return { manifest: rewriteManifest(warned, name, version, { publicUrl }) }
    },
    distTags: views.distTags,
    versions: async name => [...(await packages.get(name)).versions.keys()],
    tarball: async (id, client) => {
      const admission = await admit(id, client)
      if (summaries && !admission.remembered)
        shared.background.add(`summary ${key} ${id.name}@${id.version}`, async () => {
          await summaryOf(id, admission)
        })
      return admission
    },
    summary: async (id, client) => {
      if (!summaries)
        throw new AttestryError('ENOTFOUND', 'This server makes no verification summaries.')
      const admission = await admit(id, client)
      if (admission.verdict.decision !== 'allow') return { refused: admission.verdict }
      const bundle = await summaryOf(id, admission)
      const integrity = admission.blob?.integrity
      if (bundle && integrity) return { bundle, integrity }
      const message = `${id.name}@${id.version} was let through in observe mode, with something against it; that is no verdict to sign.`
      throw new AttestryError('ENOTFOUND', message)
    },
    inflate: representation => inflate(representation, memory.plain),
    findBlob: integrity => store.blobs.find(integrity),
    forget: id => {
      admissions.forget(id)
    },
    attestations: documents.attestations,
    keys: documents.keys,
    why: assessments.why,
    timeline,
    assess: assessments.assess,
    limits,
    allowsPassing: passThrough.allows,
    pass: passThrough.pass,
    search: shared.search,
    sign: shared.sign,
    vouching: shared.vouching,
    advisories: openAdvisories({ routing, findings, limits }),
  }
}
