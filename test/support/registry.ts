/**
 * An npm registry on loopback, in memory: packuments in both forms, tarballs, attestations, keys
 * and dist-tags, with a log of requests and faults that can be switched while it runs. With a
 * local sigstore it signs what is published as npm's registry does.
 */
import { createHash } from 'node:crypto'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import {
  integrityOf,
  type Attestation,
  type GithubPublisher,
  type LocalSigstore,
  type ProvenanceOptions,
} from './local-sigstore.ts'
import {
  tarballPath,
  type PackageRecord,
  type Release,
  type Signature,
} from './registry/documents.ts'
import { listen, noFaults, type Faults, type SeenRequest } from './registry/server.ts'
import { routesOf } from './registry/routes.ts'
import { noise, packTarball, type Files } from './registry/tarball.ts'

export { noise, packTarball, type Files } from './registry/tarball.ts'
export type { Faults, SeenRequest } from './registry/server.ts'
export type { Release, Signature } from './registry/documents.ts'

export type RegistryOptions = {
  /** Signs what is published, and lists its keys. */
  readonly sigstore?: LocalSigstore
  /** What publish attestations name as registry; default npm's own, as in a mirror of it. */
  readonly registryName?: string
  /** Path the registry lives under; default `/`. */
  readonly prefix?: string
  /** Every request must bear this token. */
  readonly token?: string
}

export type Publication = {
  readonly name: string
  readonly version: string
  /** Files beside package.json. */
  readonly files?: Files
  /** Further fields of package.json, which the packument repeats. */
  readonly manifest?: Readonly<Record<string, unknown>>
  /** Fields only the packument has: lies about the tarball. `undefined` leaves a field out. */
  readonly packumentManifest?: Readonly<Record<string, unknown>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly deprecated?: string
  /** ISO 8601; default 2026-01-01 and a minute more for each release of the registry. */
  readonly publishedAt?: string
  /** The dist-tag to set; `false` for none. */
  readonly tag?: string | false
  /** Pads the tarball with about this many bytes that do not compress. */
  readonly size?: number
  /** These bytes instead of packing any. */
  readonly tarball?: Buffer
  /** What the packument claims; `undefined` claims nothing. Default: what the bytes are. */
  readonly integrity?: string | undefined
  /** Registry signatures; default one by the sigstore's first key, where there is a sigstore. */
  readonly signed?: boolean | readonly Signature[]
  /**
   * Provenance with the publish attestation beside it, both signed when it was published. `true`
   * is by the default publisher; a publisher or options give another. Default none.
   */
  readonly provenance?: true | GithubPublisher | Partial<ProvenanceOptions>
  /** These attestations exactly, instead of `provenance`. */
  readonly attestations?: readonly Attestation[]
}

export type Published = Release & {
  readonly integrity: `sha512-${string}`
  readonly tarball: Buffer
  readonly tarballUrl: string
}

export type TestRegistry = {
  /** Ends with a slash. */
  readonly url: string
  readonly requests: SeenRequest[]
  readonly faults: Faults
  /** All faults off. */
  heal(): void
  /** Requests whose path matches, oldest first. */
  asked(path: RegExp | string): readonly SeenRequest[]
  publish(publication: Publication): Promise<Published>
  /** Adds versions that have no tarball, until the full packument has about `bytes` bytes. */
  grow(name: string, bytes: number): void
  unpublish(name: string, version: string): void
  /** Replaces parts of what a release serves, after its publication. */
  amend(
    name: string,
    version: string,
    changes: Partial<Omit<Release, 'name' | 'version'>>,
  ): void
  tag(name: string, tag: string, version: string): void
  close(): Promise<void>
}

const isOptions = (value: object): value is Partial<ProvenanceOptions> =>
  !('repository' in value)

const provenanceFor = (given: Publication['provenance']): Partial<ProvenanceOptions> =>
  given === undefined || given === true ? {} : isOptions(given) ? given : { publisher: given }

const packed = (publication: Publication): Buffer => {
  const { name, version, files = {}, manifest = {}, dependencies, size = 0 } = publication
  const json = { name, version, ...manifest, ...(dependencies ? { dependencies } : {}) }
  const own: Record<string, string | Uint8Array> = {
    'package.json': `${JSON.stringify(json, null, 2)}\n`,
    ...(Object.keys(files).length === 0
      ? { 'index.js': `module.exports = ${JSON.stringify(`${name}@${version}`)}\n` }
      : files),
  }
  return size === 0
    ? packTarball(own)
    : packTarball({ ...own, 'padding.bin': noise(size) }, size > 1_000_000 ? 0 : 6)
}

