/** All rooms put together from settings: what `attestry serve` runs and what a program may embed. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { publicUrlOf, type Settings, type UpstreamSettings } from './config/settings.ts'
import { AttestryError, messageOf } from './errors.ts'
import type { Examiner } from './evidence/examiner.ts'
import { openExaminer } from './evidence/open-examiner.ts'
import { openGate, type Gate, type GateObserver } from './gate/gate.ts'
import { openApp, type AppObserver } from './http/app.ts'
import { listen } from './http/server.ts'
import { parsePolicy } from './policy/parse.ts'
import type { Policy } from './policy/policy.ts'
import { openLocalStore } from './store/local.ts'
import type { StoreEvent } from './store/store-event.ts'
import type { Store } from './store/store.ts'
import { loadTrust } from './trust/load-trust.ts'
import { openUpstream } from './upstream/open-upstream.ts'
import type { UpstreamOutcome } from './upstream/options.ts'
import type { Upstream } from './upstream/upstream.ts'
import { version } from './version.ts'

export type Observer = GateObserver &
  AppObserver & {
    readonly onStoreEvent?: (event: StoreEvent) => void
    readonly onUpstream?: (outcome: UpstreamOutcome) => void
  }

export type AttestryOptions = {
  readonly settings: Settings
  readonly observer?: Observer
  readonly metrics?: () => Promise<{ readonly type: string; readonly text: string }>
  readonly now?: () => Date
}

export type Attestry = {
  /** Where clients reach it; ends with a slash. */
  readonly url: string
  readonly port: number
  readonly gate: Gate
  readonly store: Store
  readonly policies: readonly Policy[]
  readonly upstreams: ReadonlyMap<string, Upstream>
  /** Ends requests under way, background work, threads, connections and the store, in this order. */
  readonly close: () => Promise<void>
}

/** Reads the policy files; without any the built-in baseline judges. */
export const loadPolicies = async (files: readonly string[]): Promise<readonly Policy[]> =>
  Promise.all(
    files.map(async file => {
      try {
        return parsePolicy(await readFile(file, 'utf8'), { file, name: basename(file) })
      } catch (error) {
        if (error instanceof AttestryError) throw error
        throw new AttestryError('EPOLICY', `${file}: ${messageOf(error)}`, { cause: error })
      }
    }),
  )

const upstreamOf = async (
  settings: UpstreamSettings,
  limits: Settings['limits'],
  self: string,
  { onUpstream }: Observer,
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

const examinerFor = async (
  settings: Settings,
  upstream: UpstreamSettings,
): Promise<Examiner> => {
  const { kind } = upstream.registryKeys
  const trust = await loadTrust({
    roots: settings.trust.roots.map(root => (root.kind === 'file' ? root : 'public-good')),
    registryKeys: kind === 'file' ? upstream.registryKeys : kind,
  })
  const { workers, timeout } = settings.verification
  return openExaminer({ trust, workers, timeout })
}

/** A reserved name whose upstream is not configured would fail at the first request: say it now. */
const checkReservations = (policies: readonly Policy[], settings: Settings) => {
  const names = settings.upstreams.map(({ name }) => name)
  for (const { file, rules } of policies) {
    for (const rule of rules) {
      if (rule.upstream === undefined || names.includes(rule.upstream)) continue
      const place = `${file ?? 'policy'}:${rule.line ?? 1}`
      const message = `${place}: rule "${rule.name}" names the upstream ${rule.upstream}; configured are ${names.join(', ')}.`
      throw new AttestryError('ECONFIG', message)
    }
  }
}

/** Opens everything and listens. When a part fails to open, those opened before it are closed. */
export const openAttestry = async (options: AttestryOptions): Promise<Attestry> => {
  const { settings, observer = {}, now = () => new Date() } = options
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
    const policies = await loadPolicies(settings.policies)
    checkReservations(policies, settings)
    const half = Math.floor(storage.memory / 2)
    const store = opened(
      await openLocalStore({
        path: storage.path,
        maxBytes: storage.maxSize,
        memoryBytes: half,
        now,
        log: event => observer.onStoreEvent?.(event),
      }),
    )
    const instance = randomUUID()
    const upstreams = new Map<string, Upstream>()
    const examiners = new Map<string, Examiner>()
    for (const upstream of settings.upstreams) {
      upstreams.set(
        upstream.name,
        opened(await upstreamOf(upstream, limits, instance, observer)),
      )
      examiners.set(upstream.name, opened(await examinerFor(settings, upstream)))
    }
    let gate: Gate | undefined
    const { host } = settings.listen
    const server = await listen({
      host,
      port: settings.listen.port,
      requestTimeout: settings.server.requestTimeout,
      // the port may be known only now, and addresses are written into what the gate makes
      app: port => {
        const publicUrl = settings.publicUrlGiven
          ? settings.publicUrl
          : publicUrlOf({ host, port })
        gate = openGate({
          store,
          upstreams,
          examiners,
          policies,
          publicUrl,
          cache: { ...cache, memory: half },
          now,
          observer,
        })
        const { metrics } = options
        return openApp({ gate, instance, version, ...(metrics && { metrics }), observer })
      },
    })
    const running = gate as unknown as Gate
    opened(running)
    opened(server)
    const { publicUrl: url } = running
    return { url, port: server.port, gate: running, store, policies, upstreams, close }
  } catch (error) {
    await close()
    throw error
  }
}
