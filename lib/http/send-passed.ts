/** Requests that an upstream answers: sent on, and its answer sent back. */
import type { Context } from 'koa'
import type { Gate } from '../gate/gate.ts'
import { jsonBody } from '../gate/json-body.ts'
import type { Owner, Passed, Sender } from '../gate/pass-through.ts'
import { tarballUrl } from '../gate/representation.ts'
import { record } from '../gate/claims.ts'
import { filteredError, openRecognizer } from './filtered-body.ts'
import { upstreamParameter, type PassRoute } from './pass-route.ts'
import { hasBody, letGo, openBody } from './request-body.ts'
import { sendJson } from './send.ts'

/** Headers of clients that registries read; `npm-scope` is left out, for it may be a private one. */
const PASSED_ON = [
  'accept',
  'content-type',
  'content-length',
  'content-encoding',
  'npm-auth-type',
  'npm-command',
] as const

const SCOPE = /^@[a-z0-9\-_.~]+$/i

export const senderOf = (ctx: Context): Sender => {
  const { authorization } = ctx.req.headers
  const otp = ctx.get('npm-otp')
  return {
    ...(authorization !== undefined && { authorization }),
    ...(otp !== '' && { otp }),
  }
}

/** `npm login --scope=@acme` names the scope in a header. */
const ownerOf = (ctx: Context, owner: Owner): Owner => {
  const scope = ctx.get('npm-scope')
  return owner.kind === 'account' && SCOPE.test(scope) ? { ...owner, scope } : owner
}

/** Answers with addresses of the upstream in them, which clients would go to past us. */
const isRewritten = ({ kind }: PassRoute, { status, headers }: Passed): boolean =>
  (kind === 'login' || kind === 'account' || status === 401) &&
  /\bjson\b/.test(headers['content-type'] ?? '')

/** Account answers are short; what is longer is not rewritten but refused. */
const MAX_REWRITTEN = 4 * 1024 * 1024

/** An address of the upstream as one of ours; anything else stays as it is. */
const ours = (
  value: unknown,
  { upstream }: Passed,
  publicUrl: string,
  login: boolean,
): unknown => {
  if (typeof value !== 'string' || !value.startsWith(upstream.url)) return value
  const url = URL.parse(value.slice(upstream.url.length), publicUrl)
  if (!url) return value
  if (login) url.searchParams.set(upstreamParameter, upstream.name)
  return url.href
}

const rewritten = (body: unknown, passed: Passed, publicUrl: string): unknown => {
  const document = record(body)
  if (document !== body) return body
  const { doneUrl, urls } = document
  return {
    ...document,
    // the page a person opens stays where it is: it is a web site, not a registry
    ...(doneUrl !== undefined && { doneUrl: ours(doneUrl, passed, publicUrl, true) }),
    ...(urls !== undefined && {
      urls: Object.fromEntries(
        Object.entries(record(urls)).map(([key, url]) => [
          key,
          ours(url, passed, publicUrl, false),
        ]),
      ),
    }),
  }
}

const sendHead = (ctx: Context, passed: Passed): void => {
  const { status, headers, upstream, withheld, unsigned } = passed
  ctx.status = status
  ctx.set('cache-control', 'no-store')
  ctx.set('attestry-upstream', upstream.name)
  for (const [key, value] of Object.entries(headers)) ctx.set(key, value)
  // npm shows it below what it says itself
  if (unsigned !== undefined)
    ctx.set(
      'npm-notice',
      `Published, and not signed: ${unsigned.replace(/[^\x20-\x7e]+/g, ' ')}`,
    )
  if (!withheld || (status !== 401 && status !== 403)) return
  ctx.set('attestry-withheld', 'authorization')
  ctx.set(
    'npm-notice',
    `Your credentials were not passed on: upstreams.${upstream.name}.clientCredentials is never.`,
  )
}

/** `GET /:pkg?write=true`, the document a client changes and sends back, with our tarball addresses. */
const withTarballs = (body: unknown, name: string, publicUrl: string): unknown => {
  const versions = Object.entries(record(record(body)['versions'])).map(
    ([version, manifest]) => {
      const dist = {
        ...record(record(manifest)['dist']),
        tarball: tarballUrl({ publicUrl }, name, version),
      }
      return [version, { ...record(manifest), dist }]
    },
  )
  return { ...record(body), versions: Object.fromEntries(versions) }
}

/** Whole documents are sent to these. */
const checkOf = ({ kind, method }: PassRoute) => {
  if (method !== 'PUT' || (kind !== 'change' && kind !== 'publish')) return undefined
  const isOurs = openRecognizer()
  return (chunk: Buffer) => (isOurs(chunk) ? filteredError() : undefined)
}

export const sendPassed = async (ctx: Context, gate: Gate, route: PassRoute): Promise<void> => {
  const { publicUrl, limits } = gate
  const client = new AbortController()
  ctx.res.once('close', () => client.abort())
  const headers = Object.fromEntries(
    PASSED_ON.map(key => [key, ctx.get(key)] as const).filter(([, value]) => value !== ''),
  )
  const request = {
    ...route,
    owner: ownerOf(ctx, route.owner),
    sender: senderOf(ctx),
    headers,
    signal: client.signal,
    ...(route.kind === 'publish' &&
      route.changes !== undefined && { publishes: route.changes }),
    ...(route.kind === 'document' && { limit: 'packument' as const }),
    ...(route.kind === 'stage' && { limit: 'publish' as const }),
  }
  // asked before the body is touched: what is not let through is not read either
  const body =
    hasBody(ctx) && gate.allowsPassing(request)
      ? openBody(ctx, { limit: limits.publish, key: 'limits.publish' }, checkOf(route))
      : undefined
  const passed = await gate.pass({ ...request, ...(body && { body }) })
  if (body) letGo(ctx)
  const { owner } = route
  const whole = async (limit: number, key: string) =>
    jsonBody(passed, { upstream: passed.upstream.name, limit, key })
  if (route.kind === 'document' && passed.status === 200 && owner.kind === 'package') {
    const document = await whole(limits.packument, 'limits.packument')
    return sendJson(ctx, 200, withTarballs(document, owner.name, publicUrl))
  }
  const rewrite = isRewritten(route, passed)
  const document = rewrite ? await whole(MAX_REWRITTEN, 'fixed') : undefined
  sendHead(ctx, passed)
  if (rewrite) {
    ctx.remove('content-encoding')
    ctx.body = JSON.stringify(rewritten(document, passed, publicUrl))
    ctx.type = 'application/json'
    return
  }
  const type = ctx.response.get('content-type')
  ctx.body = passed.body
  // koa takes a stream for bytes of unknown kind
  if (type === '') ctx.remove('content-type')
  else ctx.set('content-type', type)
}
