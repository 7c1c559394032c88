/**
 * The gate: gathers evidence, judges, remembers. The only room that knows the others; it takes
 * them as they are handed in and holds no setting of its own.
 */
import type { Readable } from 'node:stream'
import type { RegistrySigner } from '../attest/registry-signer.ts'
import { AttestryError, isAttestryError } from '../errors.ts'
import type { Examiner } from '../evidence/examiner.ts'
import type { Policy } from '../policy/policy.ts'
import type { Change, Store } from '../store/store.ts'
import type { AuditEntry, Integrity, PackageId, RecordedVerdict, Verdict } from '../types.ts'
import type { DocumentAnswer, Upstream } from '../upstream/upstream.ts'
import type { Admission } from './admissions.ts'
import type { Advisories } from './advisories.ts'
import type { Assessment, Why } from './assessments.ts'
import { openAlone } from './alone.ts'
import { openBackground } from './background.ts'
import type { Manifest } from './claims.ts'
import type { DistTags } from './dist-tags.ts'
import { openDocuments } from './documents.ts'
import { openEpochs } from './epochs.ts'
import { openEvidenceBook, type EvidenceObserver } from './evidence-book.ts'
import { followChanges } from './follow-changes.ts'
import { openFace, type Shared } from './face.ts'
import type { Inventory } from './findings.ts'
import { openKeeping } from './keeping.ts'
import { openLayers } from './layers.ts'
import { openMemory } from './memory.ts'
import { openPackages } from './packages.ts'
import { openOwnSignatures, type SigningObserver } from './own-signatures.ts'
import {
  defaultPassLimits,
  openPassThrough,
  type PassLimits,
  type PassThrough,
  type Sender,
} from './pass-through.ts'
import { openRepeats } from './repeats.ts'
import type { Form, Representation } from './representation.ts'
import { openRouting, type Routing, type UpstreamTerms } from './routing.ts'
import { openSearch, type Search } from './search.ts'
import type { SignVersion } from './sign-version.ts'
import type { SummaryTerms } from './summaries.ts'
import { openSignatureWatch } from './signature-watch.ts'
import type { Timeline } from './timeline.ts'
import type { ServedPackument, WithheldObserver } from './views.ts'
import { openVouches, type Vouching } from './vouches.ts'

export type Client = AuditEntry['client']

/** What happens inside, for log and metrics; every method may be left out. */
export type GateObserver = SigningObserver &
  EvidenceObserver &
  WithheldObserver & {
    readonly onVerdict?: (verdict: RecordedVerdict, client: Client) => void
    readonly onStale?: (name: string, upstream: string, error: unknown) => void
    /** The first package an upstream served carried no signature. */
    readonly onStripping?: (upstream: string) => void
    readonly onError?: (what: string, error: unknown) => void
  }

export type GateOptions = {
  readonly store: Store
  /** By name; the first serves every name that nobody reserves for another. */
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** What the settings say of them, by name. */
  readonly terms?: ReadonlyMap<string, UpstreamTerms>
  /** One for each upstream, by its name: whose keys count depends on where a package comes from. */
  readonly examiners: ReadonlyMap<string, Examiner>
  readonly policies: readonly Policy[]
  /** Layers that views add to `policies`, by the view's name. */
  readonly views?: ReadonlyMap<string, readonly Policy[]>
  /** Of upstreams whose packages we sign, by their names. */
  readonly signers?: ReadonlyMap<string, RegistrySigner>
  /** Signed verdicts on what is admitted; none without. */
  readonly summaries?: SummaryTerms
  /** Of what is passed on; default as in the settings. */
  readonly limits?: PassLimits
  readonly deprecates?: Shared['deprecates']
  /** Where clients reach us; ends with a slash. */
  readonly publicUrl: string
  /** All in milliseconds, but `memory` in bytes. */
  readonly cache: {
    readonly packumentTtl: number
    readonly staleIfError: number
    readonly staleWhileRevalidate?: number
    readonly negativeTtl: number
    readonly recheck: number
    readonly memory: number
  }
  /** Milliseconds in which verdicts given to one client again are one audit entry; default 0. */
  readonly repeats?: number
  /** This program as it is (`maker.ts`); with it answers and verdicts are kept in the store. */
  readonly maker?: string
  readonly now?: () => Date
  readonly observer?: GateObserver
}

/**
 * What is answered from memory, without waiting for anything: the same answers as the methods of the
 * same names give, or `undefined` where something would have to be looked up, judged or made first.
 */
