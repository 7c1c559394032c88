/** The rooms opened from settings, everything but the server: what `serve` and the other commands share. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings, UpstreamSettings } from './config/settings.ts'
import { openLiveExaminer, type LiveExaminer } from './evidence/live-examiner.ts'
import { openExaminer } from './evidence/open-examiner.ts'
import { tarballLimits } from './evidence/tarball-limits.ts'
import { openGate, type Gate, type GateObserver } from './gate/gate.ts'
import {
  joinOf,
  publishedPolicies,
  readPolicies,
  type PolicyOptions,
  type Rollout,
} from './open-policies.ts'
import { maker } from './maker.ts'
import { openStore } from './open-store.ts'
import type { Policy } from './policy/policy.ts'
import type { OwnMember } from './rollout/roster.ts'
import type { StoreCall } from './store/shared/circuit.ts'
import type { StoreEvent } from './store/store-event.ts'
import type { Store } from './store/store.ts'
import {
  openTrust,
  type TrustChange,
  type TrustObserver,
  type TrustRoom,
} from './trust/open-trust.ts'
import type { LiveSigner } from './signers.ts'
import { npmRegistry } from './upstream/default-registry.ts'
import { offlineUpstream } from './upstream/offline.ts'
import { openUpstream } from './upstream/open-upstream.ts'
import type { UpstreamOutcome } from './upstream/options.ts'
import type { Upstream } from './upstream/upstream.ts'
import { version } from './version.ts'

export type RoomsObserver = GateObserver &
  TrustObserver & {
    readonly onStoreEvent?: (event: StoreEvent) => void
    /** A call to PostgreSQL or S3, where the store is shared. */
    readonly onStoreCall?: (call: StoreCall) => void
    readonly onUpstream?: (outcome: UpstreamOutcome) => void
  }

export type RoomsOptions = {
  readonly settings: Settings
  readonly observer?: RoomsObserver
  readonly now?: () => Date
  /** No upstream is asked for anything: what the store has answers, however old it is. */
  readonly offline?: boolean
  /** Identifies this server to itself; default one of its own. Processes of a cluster are one server. */
  readonly instance?: string
  /** In place of every upstream's registry; asked for every packument, whatever the age of what is here. */
  readonly upstreamFor?: (upstream: UpstreamSettings) => Upstream
} & PolicyOptions

export type Rooms = {
  readonly store: Store & { readonly waiting?: () => number }
  readonly upstreams: ReadonlyMap<string, Upstream>
  readonly trust: TrustRoom
  readonly policies: readonly Policy[]
  /** Layers that views add, by the view's name. */
  readonly views: ReadonlyMap<string, readonly Policy[]>
  /** Where the policy is taken from the store. */
  readonly rollout?: Rollout
  /** This process among the instances on the store; see `PolicyOptions`. */
  readonly member?: OwnMember
  /** Identifies this process to an upstream that may be ourselves. */
  readonly instance: string
  /** Call once: what the gate makes is written for clients that reach us at this address. */
  readonly openGate: (publicUrl: string) => Gate
  /** Closes what was opened, the last first; `part` is closed before everything opened so far. */
  readonly closeWith: (part: { close(): Promise<void> }) => void
  readonly close: () => Promise<void>
}

const upstreamOf = async (
  settings: UpstreamSettings,
  limits: Settings['limits'],
  self: string,
  { onUpstream }: RoomsObserver,
): Promise<Upstream> => {
  const { name, url, token, username, password, connections, retries, tarballOrigins } =
    settings
  return openUpstream({
    name,
    url,
    ...(token && { token: token.reveal() }),
    ...(username && { username: username.reveal() }),
    ...(password && { password: password.reveal() }),
    ...(settings.ca && { ca: await readFile(settings.ca, 'utf8') }),
    limits,
    timeout: settings.timeout,
    connections,
    retries,
    tarballOrigins,
    self,
    userAgent: `attestry/${version}`,
    ...(onUpstream && { onOutcome: onUpstream }),
  })
}

/** Milliseconds: for one file of a TUF mirror, and for a refresh altogether. */
const TUF = { timeout: 15_000, deadline: 60_000 }

/** The trust that counts for each of these upstreams. Throws ETRUST. */
export const openTrustRoom = (
  settings: Pick<Settings, 'trust' | 'storage' | 'cache'>,
  upstreams: readonly UpstreamSettings[],
  options: {
    readonly observer?: TrustObserver
    readonly adopt?: (change: TrustChange) => Promise<void>
    readonly now?: () => Date
    /** No mirror is asked. */
    readonly offline?: boolean
  } = {},
): Promise<TrustRoom> => {
  const { observer, adopt, now = () => new Date(), offline } = options
  return openTrust({
    upstreams: upstreams.map(({ name, url, trustRoots, registryKeys, signing }) => ({
      name,
      roots: trustRoots ?? settings.trust.roots,
      registryKeys,
      ...(signing && { signing: signing.keys }),
      // mirrors serve npm's packages with npm's signatures
      registries: [url, npmRegistry],
    })),
    terms: {
      folder: join(settings.storage.path, 'trust'),
      network: !(offline ?? settings.cache.offline),
      userAgent: `attestry/${version}`,
      ...TUF,
      now,
    },
    ...(observer && { observer }),
    ...(adopt && { adopt }),
  })
}

