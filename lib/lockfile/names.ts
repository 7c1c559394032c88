/** Names, versions, integrities and tarball addresses, as far as all clients agree on them. */
import semver from 'semver'

// what registries ever accepted; a first dot would be a file that clients keep to themselves
const name = /^(?:@[\w~!*'()-][\w.~!*'()-]*\/)?[\w~!*'()-][\w.~!*'()-]*$/

/** Whether a registry can hold a package of that name. */
export const isPackageName = (text: string): boolean =>
  text.length <= 214 && name.test(text) && !/^(?:node_modules|favicon\.ico)$/i.test(text)

/** One exact version, also in the loose forms that old packages have; no range, no `v`. */
export const isVersion = (text: string): boolean =>
  /^\d/.test(text) && text.length <= 256 && semver.valid(text, { loose: true }) !== null

/** `name@rest` and `@scope/name@rest`, taken apart; `undefined` when there is no such `@`. */
export const splitAt = (text: string): { name: string; rest: string } | undefined => {
  const at = text.indexOf('@', 1)
  return at === -1 ? undefined : { name: text.slice(0, at), rest: text.slice(at + 1) }
}

/**
 * SRI with exactly one sha512: that one, in canonical base64. Anything else stays as it is
 * written: of two digests a client takes whichever fits.
 */
export const normalIntegrity = (text: string): string => {
  const found = new Set(
    text
      .split(/\s+/)
      .filter(part => part.startsWith('sha512-'))
      .map(part => Buffer.from(part.slice(7).split('?', 1)[0] ?? '', 'base64'))
      .filter(digest => digest.length === 64)
      .map(digest => `sha512-${digest.toString('base64')}`),
  )
  const [only] = found
  return only !== undefined && found.size === 1 ? only : text
}

/** A tarball's address in the layout of npm's registry: `<base><name>/-/<file>.tgz`. */
export type TarballAddress = {
  /** Everything before the name, with its slash. */
  readonly base: string
  /** Everything from the name on. */
  readonly path: string
  readonly fragment: string
  /** What the address names. The version is not taken out of `file`. */
  readonly name: string
  readonly file: string
}

const layout =
  /^(https?:\/\/[^/?#\s\\]+\/(?:[^/?#\s\\]+\/)*?)((?:((?:@|%40)[^/?#\s\\]+?)(?:\/|%2f))?([^/?#\s\\@]+)\/-\/([^/?#\s\\]+)\.tgz)(#[^\s]*)?$/i

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const tarballAddress = (address: string): TarballAddress | undefined => {
  // longer ones are no addresses, and the expression looks at every slash
  if (address.length > 2048) return undefined
  const [, base, path, scope, own, file, fragment = ''] = layout.exec(address) ?? []
  if (base === undefined || path === undefined || own === undefined || file === undefined)
    return undefined
  const name = decoded(scope === undefined ? own : `${scope}/${own}`)
  return { base, path, fragment, name, file: decoded(file) }
}

/** Whether an address of that layout names this very package version. */
export const isTarballOf = (
  address: TarballAddress,
  { name, version }: { readonly name: string; readonly version: string },
): boolean => {
  const own = name.slice(name.indexOf('/') + 1)
  const files = [`${own}-${version}`, `${own}-${version.replace(/\+.*$/, '')}`]
  return address.name === name && files.includes(address.file)
}
