/**
 * Packuments: asked of the upstream when they are older than the time to live, kept through an
 * upstream's absence, and watched, so that we know which versions appeared under our eyes.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import { AttestryError, messageOf } from '../errors.ts'
import type { Change, Store } from '../store/store.ts'
import type { PackumentAnswer, Upstream } from '../upstream/upstream.ts'
import type { Alone } from './alone.ts'
import { openFlights } from './flights.ts'
import type { Manifest } from './claims.ts'
import {
  comesFrom,
  exchanged,
  indexOf,
  openPackageRecords,
  standsIn,
  watch,
} from './package-records.ts'
import {
  claimsIn,
  indexWeight,
  loadText,
  storeText,
  type PackageHead,
  type PackageIndex,
} from './package-index.ts'
import { openPackument, type Packument } from './packument.ts'
import { openTexts } from './texts.ts'

export type PackagesOptions = {
  readonly store: Store
  readonly alone: Alone
  /** Tells other processes. */
  readonly tell: (change: Change) => void
  readonly upstreamFor: (name: string) => Upstream
  readonly now: () => Date
  /** Milliseconds after which the upstream is asked again. */
  readonly ttl: number
  /** Milliseconds for which an unreachable upstream's last word still serves. */
  readonly staleIfError: number
  /** Milliseconds past `ttl` for which what we have is served at once, and the upstream asked behind. */
  readonly staleWhileRevalidate?: number
  /** Milliseconds for which "there is no such package" is remembered. */
  readonly negativeTtl: number
  /** Bytes of claims held in memory. */
  readonly memory: number
  /** Takes a refresh that nobody waits for; without it all are waited for. */
  readonly later?: (key: string, work: () => Promise<void>) => boolean
  readonly onStale?: (name: string, upstream: string, error: unknown) => void
  readonly onFresh?: (index: PackageIndex) => void
}

export type Packages = ReturnType<typeof openPackages>

/** After a failure the upstream is left alone for this long (milliseconds) where we have an answer. */
const COOL_DOWN = 5_000

/** Packages without text that are held, some 500 bytes each. */
const HEADS = 20_000

const notFound = (name: string, upstream: string) =>
  new AttestryError('ENOTFOUND', `The upstream ${upstream} has no package ${name}.`)

