/**
 * Where requests may go, and where credentials may go with them. A packument can name any URL for a
 * tarball and a server can redirect anywhere: neither may reach into the network this server is in.
 */
import { isIP } from 'node:net'
import { addressError, addressKind, hostOf, kindsOf, type AddressKind } from './addresses.ts'
import { upstreamError } from './faults.ts'

export const maxRedirects = 5

export type Route = {
  readonly upstream: string
  readonly base: URL
  readonly tarballOrigins: readonly string[]
  /** Kinds of address that redirects may lead to; public until the upstream's own are known. */
  readonly kinds: () => ReadonlySet<AddressKind>
  readonly learnKinds: () => Promise<void>
}

export const openRoute = (options: {
  readonly upstream: string
  readonly base: URL
  readonly tarballOrigins: readonly string[]
}): Route => {
  let kinds: ReadonlySet<AddressKind> = new Set(['public'])
  let known = false
  return {
    ...options,
    kinds: () => kinds,
    learnKinds: async () => {
      if (known) return
      const own = await kindsOf(hostOf(options.base))
      known = own.size > 0
      kinds = new Set([...kinds, ...own])
    },
  }
}

/** Named by the configuration: the upstream's own origin and those of `tarballOrigins`. */
export const isConfigured = (route: Route, url: URL): boolean =>
  url.origin === route.base.origin || route.tarballOrigins.includes(url.origin)

const parentStep = /(^|[/\\])\.\.([/\\]|$)/

/** Credentials go to the upstream's origin, below its path, and nowhere else. */
export const mayHoldCredentials = ({ base }: Route, url: URL): boolean => {
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return false
  // `%2e%2e%2f` stays as it is in a URL, but the server may take it for a step upwards
  try {
    return !parentStep.test(decodeURIComponent(url.pathname))
  } catch {
    return false
  }
}

const checkWeb = (route: Route, url: URL | undefined, what: string): URL => {
  const fail = (why: string) =>
    upstreamError(
      'EUPSTREAMDATA',
      { upstream: route.upstream, url: url ?? route.base },
      `${what} ${why}`,
    )
  if (!url) throw fail('is not a URL')
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw fail('is neither http nor https')
  if (url.username || url.password) throw fail('has credentials in it')
  return url
}

/** The URL of a tarball as a packument gave it; throws EUPSTREAMDATA when it may not be asked. */
export const tarballTarget = (route: Route, text: string): URL => {
  const url = checkWeb(route, URL.parse(text) ?? undefined, 'the tarball URL')
  if (isConfigured(route, url)) return url
  const key = `upstreams.${route.upstream}.tarballOrigins`
  throw upstreamError(
    'EUPSTREAMDATA',
    { upstream: route.upstream, url },
    `the tarball is at ${url.origin}, which is not the upstream; add that to ${key} if it is right`,
    { key, origin: url.origin },
  )
}

/** The next URL of a redirect; throws EUPSTREAMDATA when it may not be followed. */
export const redirectTarget = async (
  route: Route,
  from: URL,
  location: string | undefined,
): Promise<URL> => {
  const to = location === undefined ? undefined : (URL.parse(location, from.href) ?? undefined)
  const url = checkWeb(route, to, 'the redirect')
  if (from.protocol === 'https:' && url.protocol === 'http:') {
    const asked = { upstream: route.upstream, url }
    throw upstreamError('EUPSTREAMDATA', asked, 'a redirect leads from https to http')
  }
  if (isConfigured(route, url)) return url
  await route.learnKinds()
  // names are checked when they are looked up for the connection (addresses.ts)
  const host = hostOf(url)
  if (isIP(host) && !route.kinds().has(addressKind(host))) throw addressError(host, host)
  return url
}
