/**
 * The trust in force for each upstream: sources opened once and shared, renewed in the background
 * when it is followed, put together anew when one of them changed. A source that cannot be renewed
 * leaves what it gave before in force, and that is told.
 */
import { join } from 'node:path'
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import type { TrustMaterial } from '../types.ts'
import { fingerprintOf } from './files.ts'
import { keysFile, readKeyList } from './key-folder.ts'
import { keysTargetOf, registryKeysOf, type FoundKeys } from './keys-source.ts'
import { assembleTrust } from './load-trust.ts'
import { openRootSource, type OpenRootSource } from './root-source.ts'
import type { KeysSource, RootSource } from './source.ts'
import { warningsOf, type TrustStatus, type UpstreamTrust } from './status.ts'
import type { SourceTerms } from './tuf-source.ts'

export type UpstreamSources = {
  readonly name: string
  readonly roots: readonly RootSource[]
  readonly registryKeys: KeysSource
  /** Folder of the keys that packages are signed with here: they count besides. */
  readonly signing?: string
  /** Addresses whose keys are looked for in TUF repositories, the upstream's own first. */
  readonly registries: readonly string[]
}

export type TrustChange = { readonly upstream: string; readonly material: TrustMaterial }

export type TrustObserver = {
  /** A source was asked; `failed` keeps what was in force. */
  readonly onRefresh?: (source: string, outcome: 'renewed' | 'failed', message?: string) => void
  /** Other trust is in force for an upstream. */
  readonly onTrust?: (change: TrustChange) => void
  /** After every look. */
  readonly onStatus?: (status: TrustStatus) => void
}

export type TrustRoomOptions = {
  readonly upstreams: readonly UpstreamSources[]
  readonly terms: Omit<SourceTerms, 'signal'>
  readonly observer?: TrustObserver
  /** Puts other trust in force; what it throws leaves the old one. */
  readonly adopt?: (change: TrustChange) => Promise<void>
}

export type TrustRoom = {
  readonly materialOf: (upstream: string) => TrustMaterial
  readonly status: () => TrustStatus
  /** Asks every source anew, over the network where that is allowed and wanted. */
  readonly renew: (options?: { readonly network?: boolean }) => Promise<TrustStatus>
  /** Reads files that have changed and stayed so since the last look. */
  readonly look: () => Promise<void>
  /** Breaks off what is asked of mirrors, now and later; what is in force stays to be read. */
  readonly close: () => void
}

type Upstream = {
  readonly sources: UpstreamSources
  readonly roots: readonly OpenRootSource[]
  keys: FoundKeys
  material: TrustMaterial
  /** Why its registry keys could not be read anew. */
  failure?: { readonly message: string; readonly since: string }
}

const sourceText = (root: OpenRootSource): string => {
  const { label, origin } = root.status()
  return origin === 'shipped' ? `${label} (as shipped in @sigstore/tuf)` : label
}

/** Throws ETRUST, or ESIGNING for the folder of our own. */
const keysOf = async (
  { registryKeys, signing, registries }: UpstreamSources,
  roots: readonly OpenRootSource[],
): Promise<FoundKeys> => {
  const found = await registryKeysOf(registryKeys, roots, registries)
  const own = signing === undefined ? [] : await readKeyList(signing)
  if (own.length === 0) return found
  return { keys: [...found.keys, ...own], from: `${found.from}, and our own` }
}

const materialFrom = (roots: readonly OpenRootSource[], keys: FoundKeys): TrustMaterial =>
  assembleTrust({
    roots: roots.map(root => root.document()),
    scopes: roots.map(({ scope }) => scope),
    registryKeys: keys.keys,
    sources: [...roots.map(sourceText), ...(keys.from === 'none' ? [] : [keys.from])],
  })