export const openPackages = (options: PackagesOptions) => {
  const { store, upstreamFor, ttl, staleIfError, negativeTtl } = options
  const now = () => options.now().getTime()
  const indexes = new LRUCache<string, PackageIndex>({
    maxSize: options.memory,
    sizeCalculation: indexWeight,
  })
  /** Of packages whose text nobody here has read yet. */
  const heads = new LRUCache<string, PackageHead>(atMost(HEADS))
  /** A head must not outlive what took its place. */
  const put = (index: PackageIndex): void => {
    heads.delete(index.name)
    indexes.set(index.name, index)
  }
  /** How often others changed something. */
  let news = 0
  const missing = new LRUCache<string, true>({
    ...atMost(10_000),
    ttl: Math.max(1, negativeTtl),
  })
  const texts = openTexts(options.memory)
  const reading = openFlights<Packument>()
  const resting = new Map<string, number>()
  /** Names somebody changed through us since they were last asked for, each with a number of its own. */
  const expired = new LRUCache<string, number>(atMost(10_000))
  let expiries = 0
  const flight = openFlights<PackageIndex>()
  const records = openPackageRecords({
    store,
    upstreamFor,
    tell: options.tell,
    onRead: texts.hold,
  })

  const accept = async (
    name: string,
    upstream: Upstream,
    answer: PackumentAnswer & { kind: 'found' },
    before: PackageIndex | undefined,
  ) => {
    const at = now()
    const packument = await openPackument(answer.body, name)
    const read = await claimsIn(packument)
    const { versions } = packument
    const raw = await storeText(store.blobs, answer.body, answer.gzip)
    texts.hold(raw, packument, read.distTags)
    const others = before ? exchanged(before.versions, read.claims) : []
    const next = await records.keep(name, upstream, kept => ({
      upstream: upstream.name,
      ...(upstream.evidenceFrom !== undefined && { evidenceFrom: upstream.evidenceFrom }),
      raw,
      ...(answer.etag && { etag: answer.etag }),
      ...(answer.lastModified && { lastModified: answer.lastModified }),
      lookedAt: kept?.lookedAt ?? new Date(at).toISOString(),
      fetchedAt: answer.fetchedAt ?? at,
      versions,
      appeared: watch(kept, versions, others, at),
    }))
    const index = indexOf(name, next, read)
    options.onFresh?.(index)
    return index
  }

  /** Asks the upstream; `have` is what is in memory, with its text at hand. */
  const refresh = async (name: string, have: PackageIndex | undefined) => {
    const upstream = upstreamFor(name)
    const record = await records.get(name)
    // a name that now belongs to another upstream starts afresh: nothing of the old one may serve
    const kept = record && comesFrom(record, upstream) ? record : undefined
    const held = kept && (await records.load(name, kept, have))
    const validators =
      kept && held
        ? {
            ...(kept.etag && { etag: kept.etag }),
            ...(kept.lastModified && { lastModified: kept.lastModified }),
          }
        : undefined
    const answer = await upstream.packument(name, validators)
    if (answer.kind === 'missing') {
      missing.set(name, true)
      throw notFound(name, upstream.name)
    }
    if (answer.kind === 'not-modified') {
      if (!kept || !held)
        throw new AttestryError(
          'EUPSTREAMDATA',
          `The upstream ${upstream.name} answered 304 for ${name} although nothing was asked conditionally.`,
        )
      const fetchedAt = now()
      // what another process stored meanwhile is newer than this answer
      await records.confirm(name, kept, fetchedAt)
      return { ...held, fetchedAt, stale: false }
    }
    return accept(name, upstream, answer, held)
  }

  const held = async (name: string): Promise<PackageIndex | undefined> => {
    const index = indexes.get(name)
    if (index?.upstream === upstreamFor(name).name) return index
    return await records.stored(name, undefined, Number.NEGATIVE_INFINITY)
  }

  /** Asks now, once for all who want it; what was expired meanwhile stays so. */
  const renewed = async (name: string, have: PackageIndex | undefined, maxAge: number) => {
    const mark = expired.get(name)
    const since = now() - maxAge
    const index = await flight(`${name} ${mark ?? ''} ${maxAge === 0 ? 'now' : ''}`, () =>
      options.alone(
        `packument ${upstreamFor(name).name} ${name}`,
        async () => (mark === undefined ? await records.stored(name, have, since) : undefined),
        () => refresh(name, have),
      ),
    )
    put(index)
    if (expired.get(name) === mark) expired.delete(name)
    return index
  }

  /** Behind somebody's back: a failure leaves what we have, for the next look to tell of. */
  const renew = async (name: string, have: PackageIndex): Promise<void> => {
    const upstream = upstreamFor(name)
    if ((resting.get(upstream.name) ?? 0) > now()) return
    try {
      await renewed(name, have, ttl)
    } catch (error) {
      if (standsIn(error)) resting.set(upstream.name, now() + COOL_DOWN)
      options.onStale?.(name, upstream.name, messageOf(error))
    }
  }

  const look = async (name: string, maxAge: number): Promise<PackageIndex> => {
    const upstream = upstreamFor(name)
    const expires = expired.has(name)
    const have = await held(name)
    const age = have ? now() - have.fetchedAt : Number.POSITIVE_INFINITY
    if (have && age <= maxAge && !expires) {
      put(have)
      return have
    }
    const usable = have && age <= staleIfError
    const soon = !expires && maxAge === ttl && age <= ttl + (options.staleWhileRevalidate ?? 0)
    if (have && soon && options.later?.(`packument ${name}`, () => renew(name, have))) {
      put(have)
      return have
    }
    try {
      if (usable && (resting.get(upstream.name) ?? 0) > now()) {
        return { ...have, stale: true }
      }
      return await renewed(name, have, maxAge)
    } catch (error) {
      if (!usable || !standsIn(error)) throw error
      resting.set(upstream.name, now() + COOL_DOWN)
      options.onStale?.(name, upstream.name, messageOf(error))
      return { ...have, stale: true }
    }
  }

  /** The packument's text; asked anew of the upstream when the store no longer has it. */
  const loadPackument = async (index: PackageIndex): Promise<Packument> => {
    const text = await loadText(store.blobs, index.raw)
    if (text) return openPackument(text, index.name)
    indexes.delete(index.name)
    const again = await look(index.name, 0)
    const fresh = await loadText(store.blobs, again.raw)
    if (fresh) return openPackument(fresh, index.name)
    const message = `The packument of ${index.name} could not be kept; the store has no room for it.`
    throw new AttestryError('ESTORE', message)
  }

  const packument = async (index: PackageIndex): Promise<Packument> => {
    const cached = texts.get(index.raw)
    if (cached) return cached
    const loaded = await reading(index.raw, () => loadPackument(index))
    texts.set(index.raw, loaded)
    return loaded
  }

  const current = <T extends PackageHead>(have: T | undefined, name: string, maxAge: number) =>
    have?.upstream === upstreamFor(name).name &&
    !expired.has(name) &&
    now() - have.fetchedAt <= maxAge
      ? have
      : undefined

  /** In memory, and not older than that. */
  const fresh = (name: string, maxAge = ttl): PackageIndex | undefined =>
    current(indexes.get(name), name, maxAge)

  /** The same where its text need not be here. */
  const freshHead = (name: string, maxAge = ttl): PackageHead | undefined =>
    fresh(name, maxAge) ?? current(heads.get(name), name, maxAge)

  return {
    fresh,
    freshHead,
    staleIfError,

    /** In memory or in the store, and not older than that; asks nobody, and reads no text. */
    head: async (name: string, maxAge = ttl): Promise<PackageHead | undefined> => {
      const have = freshHead(name, maxAge)
      if (have || missing.has(name)) return have
      const before = news
      const stored = await records.head(name)
      const asked = freshHead(name, maxAge)
      if (asked) return asked
      // what was read while others changed something may be from before
      const found = before === news ? current(stored, name, maxAge) : undefined
      if (found) heads.set(name, found)
      return found
    },

    /**
     * The package as the upstream has it now, or as it was at most `maxAge` milliseconds ago.
     * Throws ENOTFOUND, or what the upstream's failure was when there is nothing to stand in.
     */
    get: async (name: string, maxAge = ttl): Promise<PackageIndex> => {
      const index = fresh(name, maxAge)
      if (index) return index
      if (missing.has(name)) throw notFound(name, upstreamFor(name).name)
      return look(name, maxAge)
    },

    /** Somebody changed it: the next to ask for it gets what the upstream has now. */
    expire: (name: string): void => {
      news++
      missing.delete(name)
      expired.set(name, ++expiries)
    },

    /**
     * Another process stored this revision. False when it is the one at hand, and nothing that was
     * made of it has to be made again.
     */
    changed: (name: string, raw: string): boolean => {
      news++
      missing.delete(name)
      if ((indexes.peek(name) ?? heads.peek(name))?.raw === raw) return false
      indexes.delete(name)
      heads.delete(name)
      return true
    },

    /** Nothing in memory counts any more but as what it was. */
    reset: (): void => {
      news++
      indexes.clear()
      heads.clear()
      missing.clear()
    },

    /** As it is stored now; another process may know more than this one. */
    latest: async (index: PackageIndex): Promise<PackageIndex> => {
      const found = await records.stored(index.name, index, index.fetchedAt + 1)
      if (found && found.raw !== index.raw) {
        put(found)
        options.onFresh?.(found)
      }
      return found ?? index
    },

    /** As it was when it was last asked for, however long ago; asks nobody. */
    known: async (name: string): Promise<PackageIndex | undefined> => {
      const index = await held(name)
      if (index) put(index)
      return index
    },

    packument,

    /** One version's manifest as the upstream gave it. */
    manifest: async (index: PackageIndex, version: string): Promise<Manifest> => {
      const manifest =
        texts.manifest(index.raw, version) ?? (await packument(index)).manifest(version)
      if (manifest) return manifest
      throw new AttestryError('ENOTFOUND', `${index.name} has no version ${version}.`)
    },
  }
}