/** The examiner that judges what comes from `upstream`. */
export const examinerFor = (
  settings: Pick<Settings, 'verification' | 'limits'>,
  upstream: UpstreamSettings,
  trust: TrustRoom,
): Promise<LiveExaminer> => {
  const { workers, timeout } = settings.verification
  const limits = { ...tarballLimits, unpacked: settings.limits.unpacked }
  // keys from a file do not say whose they are: publish attestations may name this upstream, or npm,
  // whose packages mirrors serve
  const registries = [upstream.url, npmRegistry]
  return openLiveExaminer(
    material => openExaminer({ trust: material, registries, workers, timeout, limits }),
    trust.materialOf(upstream.name),
  )
}

/** When a part fails to open, those opened before it are closed. */
export const openRooms = async (options: RoomsOptions): Promise<Rooms> => {
  const { settings, observer = {}, now = () => new Date() } = options
  const offline = options.offline ?? settings.cache.offline
  const { storage, cache, limits } = settings
  const closing: (() => Promise<void>)[] = []
  const opened = <T extends { close(): Promise<void> }>(part: T): T => {
    closing.unshift(() => part.close())
    return part
  }
  const close = async () => {
    for (const end of closing.splice(0)) await end()
  }
  try {
    // what is wrong with files is told before anything is opened
    const read =
      settings.policySource === 'files'
        ? await readPolicies(settings, options.policyText)
        : undefined
    const half = Math.floor(storage.memory / 2)
    const store = opened(
      await openStore(storage, {
        now,
        log: event => observer.onStoreEvent?.(event),
        onCall: call => observer.onStoreCall?.(call),
      }),
    )
    // on record first: whoever publishes from now on waits for us
    const member =
      options.worker === undefined
        ? undefined
        : await joinOf(options.worker, store, settings, {
            now,
            onError: error => observer.onError?.('roster', error),
          })
    if (member) opened(member)
    const published = read ? undefined : await publishedPolicies(store, settings)
    const { policies, views } = read ?? published?.layers ?? { policies: [], views: new Map() }
    const instance = options.instance ?? randomUUID()
    const upstreams = new Map<string, Upstream>()
    const terms = new Map(settings.upstreams.map(upstream => [upstream.name, upstream]))
    const examiners = new Map<string, LiveExaminer>()
    const signs = settings.summaries || settings.upstreams.some(({ signing }) => signing)
    const signing = signs ? await import('./signers.ts') : undefined
    const summaries = await signing?.summarySignerOf(settings, now)
    const signers = new Map<string, LiveSigner>()
    const gates: Gate[] = []
    const trust = await openTrustRoom(settings, settings.upstreams, {
      offline,
      observer,
      now,
      adopt: async ({ upstream, material }) => {
        await examiners.get(upstream)?.replace(material)
        // what verifies knows a new key before it signs
        await signers.get(upstream)?.reread()
        for (const gate of gates) gate.distrust()
        await store.changes
          .publish({ topic: 'trust', key: material.digest })
          .catch((error: unknown) => observer.onError?.('trust', error))
      },
    })
    opened({ close: async () => trust.close() })
    for (const upstream of settings.upstreams) {
      const { name, url } = upstream
      const asked = options.upstreamFor
        ? options.upstreamFor(upstream)
        : offline
          ? offlineUpstream({ name, url })
          : await upstreamOf(upstream, limits, instance, observer)
      upstreams.set(name, opened(asked))
      examiners.set(name, opened(await examinerFor(settings, upstream, trust)))
      const onError = (what: string, error: unknown) => observer.onError?.(what, error)
      const signer = await signing?.registrySignerOf(upstream, now, onError)
      if (signer) signers.set(name, signer)
    }
    return {
      store,
      upstreams,
      trust,
      policies,
      views,
      ...(published && { rollout: published.rollout }),
      ...(member && { member }),
      instance,
      openGate: publicUrl => {
        const made = maker()
        const gate = opened(
          openGate({
            store,
            upstreams,
            terms,
            limits,
            examiners,
            signers,
            ...(summaries && { summaries }),
            policies,
            views,
            publicUrl,
            deprecates: settings.observe.deprecate,
            cache: {
              ...cache,
              memory: half,
              ...(offline && { packumentTtl: Number.POSITIVE_INFINITY }),
              ...(options.upstreamFor && { packumentTtl: 0, staleIfError: -1 }),
            },
            ...(made !== undefined && { maker: made }),
            repeats: settings.auditLog.repeats,
            now,
            observer,
          }),
        )
        gates.push(gate)
        return gate
      },
      closeWith: opened,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