export type Ready = {
  readonly packument: (
    name: string,
    form: Form,
    hinting?: boolean,
  ) => ServedPackument | undefined
  /** The document of a representation without compression. */
  readonly plain: (representation: Representation) => Buffer | undefined
  /**
   * Records the admission, as `tarball` does. `known`: the client has these bytes, and none are
   * given.
   */
  readonly tarball: (
    id: PackageId,
    client: Client,
    known: (integrity: Integrity) => boolean,
  ) => { readonly integrity: Integrity; readonly bytes?: Buffer } | undefined
}

export type Gate = {
  readonly publicUrl: string
  readonly policyDigest: string
  readonly ready: Ready
  /** `hinting`: the client is one that is told of refusals in dist-tags (pnpm). */
  readonly packument: (name: string, form: Form, hinting?: boolean) => Promise<ServedPackument>
  /** One version's manifest, by version or dist-tag. Throws ENOTFOUND; a refused one gives its verdict. */
  readonly manifest: (
    name: string,
    versionOrTag: string,
  ) => Promise<{ readonly manifest: Manifest } | { readonly refused: Verdict }>
  readonly distTags: (name: string) => Promise<DistTags>
  /** All that the upstream has, refused or not. */
  readonly versions: (name: string) => Promise<readonly string[]>
  /** Judges, records the verdict and, when it allows, tells which bytes to send. */
  readonly tarball: (id: PackageId, client: Client) => Promise<Admission>
  /** A representation's document without compression; as a stream where it is very large. */
  readonly inflate: (representation: Representation) => Promise<Buffer | Readable>
  readonly findBlob: Store['blobs']['find']
  /** The bytes an admission named are gone; the next request brings them again. */
  readonly forget: (id: PackageId) => void
  /**
   * A verification summary of a version that policy admits, as a sigstore bundle; brings its bytes
   * here when they are not. Throws ENOTFOUND where none are made, or this one was only observed.
   */
  readonly summary: (
    id: PackageId,
    client: Client,
  ) => Promise<
    { readonly bundle: object; readonly integrity: Integrity } | { readonly refused: Verdict }
  >
  readonly attestations: (id: PackageId) => Promise<DocumentAnswer>
  readonly keys: () => Promise<DocumentAnswer>
  /** `version` may be a dist-tag of the upstream's. */
  readonly why: (id: PackageId) => Promise<Why>
  /** Who published this package over its versions; looks at the newest that nobody has looked at. */
  readonly timeline: (name: string) => Promise<Timeline>
  /** Judges without serving: evidence is gathered, bytes are not. `integrity`: what is pinned elsewhere. */
  readonly assess: (id: PackageId, integrity?: Integrity) => Promise<Assessment>
  readonly limits: PassLimits
  /** Would a request like this be passed on? */
  readonly allowsPassing: PassThrough['allows']
  /** Has an upstream answer. Throws EMETHOD or ECREDENTIALS where the settings do not allow it. */
  readonly pass: PassThrough['pass']
  /** Throws EMETHOD where no upstream may be asked this. */
  readonly search: Search
  /** Has a version that is there signed with our registry keys. Throws ESIGNING where it must not be. */
  readonly sign: SignVersion
  /** Takes vouches, verified first, and takes them back. */
  readonly vouching: Vouching
  /** What upstreams and our own judgement have against these versions; never fails for an upstream. */
  readonly advisories: (asked: Inventory, sender: Sender) => Promise<Advisories>
  /**
   * The gate as a view has it: the view's layers on top of the others, at this address. It shares
   * everything but judgement. Throws ECONFIG when there is no such view.
   */
  readonly view: (name: string, publicUrl: string) => Gate
  /**
   * Puts other policies in force; everything is judged anew from the facts at hand. Of a view: its
   * own layers only.
   */
  readonly adopt: (policies: readonly Policy[]) => void
  /** Other trust is in force: everything is judged anew, from evidence examined anew where it is asked for. */
  readonly distrust: () => void
  readonly check: () => Promise<void>
  /** Resolves when background checks have ended and what they and requests wrote is on record. */
  readonly idle: () => Promise<void>
  readonly close: () => Promise<void>
}

