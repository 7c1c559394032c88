/** GET /:pkg, /:pkg/:version and dist-tags: finished bytes out, validators first. */
import { createGunzip } from 'node:zlib'
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import type { Gate } from '../gate/gate.ts'
import { whyUrl, type Form } from '../gate/representation.ts'
import { matchesEtag } from './conditional.ts'
import { refusalAnswer } from './refusal.ts'
import { sendAnswer, sendJson } from './send.ts'

/** Short, so that a revocation is heard of soon; the validator makes asking again cheap. */
const FRESH = 'public, max-age=60'
/** Whoever has just moved a tag looks at once whether it moved; asking again is cheap. */
const CHECKED = 'public, no-cache'
const ABBREVIATED = 'application/vnd.npm.install-v1+json'

/**
 * npm's two forms of a packument. The abbreviated one is for those who name it first or alone:
 * `application/json` with a higher weight asks for the full one (pnpm with an age policy).
 */
export const formOf = (accept: string | undefined): Form => {
  const weights = (accept ?? '').split(',').map(part => {
    const [type = '', ...parameters] = part.split(';').map(text => text.trim())
    const q = parameters.find(text => text.startsWith('q='))
    return [type, q === undefined ? 1 : Number(q.slice(2))] as const
  })
  const weightOf = (wanted: string) => weights.find(([type]) => type === wanted)?.[1] ?? 0
  const abbreviated = weightOf(ABBREVIATED)
  return abbreviated > 0 && abbreviated >= weightOf('application/json') ? 'abbreviated' : 'full'
}

const takesGzip = (ctx: Context) => ctx.acceptsEncodings('gzip', 'identity') === 'gzip'

export const sendPackument = async (ctx: Context, gate: Gate, name: string) => {
  const form = formOf(ctx.get('accept'))
  const hinting = ctx.get('user-agent').startsWith('pnpm/')
  const { standing, representation, stale } = await gate.packument(name, form, hinting)
  const { refused, index } = standing
  const [first] = [...refused.values()].toReversed()
  if (first && representation.shown === 0) {
    // every version is refused: only a 403 shows its reason in yarn 1 and deno
    return sendAnswer(ctx, refusalAnswer(first, whyUrl(gate, name, first.package.version)))
  }
  ctx.vary('accept, accept-encoding')
  // pnpm's dist-tags name what is not there; a cache in between must not give them to others
  if (refused.size > 0) ctx.vary('user-agent')
  ctx.set('etag', representation.etag)
  ctx.set('cache-control', FRESH)
  if (representation.modified) {
    ctx.set('last-modified', new Date(representation.modified).toUTCString())
  }
  if (refused.size > 0) ctx.set('attestry-refused', String(refused.size))
  if (stale) {
    ctx.set('warning', '110 attestry "Response is Stale"')
    ctx.set('attestry-stale', new Date(index.fetchedAt).toISOString())
  }
  if (matchesEtag(ctx.get('if-none-match'), representation.etag)) {
    ctx.status = 304
    return
  }
  ctx.status = 200
  ctx.type = form === 'full' ? 'application/json' : ABBREVIATED
  if (takesGzip(ctx)) {
    ctx.set('content-encoding', 'gzip')
    ctx.length = representation.gzip.length
    ctx.body = ctx.method === 'HEAD' ? null : representation.gzip
    if (ctx.method === 'HEAD') ctx.status = 200
    return
  }
  ctx.length = representation.size
  if (ctx.method === 'HEAD') {
    ctx.status = 200
    return
  }
  const gunzip = createGunzip()
  gunzip.end(representation.gzip)
  ctx.body = gunzip
  ctx.length = representation.size
}

/** The tags of what is shown; with `tag` the version it names, as the registry gives a single one. */
export const sendDistTags = async (ctx: Context, gate: Gate, name: string, tag?: string) => {
  const tags = await gate.distTags(name)
  if (tag === undefined) return sendJson(ctx, 200, tags, CHECKED)
  const version = Object.hasOwn(tags, tag) ? tags[tag] : undefined
  if (version !== undefined) return sendJson(ctx, 200, version, CHECKED)
  throw new AttestryError('ENOTFOUND', `${name} has no dist-tag ${tag}.`)
}

export const sendManifest = async (
  ctx: Context,
  gate: Gate,
  name: string,
  versionOrTag: string,
) => {
  const found = await gate.manifest(name, versionOrTag)
  if ('refused' in found) {
    const { version } = found.refused.package
    return sendAnswer(ctx, refusalAnswer(found.refused, whyUrl(gate, name, version)))
  }
  sendJson(ctx, 200, found.manifest, FRESH)
}
