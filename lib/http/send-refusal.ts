/**
 * A refusal as an answer. Bun shows no word of a 403, only the address that gave it, and follows
 * redirects: it is led to an address that has the reason in it, and that answers 403 itself.
 */
import type { Context } from 'koa'
import type { Gate } from '../gate/gate.ts'
import { reasonsText } from '../gate/reasons.ts'
import { whyUrl } from '../gate/representation.ts'
import type { PackageId, Verdict } from '../types.ts'
import { ascii, refusalAnswer } from './refusal.ts'
import { sendAnswer } from './send.ts'

/** Is the client one that shows where it was led, and nothing else? */
const showsAddressOnly = (agent: string): boolean => agent.startsWith('Bun/')

/** Of the reason in an address. */
const MAX_SLUG = 200

/** Nothing in it needs encoding, ends a path, or means anything to a terminal. */
const slugOf = (verdict: Verdict): string =>
  ascii(reasonsText(verdict), MAX_SLUG)
    .replaceAll(/[^\w.:,@=+-]+/g, '_')
    .replace(/[_.]+$/, '')

const speakingUrl = ({ publicUrl }: Gate, verdict: Verdict): string => {
  const { name, version } = verdict.package
  return `${publicUrl}-/attestry/refused/${name}@${version}/${slugOf(verdict)}`
}

export const sendRefusal = (ctx: Context, gate: Gate, verdict: Verdict): void => {
  const { name, version } = verdict.package
  const answer = refusalAnswer(verdict, whyUrl(gate, name, version))
  if (answer.status !== 403 || !showsAddressOnly(ctx.get('user-agent')))
    return sendAnswer(ctx, answer)
  const location = speakingUrl(gate, verdict)
  sendAnswer(ctx, { ...answer, status: 302, headers: { ...answer.headers, location } })
}

/**
 * What stands at such an address: 403 to everybody and whatever has become of the verdict, because
 * a client would take anything else for the package.
 */
export const sendRefused = (ctx: Context, gate: Gate, { name, version }: PackageId): void => {
  const docs = whyUrl(gate, name, version)
  const error = `${name}@${version} is refused by policy. See ${docs}`
  sendAnswer(ctx, {
    status: 403,
    phrase: 'Refused by policy',
    headers: { 'cache-control': 'no-store' },
    body: { error, message: error, code: 'EREFUSED', package: { name, version }, docs },
  })
}
