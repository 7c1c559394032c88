/**
 * Manifest confusion: a packument may say other things about a version than the package.json in
 * its tarball does. Package managers plan by the packument and run what is in the tarball, and
 * reviewers read either. Only differences by which somebody would be deceived are told; what npm
 * rewrites when it publishes (@npmcli/package-json, normalize steps) is no difference.
 */
import type { Readable } from 'node:stream'
import { messageOf } from '../errors.ts'
import type { Fact, ManifestAgreement } from '../types.ts'
import { sameRange } from './dependency-range.ts'
import { Finding, invalid, quote, refuse } from './finding.ts'
import {
  binName,
  binPath,
  bins,
  dependencyMap,
  installed,
  installScripts,
  isAbbreviated,
  toldDigest,
  trimmed,
  versionOf,
  type Manifest,
} from './manifest-fields.ts'
import { isRecord } from './statement.ts'
import { readTarball } from './tarball.ts'
import { tarballLimits, type TarballLimits } from './tarball-limits.ts'

/** `field` is a path such as `dependencies.lodash`; undefined: not there. */
export type Difference = {
  readonly field: string
  readonly tarball: string | undefined
  readonly packument: string | undefined
}

const fields = [
  'name',
  'version',
  'dependencies',
  'peerDependencies',
  'bin',
  'scripts',
] as const

const compareMaps = (
  field: string,
  tarball: ReadonlyMap<string, string>,
  packument: ReadonlyMap<string, string>,
  same: (a: string, b: string) => boolean,
): Difference[] =>
  [...new Set([...tarball.keys(), ...packument.keys()])].flatMap(key => {
    const [inside, told] = [tarball.get(key), packument.get(key)]
    const agree = inside !== undefined && told !== undefined && same(inside, told)
    return agree ? [] : [{ field: `${field}.${key}`, tarball: inside, packument: told }]
  })

/** `directories.bin` names a folder; npm lists its files in the packument. */
const compareBins = (tarball: Manifest, packument: Manifest): Difference[] => {
  const told = bins(packument)
  const folder = isRecord(tarball.directories) ? tarball.directories.bin : undefined
  if (bins(tarball).size > 0 || typeof folder !== 'string')
    return compareMaps('bin', bins(tarball), told, (a, b) => a === b)
  const inside = `${binPath(folder)}/`
  return [...told].flatMap(([key, path]) =>
    path.startsWith(inside) && binName(path) === key
      ? []
      : [{ field: `bin.${key}`, tarball: undefined, packument: path }],
  )
}

/**
 * A binding.gyp makes npm run node-gyp without any script; old packuments of honest packages do not
 * tell it and package.json does not either, so it is no difference between the two.
 */
const compareScripts = (tarball: Manifest, packument: Manifest): Difference[] => {
  const inside = installScripts(tarball)
  if (isAbbreviated(packument))
    return inside.size === 0 || packument.hasInstallScript === true
      ? []
      : [
          {
            field: 'hasInstallScript',
            tarball: [...inside.keys()].join(', '),
            packument: 'false',
          },
        ]
  const told = installScripts(packument)
  // a script that is only in the packument does not run
  return [...inside].flatMap(([hook, script]) =>
    told.get(hook) === script
      ? []
      : [{ field: `scripts.${hook}`, tarball: script, packument: told.get(hook) }],
  )
}

/** All differences; empty when the two agree. */
export const manifestDifferences = (
  tarball: Manifest,
  packument: Manifest,
): readonly Difference[] => {
  const plain = (field: string, inside: string | undefined, told: string | undefined) =>
    inside !== undefined && inside === told ? [] : [{ field, tarball: inside, packument: told }]
  return [
    ...plain('name', trimmed(tarball.name), trimmed(packument.name)),
    ...plain('version', versionOf(tarball.version), versionOf(packument.version)),
    ...compareMaps('dependencies', installed(tarball), installed(packument), sameRange),
    ...compareMaps(
      'peerDependencies',
      dependencyMap(tarball.peerDependencies),
      dependencyMap(packument.peerDependencies),
      sameRange,
    ),
    ...compareBins(tarball, packument),
    ...compareScripts(tarball, packument),
  ]
}

/** Reads a tarball and compares. Never rejects; runs where waiting on decompression does no harm. */
export const inspectTarball = async (
  tarball: Readable | AsyncIterable<Uint8Array> | Uint8Array,
  claimed: Manifest,
  limits: TarballLimits = tarballLimits,
): Promise<Fact<ManifestAgreement>> => {
  let broken: unknown
  const watched = async function* (pieces: AsyncIterable<Uint8Array>) {
    try {
      yield* pieces
    } catch (error) {
      broken = error
      throw error
    }
  }
  try {
    const source = tarball instanceof Uint8Array ? tarball : watched(tarball)
    const [first, ...more] = manifestDifferences(await readTarball(source, limits), claimed)
    if (first !== undefined)
      refuse(
        'MANIFEST_MISMATCH',
        `The packument and the package.json in the tarball differ in ${[first, ...more]
          .slice(0, 5)
          .map(({ field }) => quote(field))
          .join(', ')}${more.length > 4 ? ` and ${more.length - 4} more` : ''}.`,
        { wanted: first.packument ?? 'nothing', found: first.tarball ?? 'nothing' },
      )
    return { state: 'verified', compared: fields, told: toldDigest(claimed) }
  } catch (error) {
    // bytes that never came say nothing about the tarball
    if (broken !== undefined)
      return {
        state: 'unavailable',
        detail: `The bytes broke off: ${quote(messageOf(broken))}.`,
      }
    return error instanceof Finding
      ? error.fact
      : invalid('MANIFEST_MISMATCH', `The tarball cannot be read: ${quote(messageOf(error))}.`)
  }
}
