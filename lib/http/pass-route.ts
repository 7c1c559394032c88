/**
 * Addresses that are an upstream's to answer: which, whose, and what has to be allowed for it. The
 * path is put together anew from its decoded parts, so that nothing but what is written here is sent.
 */
import type { Owner } from '../gate/pass-through.ts'
import { bad, nameOf } from './names.ts'

export type PassRoute = {
  readonly kind:
    | 'publish'
    | 'unpublish'
    | 'change'
    | 'document'
    | 'login'
    | 'logout'
    | 'account'
    | 'access'
    | 'trust'
    | 'stage'
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly access: 'read' | 'write'
  readonly owner: Owner
  /** At the upstream, encoded, with its query. */
  readonly path: string
  /** The package it changes. */
  readonly changes?: string
}

type Asked = {
  readonly method: PassRoute['method']
  readonly query: string
}

const encode = (segment: string): string =>
  encodeURIComponent(segment).replaceAll('%40', '@').replaceAll('%3A', ':')

const encodeName = (name: string): string => encode(name).replace('%2F', '%2f')

/** What clients ask with; anything else may be a credential, and is not passed on. */
const PARAMETERS = new Set(['write', 'format', 'user', 'page', 'perPage', 'package'])

const knownOf = (query: string): string =>
  query
    .split('&')
    .filter(part => PARAMETERS.has(part.split('=', 1)[0] ?? ''))
    .join('&')

/** `query` is passed on as it is. */
const pathOf = (segments: readonly string[], query = ''): string => {
  if (segments.some(segment => segment === '' || segment === '.' || segment === '..'))
    bad('a step in the path')
  return `${segments.join('/')}${query === '' ? '' : `?${query}`}`
}

/** Decoded segments of which the first one or two are a package's name. */
const splitName = (path: readonly string[]) => {
  const length = path[0]?.startsWith('@') === true ? 2 : 1
  return { name: nameOf(path.slice(0, length).join('/')), rest: path.slice(length) }
}

const methods = new Set(['GET', 'POST', 'PUT', 'DELETE'])
const reads = (method: string): PassRoute['access'] => (method === 'GET' ? 'read' : 'write')

const ofPackage = (
  kind: PassRoute['kind'],
  name: string,
  { method, query }: Asked,
  path: readonly string[],
): PassRoute => ({
  kind,
  method,
  access: reads(method),
  owner: { kind: 'package', name },
  path: pathOf(path, query),
  ...(method !== 'GET' && { changes: name }),
})

/** publish, unpublish, deprecate, owner. */
const packageRoute = (path: readonly string[], asked: Asked): PassRoute | undefined => {
  const { method, query } = asked
  const written = method === 'GET' && new URLSearchParams(query).get('write') === 'true'
  if (method !== 'PUT' && method !== 'DELETE' && !written) return undefined
  const { name, rest } = splitName(path)
  const escaped = encodeName(name)
  if (rest.length === 0) {
    if (written) {
      const route = ofPackage('document', name, { method, query: 'write=true' }, [escaped])
      return { ...route, access: 'write' }
    }
    return method === 'PUT' ? ofPackage('publish', name, asked, [escaped]) : undefined
  }
  const revision = rest.at(-2) === '-rev' ? rest.at(-1) : undefined
  if (revision === undefined || written) return undefined
  const end = ['-rev', encode(revision)]
  if (rest.length === 2) {
    const kind = method === 'PUT' ? 'change' : 'unpublish'
    return ofPackage(kind, name, asked, [escaped, ...end])
  }
  const file = rest.at(-3) ?? ''
  const scope = rest.length === 5 ? [encode(rest[1] ?? '')] : []
  const tarball =
    rest[0] === '-' && file.endsWith('.tgz') && (rest.length === 4 || scope[0] === path[0])
  return tarball && method === 'DELETE'
    ? ofPackage('unpublish', name, asked, [escaped, '-', ...scope, encode(file), ...end])
    : undefined
}

/** /-/package/:pkg/… */
const accessRoute = (path: readonly string[], asked: Asked): PassRoute | undefined => {
  const { name, rest } = splitName(path)
  const [what = '', id, ...more] = rest
  if (more.length > 0) return undefined
  const at = ['-', 'package', encodeName(name), what, ...(id === undefined ? [] : [encode(id)])]
  const { method } = asked
  if (what === 'dist-tags')
    return method === 'GET' || (method === 'DELETE' && id === undefined)
      ? undefined
      : ofPackage('change', name, asked, at)
  if (what === 'trust') return ofPackage('trust', name, asked, at)
  // `pnpm owner`; npm's own changes the document
  if (what === 'owners') return ofPackage('access', name, asked, at)
  const known = ['visibility', 'collaborators', 'access'].includes(what) && id === undefined
  return known ? ofPackage('access', name, asked, at) : undefined
}

const account = (
  kind: PassRoute['kind'],
  access: PassRoute['access'],
  { method, query }: Asked,
  path: readonly string[],
): PassRoute => ({
  kind,
  method,
  access,
  owner: { kind: 'account' },
  path: pathOf(path, query),
})

/** Names the upstream in a `doneUrl`, which says nothing of it otherwise. */
export const upstreamParameter = 'attestry-upstream'

