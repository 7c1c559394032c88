import type { Context } from 'koa'
import type { Gate } from '../gate/gate.ts'
import type { PackageId } from '../types.ts'
import { html } from './html.ts'
import { sendJson } from './send.ts'

export const sendWhy = async (ctx: Context, gate: Gate, id: PackageId): Promise<void> => {
  const why = await gate.why(id)
  if (ctx.accepts('json', 'html') !== 'html') return sendJson(ctx, 200, why)
  ctx.type = 'html'
  ctx.body = html`<pre>${JSON.stringify(why, null, 2)}</pre>`.html
}
