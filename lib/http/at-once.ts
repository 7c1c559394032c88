/**
 * The short way for what clients ask for thousands of times in an install: packuments and tarballs
 * that are finished and in memory, for callers that need not be looked up. The gate says whether its
 * answer still holds, at every request; whatever is not plain goes the long way, through app.ts,
 * which gives the same answers. A ping is answered here as well: it asks whether anybody is there,
 * often before the long way is loaded.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import type { Access } from '../access/access.ts'
import type { Client, Gate, Ready } from '../gate/gate.ts'
import type { Representation } from '../gate/representation.ts'
import type { ServedPackument } from '../gate/views.ts'
import type { Integrity, PackageId } from '../types.ts'
import { instanceHeader, viaHeader } from '../upstream/loop.ts'
import type { AppObserver } from './app.ts'
import { openProxies, readClient } from './client.ts'
import { matchesEtag } from './conditional.ts'
import { encodingOf, formOf, type Encoding } from './negotiate.ts'
import { contentTypes, isHinted, packumentHeaders } from './packument-headers.ts'
import { placeOf, viewPath } from './place.ts'
import { routeOf } from './route.ts'
import { tarballHeaders } from './send-tarball.ts'

export type AtOnceOptions = {
  readonly gate: Gate
  readonly views?: readonly string[]
  readonly access?: Pick<Access, 'mode'>
  readonly trustedProxies?: readonly string[]
  readonly instance: string
  readonly observer?: AppObserver
}

/** True when the request is answered. `requestId`: the client's own name for it. */
export type AtOnce = (
  request: IncomingMessage,
  response: ServerResponse,
  requestId?: string,
) => boolean

type Headers = readonly string[]
/** What was last said of a tarball: as long as the bytes are the same it is said again. */
type Said = { readonly integrity: Integrity; readonly unmodified: Headers; whole?: Headers }
type Target =
  | { readonly kind: 'packument'; readonly ready: Ready; readonly name: string }
  | { readonly kind: 'tarball'; readonly ready: Ready; readonly id: PackageId; said?: Said }
  | { readonly kind: 'ping' }

/** Characters of addresses that are remembered. */
const LONGEST = 300
/** With any of these a request is for the long way. */
const needsMore = ['authorization', 'range', viaHeader] as const

type Prepared = { readonly unmodified: Headers } & Readonly<Record<Encoding, Headers>>

const never = () => false

export const openAtOnce = (options: AtOnceOptions): AtOnce => {
  const { gate, access, instance, observer = {} } = options
  const views = new Set(options.views)
  const prefix = new URL(gate.publicUrl).pathname
  const proxies = openProxies(options.trustedProxies ?? [])
  const targets = new LRUCache<string, Target>(atMost(20_000))
  const prepared = new WeakMap<Representation, Prepared>()
  const common: Headers = [instanceHeader, instance]

  const targetOf = (url: string): Target | undefined => {
    const known = targets.get(url)
    if (known || url.length > LONGEST) return known
    const { view, target } = placeOf(url, { prefix, views })
    const route = routeOf(target)
    const { kind } = route
    if (kind !== 'packument' && kind !== 'tarball' && kind !== 'ping') return undefined
    const at = view === undefined ? gate : gate.view(view, `${gate.publicUrl}${viewPath(view)}`)
    const found: Target = kind === 'ping' ? route : { ...route, ready: at.ready }
    targets.set(url, found)
    return found
  }

  /** Headers of a representation: what they rest on is a part of it, but for the fields of `served` that a fresh one has not. */
  const prepare = (served: ServedPackument): Prepared => {
    const { representation } = served
    const known = prepared.get(representation)
    if (known) return known
    const { form, gzip, size } = representation
    const pairs = packumentHeaders(served).map(([name, value]) =>
      // with or without a token: the same address may be answered by several views
      name === 'vary' && access ? [name, `authorization, ${value}`] : [name, value],
    )
    const unmodified = [...common, ...pairs.flat()]
    const type = ['content-type', contentTypes[form]]
    const made: Prepared = {
      unmodified,
      gzip: [
        ...unmodified,
        ...type,
        'content-encoding',
        'gzip',
        'content-length',
        String(gzip.length),
      ],
      identity: [...unmodified, ...type, 'content-length', String(size)],
    }
    prepared.set(representation, made)
    return made
  }

  const packument = (
    { headers }: IncomingMessage,
    response: ServerResponse,
    ready: Ready,
    name: string,
  ): boolean => {
    const form = formOf(headers.accept)
    const served = ready.packument(name, form, isHinted(headers['user-agent']))
    if (!served || served.stale || served.representation.shown === 0) return false
    const { representation } = served
    if (matchesEtag(headers['if-none-match'], representation.etag)) {
      response.writeHead(304, prepare(served).unmodified as string[]).end()
      return true
    }
    const encoding = encodingOf(headers['accept-encoding'])
    const body = encoding === 'gzip' ? representation.gzip : ready.plain(representation)
    if (!body) return false
    response.writeHead(200, prepare(served)[encoding] as string[]).end(body)
    return true
  }

  const vary: Headers = access ? ['vary', 'authorization'] : []
  const saidOf = (integrity: Integrity): Said => ({
    integrity,
    unmodified: [...common, ...vary, 'etag', `"${integrity}"`],
  })

  const tarball = (
    { headers }: IncomingMessage,
    response: ServerResponse,
    target: Target & { readonly kind: 'tarball' },
    client: Client,
  ): boolean => {
    const held = headers['if-none-match']
    const known = (integrity: string) => matchesEtag(held, `"${integrity}"`)
    const found = target.ready.tarball(target.id, client, held === undefined ? never : known)
    if (!found) return false
    const { integrity, bytes } = found
    if (target.said?.integrity !== integrity) target.said = saidOf(integrity)
    const { said } = target
    if (bytes === undefined) {
      response.writeHead(304, said.unmodified as string[]).end()
      return true
    }
    said.whole ??= [...common, ...vary, ...tarballHeaders(integrity, bytes.length).flat()]
    response.writeHead(200, said.whole as string[]).end(bytes)
    return true
  }

  const pong: Headers = [
    ...common,
    ...vary,
    'cache-control',
    'no-store',
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    '2',
  ]
  const ping = (response: ServerResponse): boolean => {
    response.writeHead(200, pong as string[]).end('{}')
    return true
  }

  const answer = (
    request: IncomingMessage,
    response: ServerResponse,
    client: Client,
  ): Target | undefined => {
    const { url = '/', headers } = request
    if (needsMore.some(name => headers[name] !== undefined)) return undefined
    const target = targetOf(url)
    if (!target) return undefined
    const done =
      target.kind === 'ping'
        ? ping(response)
        : target.kind === 'packument'
          ? packument(request, response, target.ready, target.name)
          : tarball(request, response, target, client)
    return done ? target : undefined
  }

  return (request, response, requestId) => {
    // who must show a token is looked up at each request, so that a revoked one is heard of
    if (request.method !== 'GET' || access?.mode === 'tokens') return false
    const started = performance.now()
    try {
      const client = readClient(request, proxies)
      const target = answer(request, response, client)
      if (!target) return false
      observer.onRequest?.({
        method: 'GET',
        route: target.kind,
        status: response.statusCode,
        duration: performance.now() - started,
        client,
        ...(requestId !== undefined && { requestId }),
      })
      return true
    } catch (error) {
      // what is wrong with the request or the settings, the long way tells
      if (!response.headersSent) return false
      observer.onError?.('request', error)
      response.destroy()
      return true
    }
  }
}