/** Throws ETRUST when a source gives nothing to begin with. */
export const openTrust = async (options: TrustRoomOptions): Promise<TrustRoom> => {
  const { observer = {}, adopt } = options
  const ended = new AbortController()
  const terms: SourceTerms = { ...options.terms, signal: ended.signal }
  const opened = new Map<string, OpenRootSource>()
  const upstreams = new Map<string, Upstream>()

  /** The same place with the same scope is opened once, whoever names it. */
  const open = async (source: RootSource, targets: readonly string[]) => {
    const key = JSON.stringify(source)
    const root = opened.get(key) ?? (await openRootSource(source, targets, terms))
    opened.set(key, root)
    return root
  }

  const keyFiles = () =>
    [...upstreams.values()].flatMap(({ sources: { registryKeys, signing } }) => [
      ...(registryKeys.kind === 'file' ? [registryKeys.file] : []),
      ...(signing === undefined ? [] : [join(signing, keysFile)]),
    ])

  const targets = [
    ...new Set(
      options.upstreams.flatMap(({ registries, registryKeys }) =>
        registryKeys.kind === 'auto' || registryKeys.kind === 'tuf'
          ? registries.map(keysTargetOf)
          : [],
      ),
    ),
  ]
  for (const sources of options.upstreams) {
    if (sources.roots.length === 0)
      throw new AttestryError('ETRUST', 'No trusted root is configured; wanted at least one.')
    const roots: OpenRootSource[] = []
    for (const source of sources.roots) roots.push(await open(source, targets))
    const keys = await keysOf(sources, roots)
    const material = materialFrom(roots, keys)
    upstreams.set(sources.name, { sources, roots, keys, material })
  }
  let keysTaken = await fingerprintOf(keyFiles())
  let keysLooked = keysTaken

  const status = (): TrustStatus => {
    const sources = [...opened.values()].map(root => root.status())
    const all = [...upstreams].map(([upstream, { roots, keys, material }]): UpstreamTrust => ({
      upstream,
      digest: material.digest,
      roots: roots.map(root => root.status().name),
      keysFrom: keys.from,
      registryKeys: keys.keys,
    }))
    const failed = [...upstreams].flatMap(([upstream, { failure }]) => {
      const source = `registry keys of ${upstream}`
      return failure
        ? [
            {
              source,
              kind: 'refused' as const,
              message: `${source}: they could not be read anew since ${failure.since}, and what was in force stays: ${failure.message}`,
            },
          ]
        : []
    })
    return {
      sources,
      upstreams: all,
      warnings: [...warningsOf(sources, all, terms.now()), ...failed],
    }
  }

  /** What cannot be put in force leaves what was. */
  const settle = async (upstream: Upstream): Promise<void> => {
    const { sources, roots } = upstream
    const { name } = sources
    try {
      const keys = await keysOf(sources, roots)
      const material = materialFrom(roots, keys)
      if (material.digest !== upstream.material.digest) {
        await adopt?.({ upstream: name, material })
        observer.onTrust?.({ upstream: name, material })
      }
      upstream.keys = keys
      upstream.material = material
      delete upstream.failure
    } catch (error) {
      const known = isAttestryError(error) ? error.message : messageOf(error)
      const since = upstream.failure?.since ?? terms.now().toISOString()
      upstream.failure = { message: known, since }
      observer.onRefresh?.(`registry keys of ${name}`, 'failed', known)
    }
  }

  const settleAll = async () => {
    keysTaken = await fingerprintOf(keyFiles())
    keysLooked = keysTaken
    for (const upstream of upstreams.values()) await settle(upstream)
    observer.onStatus?.(status())
  }

  const renewOne = async (root: OpenRootSource, network: boolean) => {
    await root.renew(network)
    const { name, failure } = root.status()
    if (failure) observer.onRefresh?.(name, 'failed', failure.message)
    else observer.onRefresh?.(name, 'renewed')
  }

  let queue: Promise<unknown> = Promise.resolve()
  /** One after the other, whoever asks. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work)
    queue = result.catch(() => undefined)
    return result
  }

  return {
    materialOf: name => {
      const found = upstreams.get(name)
      if (found) return found.material
      throw new AttestryError('ECONFIG', `There is no upstream ${name}.`)
    },
    status,
    renew: ({ network = true } = {}) =>
      inTurn(async () => {
        for (const root of opened.values()) await renewOne(root, network && terms.network)
        await settleAll()
        return status()
      }),
    look: () =>
      inTurn(async () => {
        const changed: OpenRootSource[] = []
        for (const root of opened.values()) if (await root.settled()) changed.push(root)
        const keys = await fingerprintOf(keyFiles())
        const keysChanged = keys === keysLooked && keys !== keysTaken
        keysLooked = keys
        if (changed.length === 0 && !keysChanged) return
        for (const root of changed) await renewOne(root, terms.network)
        await settleAll()
      }),
    close: () => ended.abort(),
  }
}
