/** What of a manifest is compared, read as npm reads it: of package.json and of packuments alike. */
import { hash } from 'node:crypto'
import parse from 'semver/functions/parse.js'
import { revision } from '../revision.ts'
import { isRecord } from './statement.ts'

export type Manifest = Readonly<Record<string, unknown>>

/** npm cleans versions: `v1.0.0`, ` 1.0.0`, `1.0.0+build` are all published as 1.0.0. */
export const versionOf = (value: unknown): string | undefined =>
  typeof value === 'string'
    ? (parse(value, { loose: true })?.version ?? value.trim())
    : undefined

/** Very old packages have strings and lists where a map belongs; npm splits them like this. */
export const dependencyMap = (value: unknown): ReadonlyMap<string, string> => {
  const list = typeof value === 'string' ? value.trim().split(/[\s,]+/) : value
  if (Array.isArray(list))
    return new Map(
      list.flatMap((item: unknown) => {
        const found = /^(@?[^@\s><=]+)(.*)$/s.exec(typeof item === 'string' ? item.trim() : '')
        return found?.[1] ? [[found[1], (found[2] ?? '').replace(/^[@:]/, '').trim()]] : []
      }),
    )
  if (!isRecord(value)) return new Map()
  return new Map(
    Object.entries(value).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  )
}

/** Optional dependencies count among the others, as in packuments, and win over them, as in npm. */
export const installed = (manifest: Manifest): ReadonlyMap<string, string> =>
  new Map([
    ...dependencyMap(manifest.dependencies),
    ...dependencyMap(manifest.optionalDependencies),
  ])

/** A path as npm links it: no way out of the package (npm-normalize-package-bin). */
export const binPath = (path: string): string =>
  new URL(
    path.replaceAll('\\', '/').split('/').map(encodeURIComponent).join('/'),
    'file:///',
  ).pathname
    .slice(1)
    .replace(/\/+$/, '')

export const binName = (key: string): string =>
  key.replaceAll(/[\\:]/g, '/').split('/').at(-1) ?? ''

export const bins = ({ name, bin }: Manifest): ReadonlyMap<string, string> => {
  const entries: [string, unknown][] =
    typeof bin === 'string'
      ? [[typeof name === 'string' ? name : '', bin]]
      : Array.isArray(bin)
        ? bin.map((path: unknown) => [String(path), path])
        : isRecord(bin)
          ? Object.entries(bin)
          : []
  return new Map(
    entries.flatMap(([key, path]) =>
      typeof path === 'string' && path !== '' && binName(key) !== ''
        ? [[binName(key), binPath(path)]]
        : [],
    ),
  )
}

const hooks = ['preinstall', 'install', 'postinstall'] as const

/** The scripts a client would run when it installs; npm also drops node_modules/.bin from them. */
export const installScripts = ({ scripts }: Manifest): ReadonlyMap<string, string> =>
  new Map(
    hooks.flatMap(hook => {
      const script = isRecord(scripts) ? scripts[hook] : undefined
      return typeof script === 'string' && script.trim() !== ''
        ? [[hook, script.trim().replace(/^(\.[/\\])?node_modules[/\\]\.bin[/\\]/, '')]]
        : []
    }),
  )

/** Abbreviated packuments (application/vnd.npm.install-v1+json) leave scripts out and say so. */
export const isAbbreviated = (packument: Manifest) =>
  !('scripts' in packument) && !('_id' in packument) && !('maintainers' in packument)

export const trimmed = (value: unknown) =>
  typeof value === 'string' ? value.trim() : undefined

/**
 * Over everything that a packument's manifest is asked when it is compared: an agreement holds as
 * long as this is the same. sha256, base64url; with the revision of what compares.
 */
export const toldDigest = (packument: Manifest): string => {
  const sorted = (map: ReadonlyMap<string, string>) =>
    [...map].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const said = [
    revision,
    trimmed(packument.name),
    versionOf(packument.version),
    sorted(installed(packument)),
    sorted(dependencyMap(packument.peerDependencies)),
    sorted(bins(packument)),
    isAbbreviated(packument)
      ? packument.hasInstallScript === true
      : sorted(installScripts(packument)),
  ]
  return hash('sha256', JSON.stringify(said), 'base64url')
}