export const startRegistry = async (options: RegistryOptions = {}): Promise<TestRegistry> => {
  const { sigstore, prefix = '/' } = options
  const packages = new Map<string, PackageRecord>()
  const requests: SeenRequest[] = []
  const faults = noFaults()
  let cache = new Map<string, Buffer>()
  let base = ''
  let published = 0

  const cached = (key: string, make: () => unknown): Buffer => {
    const body = cache.get(key) ?? Buffer.from(JSON.stringify(make()))
    cache.set(key, body)
    return body
  }
  const changed = () => {
    cache = new Map()
  }
  const record = (name: string): PackageRecord => {
    const found = packages.get(name)
    if (found !== undefined) return found
    const fresh = { name, releases: new Map(), tags: new Map(), extra: {} }
    packages.set(name, fresh)
    return fresh
  }
  const release = (name: string, version: string): Release => {
    const found = packages.get(name)?.releases.get(version)
    if (found === undefined) throw new Error(`${name}@${version} was not published here`)
    return found
  }

  const route = routesOf({ packages, sigstore, cached, base: () => base })
  const { server, port } = await listen({
    prefix,
    token: options.token,
    faults,
    requests,
    route,
  })
  server.unref()
  const origin = `http://127.0.0.1:${port}`
  base = `${origin}${prefix}`

  const attestationsFor = async (
    publication: Publication,
    integrity: string,
    publishedAt: string,
  ) => {
    if (publication.attestations !== undefined) return publication.attestations
    if (publication.provenance === undefined) return []
    if (sigstore === undefined) throw new Error('provenance needs a registry with a sigstore')
    const { name, version } = publication
    const given = { signedAt: publishedAt, ...provenanceFor(publication.provenance) }
    const artifact = { name, version, integrity, signedAt: given.signedAt }
    const registry = options.registryName ?? new URL(npmRegistry).origin
    return Promise.all([
      sigstore.attestPublish({ ...artifact, registry }),
      sigstore.attestProvenance({ ...artifact, ...given }),
    ])
  }

  const publish = async (publication: Publication): Promise<Published> => {
    const { name, version, signed = sigstore !== undefined, tag = 'latest' } = publication
    const tarball = publication.tarball ?? packed(publication)
    const integrity = integrityOf(tarball)
    const claimed = 'integrity' in publication ? publication.integrity : integrity
    const minute = new Date(Date.UTC(2026, 0, 1, 0, published++)).toISOString()
    const publishedAt = publication.publishedAt ?? minute
    const signatures =
      typeof signed !== 'boolean'
        ? signed
        : signed && sigstore !== undefined
          ? [sigstore.signRegistry(name, version, integrity)]
          : []
    const { manifest, packumentManifest, dependencies, deprecated } = publication
    const made: Release = {
      name,
      version,
      manifest: {
        ...manifest,
        ...(dependencies === undefined ? {} : { dependencies }),
        ...(deprecated === undefined ? {} : { deprecated }),
        ...packumentManifest,
      },
      tarball,
      integrity: claimed,
      shasum: createHash('sha1').update(tarball).digest('hex'),
      publishedAt,
      signatures,
      attestations: await attestationsFor(publication, integrity, publishedAt),
    }
    const { releases, tags } = record(name)
    releases.set(version, made)
    if (tag !== false) tags.set(tag, version)
    changed()
    return { ...made, tarball, integrity, tarballUrl: base + tarballPath(name, version) }
  }

  const grow = (name: string, bytes: number) => {
    const { releases } = record(name)
    const each = 8_192
    for (let n = 0, size = 0; size < bytes; n++, size += each) {
      const version = `0.0.${n}`
      releases.set(version, {
        name,
        version,
        manifest: { description: 'x'.repeat(each - 512) },
        tarball: undefined,
        integrity: integrityOf(Buffer.from(version)),
        shasum: createHash('sha1').update(version).digest('hex'),
        publishedAt: new Date(Date.UTC(2020, 0, 1, 0, n)).toISOString(),
        signatures: [],
        attestations: [],
      })
    }
    changed()
  }

  return {
    url: base,
    requests,
    faults,
    heal: () => void Object.assign(faults, noFaults()),
    asked: path =>
      requests.filter(seen =>
        typeof path === 'string' ? seen.path === path : path.test(seen.path),
      ),
    publish,
    grow,
    unpublish: (name, version) => {
      const { releases, tags } = record(name)
      releases.delete(version)
      for (const [tag, tagged] of tags) if (tagged === version) tags.delete(tag)
      changed()
    },
    amend: (name, version, changes) => {
      record(name).releases.set(version, { ...release(name, version), ...changes })
      changed()
    },
    tag: (name, tag, version) => {
      record(name).tags.set(tag, release(name, version).version)
      changed()
    },
    close: () =>
      new Promise<void>(done => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
