/** Who asks, as far as a request tells: never a token. */
import type { Context } from 'koa'
import type { Client } from '../gate/gate.ts'

const MAX_AGENT = 200

export const clientOf = (ctx: Context): Client => {
  const agent = ctx.get('user-agent').slice(0, MAX_AGENT)
  return { address: ctx.req.socket.remoteAddress ?? 'unknown', ...(agent && { agent }) }
}
