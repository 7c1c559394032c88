/** POST /-/npm/v1/security/…: what is known against what a client has installed. */
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import { auditReport, inventoryOf, readTree } from '../gate/audit-report.ts'
import { record } from '../gate/claims.ts'
import type { Inventory } from '../gate/findings.ts'
import type { Gate } from '../gate/gate.ts'
import { isPackageName, isVersion } from './names.ts'
import { ascii } from './refusal.ts'
import { readJson } from './request-body.ts'
import { senderOf } from './send-passed.ts'
import { sendJson } from './send.ts'

/** Versions of one package that anybody has at once. */
const MAX_VERSIONS = 1000

/** `{name: [version]}`; throws EBADREQUEST. What is no name or version is left out. */
const inventory = (body: unknown): Inventory => {
  if (record(body) !== body)
    throw new AttestryError('EBADREQUEST', 'The body is no mapping of names to versions.')
  const asked = new Map<string, readonly string[]>()
  for (const [name, versions] of Object.entries(body)) {
    if (!isPackageName(name) || !Array.isArray(versions)) continue
    const texts = versions.filter(
      (version): version is string => typeof version === 'string' && isVersion(version),
    )
    if (texts.length > 0) asked.set(name, [...new Set(texts)].slice(0, MAX_VERSIONS))
  }
  return asked
}

/** Says what is missing in the answer; no client shows it, but whoever wonders finds it. */
const note = (ctx: Context, notes: readonly string[]): void => {
  if (notes.length > 0) ctx.set('attestry-notes', ascii(notes.join('; '), 1000))
}

const bound = (gate: Gate) => ({ limit: gate.limits.audit, key: 'limits.audit' })

export const sendAdvisories = async (ctx: Context, gate: Gate): Promise<void> => {
  const asked = inventory(await readJson(ctx, bound(gate)))
  const { byName, notes } = await gate.advisories(asked, senderOf(ctx))
  note(ctx, notes)
  sendJson(ctx, 200, Object.fromEntries(byName))
}

/** The form of older clients, made from the same advisories. */
export const sendAuditReport = async (ctx: Context, gate: Gate): Promise<void> => {
  const tree = readTree(await readJson(ctx, bound(gate)), isPackageName)
  const { byName, notes } = await gate.advisories(inventoryOf(tree), senderOf(ctx))
  note(ctx, notes)
  sendJson(ctx, 200, auditReport(tree, byName))
}