/** POST /-/v1/login, and the addresses its answer has polled. */
const loginRoute = (rest: readonly string[], asked: Asked): PassRoute | undefined => {
  const path = ['-', 'v1', ...rest.map(encode)]
  if (asked.method === 'POST')
    return rest.length === 1
      ? account('login', 'write', { ...asked, query: '' }, path)
      : undefined
  if (asked.method !== 'GET') return undefined
  const query = new URLSearchParams(asked.query)
  const name = query.get(upstreamParameter)
  query.delete(upstreamParameter)
  const route = account('login', 'write', { ...asked, query: query.toString() }, path)
  return name === null ? route : { ...route, owner: { kind: 'upstream', name } }
}

const userRoute = (rest: readonly string[], asked: Asked): PassRoute | undefined => {
  const { method } = asked
  const [first = '', second, third] = rest
  const path = ['-', 'user', ...rest.map(encode)]
  if (first.startsWith('org.couchdb.user:')) {
    const revised = second === '-rev' && third !== undefined && rest.length === 3
    const plain = rest.length === 1 && (method === 'GET' || method === 'PUT')
    return plain || (revised && method === 'PUT')
      ? account('login', 'write', asked, path)
      : undefined
  }
  if (first === 'token' && second !== undefined && rest.length === 2)
    return method === 'DELETE' ? account('logout', 'write', asked, path) : undefined
  return second === 'package' && rest.length === 2 && method === 'GET'
    ? account('account', 'read', asked, path)
    : undefined
}

const npmRoute = (rest: readonly string[], asked: Asked): PassRoute | undefined => {
  const { method } = asked
  const path = ['-', 'npm', ...rest.map(encode)]
  const tail = rest.join('/')
  if (tail === 'v1/user' && (method === 'GET' || method === 'POST'))
    return account('account', reads(method), asked, path)
  if (tail === 'v1/tokens' && (method === 'GET' || method === 'POST'))
    return account('account', reads(method), asked, path)
  return tail.startsWith('v1/tokens/token/') && rest.length === 4 && method === 'DELETE'
    ? account('account', 'write', asked, path)
    : undefined
}

/** /-/org/:org/…, /-/team/:org/:team/… */
const scopeRoute = (
  area: string,
  rest: readonly string[],
  asked: Asked,
): PassRoute | undefined => {
  const [org = ''] = rest
  if (rest.length < 2 || rest.length > 3) return undefined
  const scope = `@${org.replace(/^@/, '')}`
  nameOf(`${scope}/x`)
  return {
    kind: 'access',
    method: asked.method,
    access: reads(asked.method),
    owner: { kind: 'scope', scope },
    path: pathOf(['-', area, ...rest.map(encode)], asked.query),
  }
}

/** Staged packages: part of publishing, so that reading them is as well. */
const stageRoute = (rest: readonly string[], asked: Asked): PassRoute | undefined => {
  const { method, query } = asked
  const [first, ...more] = rest
  const base = { kind: 'stage', method, access: 'write' } as const
  if (first === 'package') {
    if (method !== 'POST') return undefined
    const { name, rest: beyond } = splitName(more)
    if (beyond.length > 0) return undefined
    const path = pathOf(['-', 'stage', 'package', encodeName(name)], query)
    return { ...base, owner: { kind: 'package', name }, path, changes: name }
  }
  const named = new URLSearchParams(query).get('package')
  const path = pathOf(['-', 'stage', ...rest.map(encode)], query)
  const last = more[0]
  const known =
    more.length === 0
      ? method === 'GET' || (method === 'DELETE' && first !== undefined)
      : more.length === 1 &&
        ((method === 'GET' && last === 'tarball') || (method === 'POST' && last === 'approve'))
  if (!known) return undefined
  return named === null
    ? { ...base, owner: { kind: 'account' }, path }
    : { ...base, owner: { kind: 'package', name: nameOf(named) }, path }
}

/** `path` is decoded; undefined for what is not passed on. A HEAD is passed on as a GET. */
export const passRoute = (
  asking: string,
  path: readonly string[],
  query: string,
): PassRoute | undefined => {
  const method = asking === 'HEAD' ? 'GET' : asking
  if (!methods.has(method)) return undefined
  const [dash, area = '', ...rest] = path
  // where login is polled is for the upstream to say
  const login = area === 'v1'
  const asked: Asked = {
    method: method as PassRoute['method'],
    query: login ? query : knownOf(query),
  }
  if (dash === '' || dash === undefined) return undefined
  if (dash !== '-' || area === '-' || path.length === 1) return packageRoute(path, asked)
  switch (area) {
    case 'whoami':
      return method === 'GET' && rest.length === 0
        ? account('account', 'read', asked, ['-', 'whoami'])
        : undefined
    case 'v1':
      return rest[0] === 'login' || rest[0] === 'done' ? loginRoute(rest, asked) : undefined
    case 'user':
      return userRoute(rest, asked)
    case 'npm':
      return npmRoute(rest, asked)
    case 'package':
      return rest.length > 1 ? accessRoute(rest, asked) : undefined
    case 'org':
    case 'team':
      return scopeRoute(area, rest, asked)
    case 'stage':
      return stageRoute(rest, asked)
    default:
      return undefined
  }
}
