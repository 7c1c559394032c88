/** GET /-/attestry/vsa/:id: the verdict on a version as a signed statement, a sigstore bundle. */
import type { Context } from 'koa'
import type { Gate } from '../gate/gate.ts'
import { whyUrl } from '../gate/representation.ts'
import type { PackageId } from '../types.ts'
import { clientOf } from './client.ts'
import { refusalAnswer } from './refusal.ts'
import { sendAnswer, sendJson } from './send.ts'

export const sendSummary = async (ctx: Context, gate: Gate, id: PackageId): Promise<void> => {
  const answer = await gate.summary(id, clientOf(ctx))
  if ('bundle' in answer) return sendJson(ctx, 200, answer.bundle)
  const why = whyUrl({ publicUrl: gate.publicUrl }, id.name, id.version)
  sendAnswer(ctx, refusalAnswer(answer.refused, why))
}
