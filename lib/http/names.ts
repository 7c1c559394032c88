/** Names and versions in addresses: what is one, and EBADREQUEST for what is not. */
import { AttestryError } from '../errors.ts'
import type { PackageId } from '../types.ts'

/** npm's rules for old and new names together (validate-npm-package-name); never a path. */
const NAME = /^(?:@[a-z0-9\-_.~!'()*]+\/)?[a-z0-9\-_.~!'()*]+$/i
const VERSION = /^[0-9a-z][0-9a-z.+\-_]*$/i
const MAX_NAME = 214
const MAX_VERSION = 256

export const isPackageName = (name: string): boolean =>
  name.length <= MAX_NAME &&
  NAME.test(name) &&
  name.split('/').every(part => !/^@?\.{1,2}$/.test(part) && part !== '@')

export const isVersion = (version: string) =>
  version.length <= MAX_VERSION && VERSION.test(version)

export const bad = (what: string): never => {
  throw new AttestryError('EBADREQUEST', `The address is not one a registry has: ${what}.`)
}

export const nameOf = (name: string): string =>
  isPackageName(name) ? name : bad('no package name')

/** `name@version`, where the name may be scoped. */
export const packageIdOf = (id: string): PackageId => {
  const at = id.lastIndexOf('@')
  const [name, version] = [id.slice(0, at), id.slice(at + 1)]
  if (at <= 0 || !isPackageName(name) || !isVersion(version)) return bad('no name@version')
  return { name, version }
}

const decode = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return bad('a percent sign that encodes nothing')
  }
}

/** A path's segments, decoded; a slash that was encoded parts segments as well. */
export const segmentsOf = (path: string): readonly string[] =>
  path
    .split('/')
    .filter(segment => segment !== '')
    .map(decode)
    .join('/')
    .split('/')
