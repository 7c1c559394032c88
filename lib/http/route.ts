/**
 * Addresses → what is asked for. By hand, because scoped names come in three encodings
 * (`/@s/n`, `/@s%2fn`, `/@s%2fn/-/n-1.0.0.tgz`) and a router that decodes once too often or too
 * little loses one of them.
 */
import { parseTilePath, type TilePath } from '../transparency/tile-path.ts'
import type { PackageId } from '../types.ts'
import { bad, isVersion, nameOf, packageIdOf, segmentsOf } from './names.ts'
import { passRoute, type PassRoute } from './pass-route.ts'

export type Route =
  | { readonly kind: 'index' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'attestations'; readonly id: PackageId }
  | { readonly kind: 'dist-tags'; readonly name: string; readonly tag?: string }
  | { readonly kind: 'search'; readonly query: string }
  /** Advisories: today's form, and the one of older clients. */
  | { readonly kind: 'advisories' }
  | { readonly kind: 'audits' }
  | { readonly kind: 'packument'; readonly name: string }
  | { readonly kind: 'manifest'; readonly name: string; readonly versionOrTag: string }
  | { readonly kind: 'tarball'; readonly id: PackageId }
  | { readonly kind: 'why'; readonly id: PackageId }
  /** Where a client is led that shows no more of a refusal than its address. */
  | { readonly kind: 'refused'; readonly id: PackageId }
  | { readonly kind: 'vsa'; readonly id: PackageId }
  | { readonly kind: 'live' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'metrics' }
  /** The audit log: its checkpoint, its tree, and what is in it. */
  | { readonly kind: 'log-checkpoint' }
  | { readonly kind: 'log-tile'; readonly tile: TilePath }
  | { readonly kind: 'log-entries'; readonly tile: TilePath }
  /** Taking a vouch in, and back. */
  | { readonly kind: 'vouch' }
  | { readonly kind: 'revocation' }
  | { readonly kind: 'unknown' }
  | PassRoute

/** The npm layout: the file is the name without its scope, a dash, the version, `.tgz`. */
const tarballId = (name: string, file: string): PackageId => {
  const base = nameOf(name).slice(name.indexOf('/') + 1)
  const version = file.slice(base.length + 1, -'.tgz'.length)
  const fits = file.startsWith(`${base}-`) && file.endsWith('.tgz') && isVersion(version)
  return fits ? { name, version } : bad('no tarball of that package')
}

const logRoute = (path: string): Route => {
  if (path === 'checkpoint') return { kind: 'log-checkpoint' }
  const tile = parseTilePath(path)
  if (tile === undefined) return { kind: 'unknown' }
  return { kind: tile.level === 'entries' ? 'log-entries' : 'log-tile', tile }
}

const registryRoute = (path: readonly string[]): Route => {
  const [area, ...rest] = path
  const tail = rest.join('/')
  if (area === 'ping' && rest.length === 0) return { kind: 'ping' }
  if (area === 'npm' && tail === 'v1/keys') return { kind: 'keys' }
  if (area === 'npm' && tail.startsWith('v1/attestations/')) {
    return { kind: 'attestations', id: packageIdOf(tail.slice('v1/attestations/'.length)) }
  }
  if (area === 'package') {
    const [, name, tag] = /^((?:@[^/]+\/)?[^/]+)\/dist-tags(?:\/(.+))?$/.exec(tail) ?? []
    if (name !== undefined)
      return { kind: 'dist-tags', name: nameOf(name), ...(tag !== undefined && { tag }) }
  }
  if (area !== 'attestry') return { kind: 'unknown' }
  if (tail.startsWith('why/')) return { kind: 'why', id: packageIdOf(tail.slice(4)) }
  // the last step is there to be read by people
  if (tail.startsWith('refused/'))
    return { kind: 'refused', id: packageIdOf(rest.slice(1, -1).join('/')) }
  if (tail.startsWith('vsa/')) return { kind: 'vsa', id: packageIdOf(tail.slice(4)) }
  if (tail === 'health/live') return { kind: 'live' }
  if (tail === 'health/ready') return { kind: 'ready' }
  if (tail.startsWith('log/')) return logRoute(tail.slice('log/'.length))
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

/** What is answered here, whatever the method; those of `POST` are asked for with no other. */
const ownRoute = (path: readonly string[]): Route => {
  if (path[0] === '') return { kind: 'index' }
  // a package may be called "-": its tarball is /-/-/--1.0.0.tgz
  if (path[0] === '-' && path[1] !== '-' && path.length > 1) return registryRoute(path.slice(1))
  return packageRoute(path)
}

const postRoutes: Readonly<Record<string, Route>> = {
  '-/npm/v1/security/advisories/bulk': { kind: 'advisories' },
  '-/npm/v1/security/audits': { kind: 'audits' },
  '-/npm/v1/security/audits/quick': { kind: 'audits' },
  '-/attestry/vouches': { kind: 'vouch' },
  '-/attestry/vouches/revoke': { kind: 'revocation' },
}

/**
 * `target` is the request's target as received: path and query, still encoded. With a method other
 * than GET and HEAD: what may be asked with it, else what is there to be asked with GET.
 */
export const routeOf = (target: string, method = 'GET'): Route => {
  const [path = '/'] = target.split('?', 1)
  const query = target.slice(path.length + 1)
  const segments = segmentsOf(path)
  const passed = passRoute(method, segments, query)
  if (passed) return passed
  if (method === 'POST') {
    const posted = postRoutes[segments.join('/')]
    if (posted) return posted
  }
  if (segments.join('/') === '-/v1/search') return { kind: 'search', query }
  return ownRoute(segments)
}
