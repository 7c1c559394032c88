/** The running proxy: the rooms, and a server in front of them. What a program may embed. */
import { openAccess, type Access } from './access/access.ts'
import { fetchDocumentWith } from './access/fetch-document.ts'
import { publicUrlOf, type Settings } from './config/settings.ts'
import type { Gate } from './gate/gate.ts'
import type { AppObserver } from './http/app.ts'
import { readCertificate, watchCertificate } from './http/certificate-files.ts'
import { openFront, type Front } from './http/front.ts'
import { openHandler } from './http/handler.ts'
import type { Certificate } from './http/server.ts'
import { openRooms, type Rooms, type RoomsObserver, type RoomsOptions } from './rooms.ts'
import { knownLogs } from './rekor/known-logs.ts'
import { openLogClient } from './rekor/log-client.ts'
import { openLogWatch, type LogWatch, type LogWatchEvent } from './rekor/watch.ts'
import { followPublished, type Follower, type RolloutEvent } from './rollout/follow.ts'
import { openSealing } from './sealing/open-sealing.ts'
import type { SealerEvent, SealerState } from './sealing/sealer.ts'
import { followTrust } from './trust/follow-trust.ts'
import { healthOf } from './trust/health.ts'
import { version } from './version.ts'
import { openPatiently, type Patience } from './wait-for-store.ts'

export type Observer = RoomsObserver &
  AppObserver & {
    /** What became of the audit log's checkpoints. */
    readonly onSealer?: (event: SealerEvent, state: SealerState) => void
    /** What became of a policy that was published. */
    readonly onRollout?: (event: RolloutEvent) => void
    /** What became of asking a transparency log. */
    readonly onLogWatch?: (event: LogWatchEvent) => void
  }

export type AttestryOptions = {
  readonly settings: Settings
  readonly observer?: Observer
  readonly metrics?: () => Promise<{ readonly type: string; readonly text: string }>
  readonly now?: () => Date
  /** Where the store is away, waits for it and answers 503 meanwhile; without, ESTOREDOWN is thrown. */
  readonly patience?: Patience
} & Pick<RoomsOptions, 'instance' | 'policyText' | 'worker'>

export type Attestry = Pick<
  Rooms,
  'store' | 'policies' | 'views' | 'rollout' | 'upstreams' | 'trust'
> & {
  /** Where clients reach it; ends with a slash. */
  readonly url: string
  readonly port: number
  readonly gate: Gate
  /** From now on it says that it is not ready, and serves as before. */
  readonly drain: () => void
  /** Ends requests under way, background work, threads, connections and the store, in this order. */
  readonly close: () => Promise<void>
}

/** Milliseconds and bytes; discovery documents and key sets are small. */
const ISSUER = { timeout: 10_000, size: 256 * 1024, userAgent: `attestry/${version}` }

/** Milliseconds in which a package is published; its client waits five minutes for the answer alone. */
const UPLOAD = 600_000

const accessOf = (settings: Settings, { store }: Rooms, now: () => Date): Access => {
  const { adminToken } = settings.server
  return openAccess({
    records: store.records,
    mode: settings.access,
    issuers: settings.oidc,
    ...(adminToken && { adminToken: adminToken.reveal() }),
    fetchDocument: fetchDocumentWith(ISSUER),
    now,
  })
}

/** Undefined where no log is to be asked. What is seen before it is started is passed over. */
const watchLogs = ({ trust, cache, upstreams }: Settings, { onLogWatch }: Observer) => {
  if (trust.watchLogs === 0 || cache.offline) return undefined
  let watch: LogWatch | undefined
  return {
    see: (document: Uint8Array, id: string) => watch?.see(document, id),
    health: () => ({
      transparencyLogs:
        Object.keys(watch?.faults() ?? {}).length === 0 ? 'consistent' : 'fault',
    }),
    start: ({ store, trust: room }: Rooms): LogWatch => {
      const roots = () => upstreams.flatMap(({ name }) => room.materialOf(name).roots)
      watch = openLogWatch({
        logs: () => knownLogs(roots()),
        records: store.records,
        clientFor: log => openLogClient(log),
        sample: trust.watchLogs / 100,
        ...(onLogWatch && { onEvent: onLogWatch }),
      })
      return watch
    },
  }
}

/** Has the gate judge by what is published, and this process on record say so. */
const judgeByPublished = (
  gate: Gate,
  { store, rollout, member, views }: Rooms,
  settings: Settings,
  { observer = {}, now = () => new Date() }: AttestryOptions,
): Follower | undefined => {
  const digest = () => gate.policyDigest
  if (!rollout || !member) {
    member?.is(() => ({ policyDigest: digest() }))
    member?.tell()
    return undefined
  }
  return followPublished({
    ...rollout,
    changes: store.changes,
    member,
    upstreams: settings.upstreams.map(({ name }) => name),
    views: [...views.keys()],
    adopt: layers => {
      gate.adopt(layers.policies)
      for (const [view, added] of layers.views) gate.view(view, gate.publicUrl).adopt(added)
    },
    digest,
    onEvent: event => observer.onRollout?.(event),
    onError: error => observer.onError?.('rollout', error),
    now,
  })
}

