/** GET /:pkg, /:pkg/:version and dist-tags: finished bytes out, validators first. */
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import type { Gate } from '../gate/gate.ts'
import { matchesEtag } from './conditional.ts'
import { encodingOf, formOf } from './negotiate.ts'
import { contentTypes, FRESH, isHinted, packumentHeaders } from './packument-headers.ts'
import { sendRefusal } from './send-refusal.ts'
import { sendJson } from './send.ts'

/** Whoever has just moved a tag looks at once whether it moved; asking again is cheap. */
const CHECKED = 'public, no-cache'

export const sendPackument = async (ctx: Context, gate: Gate, name: string) => {
  const form = formOf(ctx.get('accept'))
  const served = await gate.packument(name, form, isHinted(ctx.get('user-agent')))
  const { standing, representation } = served
  const [first] = [...standing.refused.values()].toReversed()
  if (first && representation.shown === 0) {
    // every version is refused: only a 403 shows its reason in yarn 1 and deno
    return sendRefusal(ctx, gate, first)
  }
  for (const [header, value] of packumentHeaders(served))
    if (header === 'vary') ctx.vary(value)
    else ctx.set(header, value)
  if (matchesEtag(ctx.get('if-none-match'), representation.etag)) {
    ctx.status = 304
    return
  }
  const encoding = encodingOf(ctx.get('accept-encoding'))
  ctx.status = 200
  ctx.set('content-type', contentTypes[form])
  if (encoding !== 'identity') ctx.set('content-encoding', encoding)
  ctx.length = encoding === 'gzip' ? representation.gzip.length : representation.size
  if (ctx.method === 'HEAD') {
    ctx.status = 200
    return
  }
  const { length } = ctx
  ctx.body = encoding === 'gzip' ? representation.gzip : await gate.inflate(representation)
  // a stream has none of its own
  ctx.length = length
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
  if ('refused' in found) return sendRefusal(ctx, gate, found.refused)
  sendJson(ctx, 200, found.manifest, FRESH)
}
