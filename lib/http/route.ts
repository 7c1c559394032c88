/**
 * Addresses → what is asked for. By hand, because scoped names come in three encodings
 * (`/@s/n`, `/@s%2fn`, `/@s%2fn/-/n-1.0.0.tgz`) and a router that decodes once too often or too
 * little loses one of them.
 */
import { AttestryError } from '../errors.ts'
import type { PackageId } from '../types.ts'

export type Route =
  | { readonly kind: 'index' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'attestations'; readonly id: PackageId }
  | { readonly kind: 'dist-tags'; readonly name: string }
  | { readonly kind: 'packument'; readonly name: string }
  | { readonly kind: 'manifest'; readonly name: string; readonly versionOrTag: string }
  | { readonly kind: 'tarball'; readonly id: PackageId }
  | { readonly kind: 'why'; readonly id: PackageId }
  | { readonly kind: 'live' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'metrics' }
  | { readonly kind: 'unknown' }

/** npm's rules for old and new names together (validate-npm-package-name); never a path. */
const NAME = /^(?:@[a-z0-9\-_.~!'()*]+\/)?[a-z0-9\-_.~!'()*]+$/i
const VERSION = /^[0-9a-z][0-9a-z.+\-_]*$/i
const MAX_NAME = 214
const MAX_VERSION = 256

export const isPackageName = (name: string): boolean =>
  name.length <= MAX_NAME &&
  NAME.test(name) &&
  name.split('/').every(part => !/^@?\.{1,2}$/.test(part) && part !== '@')

const isVersion = (version: string) => version.length <= MAX_VERSION && VERSION.test(version)

const bad = (what: string): never => {
  throw new AttestryError('EBADREQUEST', `The address is not one a registry has: ${what}.`)
}

const nameOf = (name: string): string => (isPackageName(name) ? name : bad('no package name'))

/** `name@version`, where the name may be scoped. */
export const packageIdOf = (id: string): PackageId => {
  const at = id.lastIndexOf('@')
  const [name, version] = [id.slice(0, at), id.slice(at + 1)]
  if (at <= 0 || !isPackageName(name) || !isVersion(version)) return bad('no name@version')
  return { name, version }
}

/** The npm layout: the file is the name without its scope, a dash, the version, `.tgz`. */
const tarballId = (name: string, file: string): PackageId => {
  const base = nameOf(name).slice(name.indexOf('/') + 1)
  const version = file.slice(base.length + 1, -'.tgz'.length)
  const fits = file.startsWith(`${base}-`) && file.endsWith('.tgz') && isVersion(version)
  return fits ? { name, version } : bad('no tarball of that package')
}

const decode = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return bad('a percent sign that encodes nothing')
  }
}

const registryRoute = (path: readonly string[]): Route => {
  const [area, ...rest] = path
  const tail = rest.join('/')
  if (area === 'ping' && rest.length === 0) return { kind: 'ping' }
  if (area === 'npm' && tail === 'v1/keys') return { kind: 'keys' }
  if (area === 'npm' && tail.startsWith('v1/attestations/')) {
    return { kind: 'attestations', id: packageIdOf(tail.slice('v1/attestations/'.length)) }
  }
  if (area === 'package' && tail.endsWith('/dist-tags')) {
    return { kind: 'dist-tags', name: nameOf(tail.slice(0, -'/dist-tags'.length)) }
  }
  if (area !== 'attestry') return { kind: 'unknown' }
  if (tail.startsWith('why/')) return { kind: 'why', id: packageIdOf(tail.slice(4)) }
  if (tail === 'health/live') return { kind: 'live' }
  if (tail === 'health/ready') return { kind: 'ready' }
  return tail === 'metrics' ? { kind: 'metrics' } : { kind: 'unknown' }
}

const packageRoute = (path: readonly string[]): Route => {
  const scoped = path[0]?.startsWith('@') === true
  const name = nameOf(path.slice(0, scoped ? 2 : 1).join('/'))
  const rest = path.slice(scoped ? 2 : 1)
  if (rest.length === 0) return { kind: 'packument', name }
  if (rest[0] === '-') {
    // Artifactory repeats the scope in front of the file
    const file = scoped && rest.length === 3 && rest[1] === path[0] ? rest[2] : rest[1]
    const length = file === rest[2] ? 3 : 2
    return file && rest.length === length
      ? { kind: 'tarball', id: tarballId(name, file) }
      : { kind: 'unknown' }
  }
  const [versionOrTag, ...more] = rest
  return versionOrTag && more.length === 0
    ? { kind: 'manifest', name, versionOrTag }
    : { kind: 'unknown' }
}

/** `target` is the request's target as received: path and query, still encoded. */
export const routeOf = (target: string): Route => {
  const [path = '/'] = target.split('?', 1)
  const decoded = path
    .split('/')
    .filter(segment => segment !== '')
    .map(decode)
    .join('/')
    .split('/')
  if (decoded[0] === '') return { kind: 'index' }
  // a package may be called "-": its tarball is /-/-/--1.0.0.tgz
  if (decoded[0] === '-' && decoded[1] !== '-' && decoded.length > 1) {
    return registryRoute(decoded.slice(1))
  }
  return packageRoute(decoded)
}
