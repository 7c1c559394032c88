/**
 * What the benchmark's upstream holds, made at its start and the same every time but for keys and
 * signatures: packages of a whole application, three packuments and four tarballs of known sizes.
 * Everything has registry signatures, every sixth package provenance and a publish attestation.
 */
import { createHash } from 'node:crypto'
import { npmRegistry } from '../../lib/upstream/default-registry.ts'
import type { LocalSigstore } from '../support/local-sigstore.ts'
import { integrityOf } from '../support/local-sigstore.ts'
import { tarballPath, type PackageRecord, type Release } from '../support/registry/documents.ts'
import { noise, packTarball } from '../support/registry/tarball.ts'

export type MaterialOptions = {
  /** Packages of the application; about 20 in 21 of them have a tarball that is installed. */
  readonly packages: number
  /** Further large packages, for the cold start of many at once. */
  readonly large: number
}

export type Material = {
  readonly packages: readonly PackageRecord[]
  /** What an installation of the application asks for, without a leading slash. */
  readonly application: {
    readonly names: readonly string[]
    readonly tarballs: readonly string[]
  }
}

/** Numbers from 0 up to 1, the same every time (mulberry32). */
const randomFrom = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const words =
  'async array buffer cache client config core data error event file format hash http index json ' +
  'key list loader map merge module node object parse path plugin promise query queue range react ' +
  'register request resolve router runtime schema server shared stream string style sync template ' +
  'test text token tree type utils value version watch worker'
const vocabulary = words.split(' ')

type Random = () => number
const pickFrom = <T>(list: readonly T[], random: Random): T =>
  list[Math.floor(random() * list.length)] as T
const name = (random: Random) =>
  `${pickFrom(vocabulary, random)}-${pickFrom(vocabulary, random)}`

/** About `bytes` of the fields that the abbreviated form keeps, as compressible as real ones. */
const manifestOf = (bytes: number, random: Random): Record<string, unknown> => {
  const dependencies: Record<string, string> = {}
  const size = Math.max(0, bytes - 500)
  for (let used = 0; used < size;) {
    const key = name(random)
    dependencies[key] = `^${Math.floor(random() * 9)}.${Math.floor(random() * 9)}.0`
    used += key.length + 12
  }
  return { dependencies, engines: { node: '>= 18' } }
}

/** As many bytes, and nothing that an installer would look for. */
const optional = (dependencies: unknown) =>
  Object.fromEntries(Object.keys(dependencies ?? {}).map(key => [key, { optional: true }]))

const fakeDigest = (text: string, algorithm: string) =>
  createHash(algorithm).update(text).digest()

type Shape = {
  readonly name: string
  readonly versions: number
  /** Bytes of one version in the abbreviated packument. */
  readonly each: number
  /** Bytes of the newest version's tarball; without it there is none. */
  readonly tarball?: number
  readonly provenance?: boolean
}

const makePackage = async (
  shape: Shape,
  sigstore: LocalSigstore,
  random: Random,
): Promise<PackageRecord> => {
  const { name, versions, each } = shape
  const releases = new Map<string, Release>()
  // a package's versions mostly depend on the same things
  const shared = manifestOf(each, random)
  for (let i = 0; i < versions; i++) {
    const version = `${Math.floor(i / 100)}.${Math.floor(i / 10) % 10}.${i % 10}`
    const newest = i === versions - 1
    const usual = random() < 0.1 ? manifestOf(each, random) : shared
    // what it names is not there, so that a version that is installed must not want it
    const { dependencies, ...rest } = usual
    const manifest = newest ? { ...rest, peerDependenciesMeta: optional(dependencies) } : usual
    const tarball =
      newest && shape.tarball !== undefined
        ? packTarball(
            {
              'package.json': JSON.stringify({ ...manifest, name, version }),
              'padding.bin': noise(Math.max(0, shape.tarball - 700)),
            },
            0,
          )
        : undefined
    const integrity = tarball
      ? integrityOf(tarball)
      : `sha512-${fakeDigest(`${name}@${version}`, 'sha512').toString('base64')}`
    const publishedAt = new Date(Date.UTC(2023, 0, 1) + i * 3_600_000).toISOString()
    const attested = { name, version, integrity, signedAt: publishedAt }
    const attestations =
      newest && shape.provenance === true
        ? await Promise.all([
            sigstore.attestPublish({ ...attested, registry: new URL(npmRegistry).origin }),
            sigstore.attestProvenance(attested),
          ])
        : []
    releases.set(version, {
      name,
      version,
      manifest,
      tarball,
      integrity,
      shasum: fakeDigest(integrity, 'sha1').toString('hex'),
      publishedAt,
      signatures: [sigstore.signRegistry(name, version, integrity)],
      attestations,
    })
  }
  const newest = [...releases.keys()].at(-1) ?? '0.0.0'
  const extra = { description: name, maintainers: [{ name: 'acme' }], readme: '' }
  return { name, releases, tags: new Map([['latest', newest]]), extra }
}

/** Names are used in the cases of requests.ts. */
const fixed: readonly Shape[] = [
  { name: 'small', versions: 19, each: 690 },
  { name: 'medium', versions: 290, each: 900 },
  { name: 'large', versions: 2300, each: 2600 },
  ...Object.entries({ 'tar-10k': 8e3, 'tar-1m': 1e6, 'tar-4m': 4e6, 'tar-30m': 3e7 }).map(
    ([name, tarball]) => ({ name, versions: 3, each: 300, tarball, provenance: true }),
  ),
]

/** Sizes as they are found below a web application: many small ones, a few huge. */
const applicationShape = (index: number, random: Random): Shape => {
  const spread = () => Math.exp((random() + random() + random() - 1.5) * 2)
  return {
    name: index % 4 === 0 ? `@app/${name(random)}-${index}` : `${name(random)}-${index}`,
    versions: Math.min(900, Math.ceil(45 * spread())),
    each: 350 + Math.floor(random() * 500),
    ...(index % 21 === 20
      ? {}
      : { tarball: Math.min(6e6, Math.ceil(24_000 * spread() ** 1.6)) }),
    provenance: index % 6 === 0 && index % 21 !== 20,
  }
}

export const makeMaterial = async (
  { packages, large }: MaterialOptions,
  sigstore: LocalSigstore,
): Promise<Material> => {
  const random = randomFrom(20_260_101)
  const shapes = Array.from({ length: packages }, (_, i) => applicationShape(i, random))
  const larges = Array.from({ length: large }, (_, i) => ({
    name: `large-${i}`,
    versions: 2300,
    each: 2600,
  }))
  const made: PackageRecord[] = []
  for (const shape of [...fixed, ...larges, ...shapes])
    made.push(await makePackage(shape, sigstore, random))
  const application = made.slice(fixed.length + larges.length)
  return {
    packages: made,
    application: {
      names: application.map(({ name }) => name),
      tarballs: application.flatMap(({ name, releases }) =>
        [...releases.values()]
          .filter(({ tarball }) => tarball !== undefined)
          .map(({ version }) => tarballPath(name, version)),
      ),
    },
  }
}