/** Opens everything and listens. */
export const openAttestry = async (options: AttestryOptions): Promise<Attestry> => {
  const { host, port } = options.settings.listen
  const { requestTimeout, tls: files } = options.settings.server
  const tls = files && (await readCertificate(files))
  const front = openFront({
    host,
    port,
    requestTimeout,
    ...(options.settings.upstreams.some(({ passThrough }) => passThrough === 'write') && {
      uploadTimeout: UPLOAD,
    }),
    ...(tls && { tls }),
  })
  let waiting = false
  const { patience, observer } = options
  const onWaiting: Patience['onWaiting'] = error => {
    waiting = true
    patience?.onWaiting(error)
  }
  /** That it is away is told by whoever waits, and not at each try. */
  const onStoreEvent: Observer['onStoreEvent'] = event => {
    if (!waiting || event.event !== 'unreachable') observer?.onStoreEvent?.(event)
  }
  const behind = { ...options, observer: { ...observer, onStoreEvent } }
  try {
    return await openPatiently(
      async () => {
        const opened = await openBehind(front, tls, behind)
        waiting = false
        return opened
      },
      front,
      patience && { ...patience, onWaiting },
    )
  } catch (error) {
    await front.close()
    throw error
  }
}

const openBehind = async (
  front: Front,
  tls: Certificate | undefined,
  options: AttestryOptions,
): Promise<Attestry> => {
  const { settings, observer = {}, metrics, now = () => new Date() } = options
  const watched = watchLogs(settings, observer)
  const rooms = await openRooms({
    worker: 1,
    ...options,
    observer: { ...observer, ...(watched && { onAttested: watched.see }) },
  })
  const { store, policies, views, upstreams, trust, instance, close } = rooms
  const gates: Gate[] = []
  let follower: Follower | undefined
  let stopping = false
  try {
    const sealer = await openSealing({
      settings: settings.auditLog,
      storage: settings.storage.path,
      audit: store.audit,
      ...(settings.storage.postgres && { records: store.records }),
      onEvent: observer.onSealer,
      now,
    })
    rooms.closeWith(sealer)
    void sealer.seal()
    if (watched) rooms.closeWith(watched.start(rooms))
    const health = () => ({
      auditLog: sealer.state().fault === undefined ? 'signed' : 'fault',
      trust: healthOf(trust.status()),
      ...(follower && { rollout: follower.state() }),
      ...watched?.health(),
    })
    const { host } = settings.listen
    const { trustedProxies, tls: files } = settings.server
    const access = accessOf(settings, rooms, now)
    // the port may be known only now, and addresses are written into what the gate makes
    const server = await front.serve(port => {
      const gate = rooms.openGate(
        settings.publicUrlGiven
          ? settings.publicUrl
          : publicUrlOf({ host, port }, tls !== undefined),
      )
      gates.push(gate)
      return openHandler({
        gate,
        views: [...views.keys()],
        access,
        trustedProxies,
        instance,
        version,
        auditLog: store.audit,
        health,
        stopping: () => stopping,
        ...(metrics && { metrics }),
        observer,
      })
    })
    rooms.closeWith(front)
    if (files && tls) {
      const onError = (error: unknown) => observer.onError?.('certificate', error)
      const { renew } = server
      rooms.closeWith(watchCertificate({ files, certificate: tls, renew, onError }))
    }
    const tell = () => observer.onStatus?.(trust.status())
    tell()
    rooms.closeWith(
      followTrust({
        trust,
        interval: settings.cache.offline ? 0 : settings.trust.refresh,
        onError: error => observer.onError?.('trust', error),
        onTold: tell,
        now,
      }),
    )
    const unsubscribe = store.changes.subscribe(news => {
      if (news === 'resync' || news.topic !== 'trust') return
      // another process has other trust in force; it need not be told of what we have as well
      const ours = trust.status().upstreams.some(({ digest }) => digest === news.key)
      if (!ours) trust.renew().catch((error: unknown) => observer.onError?.('trust', error))
    })
    rooms.closeWith({ close: async () => unsubscribe() })
    const [gate] = gates
    if (!gate) throw new Error('a server without a gate')
    follower = judgeByPublished(gate, rooms, settings, options)
    if (follower) rooms.closeWith(follower)
    return {
      url: gate.publicUrl,
      port: server.port,
      gate,
      store,
      policies,
      views,
      ...(rooms.rollout && { rollout: rooms.rollout }),
      upstreams,
      trust,
      drain: () => {
        stopping = true
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
