/**
 * The gate: gathers evidence, judges, remembers. The only room that knows the others; it takes
 * them as they are handed in and holds no setting of its own.
 */
import { AttestryError } from '../errors.ts'
import type { Examiner } from '../evidence/examiner.ts'
import { policyDigest } from '../policy/digest.ts'
import { upstreamFor as reservedFor } from '../policy/namespace.ts'
import type { Policy } from '../policy/policy.ts'
import type { Store } from '../store/store.ts'
import type { AuditEntry, Integrity, PackageId, Verdict } from '../types.ts'
import type { DocumentAnswer, Upstream } from '../upstream/upstream.ts'
import { openAdmissions, type Admission } from './admissions.ts'
import { openAssessments, type Assessment, type Why } from './assessments.ts'
import { openBackground } from './background.ts'
import type { Manifest } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import { openDocuments } from './documents.ts'
import { openEpochs } from './epochs.ts'
import { openEvidenceBook } from './evidence-book.ts'
import { openJudges, type Standing } from './judge.ts'
import { openPackages } from './packages.ts'
import { rewriteManifest, type Form } from './representation.ts'
import { openSignatureWatch } from './signature-watch.ts'
import { openTimelines, type Timeline } from './timeline.ts'
import { openViews, type ServedPackument } from './views.ts'

export type Client = AuditEntry['client']

/** What happens inside, for log and metrics; every method may be left out. */
export type GateObserver = {
  readonly onVerdict?: (entry: AuditEntry) => void
  readonly onStale?: (name: string, upstream: string, error: unknown) => void
  /** The first package an upstream served carried no signature. */
  readonly onStripping?: (upstream: string) => void
  readonly onExamined?: (milliseconds: number) => void
  readonly onError?: (what: string, error: unknown) => void
}

export type GateOptions = {
  readonly store: Store
  /** By name; the first serves every name that no rule reserves for another. */
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** One for each upstream, by its name: whose keys count depends on where a package comes from. */
  readonly examiners: ReadonlyMap<string, Examiner>
  readonly policies: readonly Policy[]
  /** Where clients reach us; ends with a slash. */
  readonly publicUrl: string
  /** All in milliseconds, but `memory` in bytes. */
  readonly cache: {
    readonly packumentTtl: number
    readonly staleIfError: number
    readonly negativeTtl: number
    readonly recheck: number
    readonly memory: number
  }
  readonly now?: () => Date
  readonly observer?: GateObserver
}

