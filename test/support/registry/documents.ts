/** The documents a registry answers with, made from what was published. */
import type { Attestation } from '../local-sigstore.ts'
import { slsaV1 } from '../local-sigstore.ts'

export type Signature = { readonly keyid: string; readonly sig: string }

export type Release = {
  readonly name: string
  readonly version: string
  readonly manifest: Readonly<Record<string, unknown>>
  readonly tarball: Buffer | undefined
  readonly integrity: string | undefined
  readonly shasum: string
  readonly publishedAt: string
  readonly signatures: readonly Signature[]
  readonly attestations: readonly Attestation[]
}

export type PackageRecord = {
  readonly name: string
  readonly releases: Map<string, Release>
  readonly tags: Map<string, string>
  /** Extra top-level fields of the full packument. */
  readonly extra: Readonly<Record<string, unknown>>
}

export type Strip = { readonly signatures: boolean; readonly attestations: boolean }

export const tarballPath = (name: string, version: string) =>
  `${name}/-/${name.split('/').at(-1)}-${version}.tgz`

/** Fields the abbreviated form keeps (npm/registry docs/responses/package-metadata.md). */
const abbreviatedFields = new Set(
  (
    'name version dependencies optionalDependencies devDependencies peerDependencies ' +
    'peerDependenciesMeta bundleDependencies bin directories dist engines os cpu libc ' +
    'deprecated hasInstallScript _hasShrinkwrap funding _npmUser'
  ).split(' '),
)

const dist = (release: Release, base: string, tarballBase: string, strip: Strip) => {
  const { name, version, attestations } = release
  const predicate = attestations.find(({ predicateType }) => predicateType.includes('slsa'))
  return {
    ...(release.integrity === undefined ? {} : { integrity: release.integrity }),
    shasum: release.shasum,
    tarball: `${tarballBase}${tarballPath(name, version)}`,
    ...(strip.signatures || release.signatures.length === 0
      ? {}
      : { signatures: release.signatures }),
    ...(strip.attestations || attestations.length === 0
      ? {}
      : {
          attestations: {
            url: `${base}-/npm/v1/attestations/${name}@${version}`,
            provenance: { predicateType: predicate?.predicateType ?? slsaV1 },
          },
        }),
  }
}

export const manifestOf = (
  release: Release,
  base: string,
  tarballBase: string,
  strip: Strip,
): Record<string, unknown> => ({
  ...release.manifest,
  name: release.name,
  version: release.version,
  _id: `${release.name}@${release.version}`,
  dist: dist(release, base, tarballBase, strip),
})

const pick = (manifest: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(manifest).filter(([field]) => abbreviatedFields.has(field)))

export const packumentOf = (
  { name, releases, tags, extra }: PackageRecord,
  base: string,
  tarballBase: string,
  form: 'full' | 'abbreviated',
  strip: Strip,
): Record<string, unknown> => {
  const list = [...releases.values()]
  const times = list.map(({ publishedAt }) => publishedAt).toSorted()
  const created = times.at(0) ?? new Date(0).toISOString()
  const modified = times.at(-1) ?? created
  const manifests = list.map(
    release => [release.version, manifestOf(release, base, tarballBase, strip)] as const,
  )
  if (form === 'abbreviated') {
    const versions = Object.fromEntries(manifests.map(([v, manifest]) => [v, pick(manifest)]))
    return { name, modified, 'dist-tags': Object.fromEntries(tags), versions }
  }
  return {
    ...extra,
    _id: name,
    name,
    'dist-tags': Object.fromEntries(tags),
    versions: Object.fromEntries(manifests),
    time: {
      created,
      modified,
      ...Object.fromEntries(list.map(({ version, publishedAt }) => [version, publishedAt])),
    },
  }
}
