/** Answers as JSON, with a validator where they may be cached. */
import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { matchesEtag } from './conditional.ts'
import type { Answer } from './refusal.ts'

export const sendJson = (
  ctx: Context,
  status: number,
  body: unknown,
  cacheControl = 'no-store',
): void => {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  ctx.set('cache-control', cacheControl)
  if (status === 200 && cacheControl !== 'no-store') {
    const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`
    ctx.set('etag', etag)
    if (matchesEtag(ctx.get('if-none-match'), etag)) {
      ctx.status = 304
      return
    }
  }
  ctx.status = status
  ctx.type = 'application/json'
  ctx.body = bytes
}

export const sendAnswer = (ctx: Context, { status, phrase, headers, body }: Answer): void => {
  ctx.remove('etag')
  sendJson(ctx, status, body)
  ctx.set({ ...headers })
  ctx.message = phrase
}