export type Gate = {
  readonly publicUrl: string
  readonly policyDigest: string
  readonly packument: (name: string, form: Form) => Promise<ServedPackument>
  /** One version's manifest, by version or dist-tag. Throws ENOTFOUND; a refused one gives its verdict. */
  readonly manifest: (
    name: string,
    versionOrTag: string,
  ) => Promise<{ readonly manifest: Manifest } | { readonly refused: Verdict }>
  readonly distTags: (name: string) => Promise<DistTags>
  /** Judges, records the verdict and, when it allows, tells which bytes to send. */
  readonly tarball: (id: PackageId, client: Client) => Promise<Admission>
  readonly openBlob: Store['blobs']['open']
  readonly getBlob: Store['blobs']['get']
  /** The bytes an admission named are gone; the next request brings them again. */
  readonly forget: (id: PackageId) => void
  readonly attestations: (id: PackageId) => Promise<DocumentAnswer>
  readonly keys: () => Promise<DocumentAnswer>
  /** `version` may be a dist-tag of the upstream's. */
  readonly why: (id: PackageId) => Promise<Why>
  /** Who published this package over its versions; looks at the newest that nobody has looked at. */
  readonly timeline: (name: string) => Promise<Timeline>
  /** Judges without serving: evidence is gathered, bytes are not. `integrity`: what is pinned elsewhere. */
  readonly assess: (id: PackageId, integrity?: Integrity) => Promise<Assessment>
  /** Puts other policies in force; everything is judged anew from the facts at hand. */
  readonly adopt: (policies: readonly Policy[]) => void
  readonly check: () => Promise<void>
  /** Resolves when background checks have ended; for tests and for closing. */
  readonly idle: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Versions named by dist-tags that are verified ahead of being asked for. */
const AHEAD = 3

export const openGate = (options: GateOptions): Gate => {
  const { store, upstreams, examiners, publicUrl, cache, observer = {} } = options
  const now = options.now ?? (() => new Date())
  let inForce = { policies: options.policies, digest: policyDigest(options.policies) }
  const policies = () => inForce.policies
  const [first] = upstreams.values()
  if (!first) throw new AttestryError('ECONFIG', 'No upstream is configured.')

  const upstreamFor = (name: string): Upstream => {
    const reserved = name === '' ? undefined : reservedFor(policies(), name)
    const upstream = reserved === undefined ? first : upstreams.get(reserved)
    if (upstream) return upstream
    const message = `A policy rule reserves ${name} for the upstream ${reserved}, which is not configured.`
    throw new AttestryError('ECONFIG', message)
  }

  const examinerFor = (upstream: string): Examiner => {
    const examiner = examiners.get(upstream)
    if (examiner) return examiner
    throw new AttestryError('ECONFIG', `The upstream ${upstream} is not configured any more.`)
  }

  const epochs = openEpochs()
  const signatures = openSignatureWatch(name => observer.onStripping?.(name))
  const background = openBackground({ onError: (key, error) => observer.onError?.(key, error) })
  const documents = openDocuments({ store, upstreamFor, now, negativeTtl: cache.negativeTtl })
  const packages = openPackages({
    store,
    upstreamFor,
    now,
    ttl: cache.packumentTtl,
    staleIfError: cache.staleIfError,
    negativeTtl: cache.negativeTtl,
    memory: cache.memory,
    onFresh: index => {
      epochs.bump(index.name)
      signatures.saw(index)
    },
    ...(observer.onStale && { onStale: observer.onStale }),
  })
  const book = openEvidenceBook({
    store,
    examinerFor,
    documents,
    now,
    recheck: cache.recheck,
    onChange: epochs.bump,
    ...(observer.onExamined && { onExamined: observer.onExamined }),
  })
  const judges = openJudges({
    policies,
    book,
    trustOf: upstream => examinerFor(upstream).trust,
    now,
  })
  const views = openViews({ packages, judges, epochs, now, publicUrl, memory: cache.memory })
  const admissions = openAdmissions({
    store,
    packages,
    book,
    judges,
    examinerFor,
    epochs,
    upstreamFor,
    now,
  })

  /** Verifies what the dist-tags name, so that the tarball request finds its facts ready. */
  const verifyAhead = ({ index, refused }: Standing) => {
    const tagged = new Set(Object.values(index.distTags).slice(0, AHEAD))
    for (const version of tagged) {
      const claims = index.versions.get(version)
      const integrity = claims?.integrity
      if (!claims || !integrity || refused.has(version)) continue
      if (claims.signatures.length === 0 && !claims.attestations) continue
      background.add(`${index.name}@${version}`, async () => {
        await book.gather(index, claims, integrity)
      })
    }
  }

  const record = async (id: PackageId, admission: Admission, client: Client) => {
    const { verdict, remembered } = admission
    const layer = verdict.layers.find(({ reasons }) => reasons.length > 0) ?? verdict.layers[0]
    const integrity = admission.blob?.integrity ?? verdict.integrity
    const entry: AuditEntry = {
      at: now().toISOString(),
      client,
      package: id,
      ...(integrity && { integrity }),
      decision: verdict.decision,
      rule: layer ? `${layer.policy}#${layer.rule}` : 'none',
      reasons: verdict.reasons,
      policyDigest: inForce.digest,
      fresh: !remembered,
    }
    observer.onVerdict?.(entry)
    const written = store.audit.append(entry)
    // a new verdict is on record before it takes effect; a repeated one need not hold up the bytes
    if (!remembered) await written
    else written.catch(error => observer.onError?.('audit', error))
  }

  const assessments = openAssessments({ packages, book, judges, signatures, policies, now })
  const timeline = openTimelines({ packages, book, standing: views.standing })

  return {
    publicUrl,
    get policyDigest() {
      return inForce.digest
    },
    packument: async (name, form) => {
      const served = await views.packument(name, form)
      verifyAhead(served.standing)
      return served
    },
    manifest: async (name, versionOrTag) => {
      const { index, refused } = await views.standing(name)
      const tags = await views.distTags(name)
      const version = index.versions.has(versionOrTag) ? versionOrTag : tags[versionOrTag]
      if (version === undefined) {
        throw new AttestryError(
          'ENOTFOUND',
          `${name} has no version or dist-tag ${versionOrTag}.`,
        )
      }
      const verdict = refused.get(version)
      if (verdict) return { refused: verdict }
      const manifest = await packages.manifest(index, version)
      return { manifest: rewriteManifest(manifest, name, version, { publicUrl }) }
    },
    distTags: views.distTags,
    tarball: async (id, client) => {
      const admission = await admissions.admit(id)
      await record(id, admission, client)
      return admission
    },
    openBlob: (integrity: Integrity, range) => store.blobs.open(integrity, range),
    getBlob: integrity => store.blobs.get(integrity),
    forget: id => {
      admissions.forget(id)
    },
    attestations: documents.attestations,
    keys: documents.keys,
    why: assessments.why,
    timeline,
    assess: assessments.assess,
    adopt: next => {
      inForce = { policies: next, digest: policyDigest(next) }
      epochs.bumpAll()
    },
    check: () => store.check(),
    idle: background.idle,
    close: async () => {
      await background.close()
    },
  }
}
