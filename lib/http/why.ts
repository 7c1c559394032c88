/** /-/attestry/why/:id — the trace of a verdict, as JSON and as a page. */
import type { Context } from 'koa'
import type { Gate } from '../gate/gate.ts'
import type { PackageId } from '../types.ts'
import { sendJson } from './send.ts'
import { whyPage } from './why-page.ts'

/** Nothing on the page is fetched or run; what packages wrote into it cannot be either. */
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

export const sendWhy = async (ctx: Context, gate: Gate, id: PackageId): Promise<void> => {
  const why = await gate.why(id)
  const timeline = await gate.timeline(id.name)
  ctx.vary('accept')
  if (ctx.accepts('json', 'html') !== 'html') return sendJson(ctx, 200, { ...why, timeline })
  ctx.status = 200
  ctx.set('cache-control', 'no-store')
  ctx.set('content-security-policy', PAGE_POLICY)
  ctx.set('x-content-type-options', 'nosniff')
  ctx.type = 'text/html; charset=utf-8'
  ctx.body = whyPage(why, timeline).html
}