export const openGate = (options: GateOptions): Gate => {
  const { store, examiners, publicUrl, cache, observer = {}, signers = new Map() } = options
  const now = options.now ?? (() => new Date())
  const layers = openLayers(options.policies, options.views)
  const { terms = new Map<string, UpstreamTerms>(), repeats: window = 0 } = options
  const reservedFor = (name: string): string | undefined => routing.reservedFor(name)
  const own = openOwnSignatures({
    store,
    signers,
    upstreams: options.upstreams,
    reservedFor,
    now,
    observer,
  })
  const routing: Routing = openRouting({
    upstreams: own.upstreams,
    terms,
    policies: layers.all,
  })
  const { upstreamFor } = routing

  const examinerFor = (upstream: string): Examiner => {
    const found = examiners.get(routing.evidenceOf(upstream))
    if (found) return found
    throw new AttestryError('ECONFIG', `The upstream ${upstream} is not configured any more.`)
  }

  const epochs = openEpochs()
  const signatures = openSignatureWatch(name => observer.onStripping?.(name))
  const onError = (what: string, error: unknown) => observer.onError?.(what, error)
  const background = openBackground({ onError })
  const keeping = openKeeping({ store, maker: options.maker, background, onError })
  const { negativeTtl } = cache
  const documents = openDocuments({ store, upstreamFor, now, negativeTtl, ownKeys: own.keys })
  const alone = openAlone(store.leases)
  const tell = (change: Change): void => {
    store.changes.publish(change).catch(error => onError('changes', error))
  }
  const packages = openPackages({
    store,
    alone,
    tell,
    upstreamFor,
    now,
    ttl: cache.packumentTtl,
    staleIfError: cache.staleIfError,
    ...(cache.staleWhileRevalidate && { staleWhileRevalidate: cache.staleWhileRevalidate }),
    later: background.add,
    negativeTtl,
    memory: Math.floor(cache.memory / 2),
    onFresh: index => {
      epochs.bump(index.name)
      signatures.saw(index)
    },
    ...(observer.onStale && { onStale: observer.onStale }),
  })
  const book = openEvidenceBook({
    store,
    alone,
    tell,
    examinerFor,
    documents,
    now,
    recheck: cache.recheck,
    onChange: (name, { bytes }) => {
      epochs.bump(name)
      // the last that becomes known of a version
      if (bytes) keeping?.settling.touch(name)
    },
    observer,
  })
  const repeats = openRepeats({ audit: store.audit, window, now, observer })
  const vouches = openVouches({ store, examinerFor, upstreamFor, epochs, now })
  /** After a write: what is fetched from now on is what the upstream has since. */
  const onChange = (name: string) => {
    packages.expire(name)
    documents.expire(name)
    epochs.bump(name)
    tell({ topic: 'expired', key: name })
    background.add(`refresh ${name}`, async () => {
      await packages.get(name).catch((error: unknown) => {
        // an unpublished one is gone, and that is as it should be
        if (!isAttestryError(error) || error.code !== 'ENOTFOUND') throw error
      })
    })
  }
  const limits = options.limits ?? defaultPassLimits
  const shared: Shared = {
    routing,
    passThrough: openPassThrough({
      routing,
      limits,
      onChange,
      publishing: own.publishing(async name => void (await packages.get(name))),
    }),
    sign: own.signVersion({ packages, upstreamFor, onSigned: onChange }),
    ...(options.summaries && { summaries: options.summaries }),
    search: openSearch({ routing, limits, now }),
    store,
    alone,
    packages,
    book,
    repeats,
    ...vouches,
    documents,
    epochs,
    signatures,
    background,
    memory: openMemory(Math.floor(cache.memory / 2)),
    keeping,
    upstreamFor,
    examinerFor,
    deprecates: options.deprecates ?? false,
    now,
    observer,
  }

  const unfollow = followChanges({
    changes: store.changes,
    packages,
    book,
    documents,
    vouches: vouches.vouchBook,
    epochs,
    onError: error => onError('changes', error),
  })

  const made = new Map<string, Gate>()
  const common = {
    distrust: epochs.bumpAll,
    check: () => store.check(),
    idle: async () =>
      void (await Promise.all([(keeping ?? background).idle(), repeats.written()])),
    close: async () => {
      unfollow()
      await background.close()
      await keeping?.close()
      await repeats.close()
    },
    view: (name: string, at: string): Gate => {
      const key = `${name} ${at}`
      const gate = made.get(key) ?? gateOf(at, name)
      made.set(key, gate)
      return gate
    },
  }

  const gateOf = (at: string, view?: string): Gate => {
    const policies = layers.of(view)
    const face = openFace(shared, { view, policies, publicUrl: at })
    const adopt = (next: readonly Policy[]) => {
      layers.adopt(next, view)
      epochs.bumpAll()
    }
    return Object.assign(face, common, { adopt })
  }

  return gateOf(publicUrl)
}
