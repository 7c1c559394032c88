/** Vouches that come over the network, and their revocations: for operators, who bring the admin token. */
import type { Context } from 'koa'
import { z } from 'zod'
import { AttestryError } from '../errors.ts'
import type { Gate } from '../gate/gate.ts'
import { packageIdOf } from './names.ts'
import { readJson } from './request-body.ts'
import { sendJson } from './send.ts'

const BOUND = { limit: 256 * 1024, key: 'fixed for vouches' }

const vouchBody = z.strictObject({
  bundle: z.record(z.string(), z.unknown()),
  publicKey: z.string().max(2000).optional(),
})

const revocationBody = z.strictObject({
  /** name@version */
  package: z.string().max(500),
  reason: z.string().min(1).max(1000),
  by: z.string().min(1).max(200).optional(),
  vouch: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
})

const parsed = async <T>(ctx: Context, schema: z.ZodType<T>): Promise<T> => {
  const result = schema.safeParse(await readJson(ctx, BOUND))
  if (result.success) return result.data
  const [issue] = result.error.issues
  const at = issue?.path.join('.') || 'it'
  throw new AttestryError('EBADREQUEST', `The body: ${at}: ${issue?.message ?? 'is wrong'}.`)
}

export const takeVouch = async (ctx: Context, gate: Gate): Promise<void> => {
  const { bundle, publicKey } = await parsed(ctx, vouchBody)
  const taken = await gate.vouching.add({
    bundle,
    ...(publicKey !== undefined && { publicKey }),
  })
  const { package: id, integrity, vouch } = taken
  sendJson(ctx, 201, { package: id, integrity, vouch })
}

export const takeRevocation = async (ctx: Context, gate: Gate): Promise<void> => {
  const { package: spec, reason, by, vouch } = await parsed(ctx, revocationBody)
  const revoked = await gate.vouching.revoke(packageIdOf(spec), {
    reason,
    ...(by !== undefined && { by }),
    ...(vouch !== undefined && { vouch }),
  })
  sendJson(ctx, 200, { revoked })
}
