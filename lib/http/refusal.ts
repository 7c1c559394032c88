/**
 * What a client is told when it does not get what it asked for, in every vehicle that some client
 * shows: JSON `error` (npm 11) and `message` (npm 12), `npm-notice`, the HTTP/1.1 reason phrase
 * (pnpm, yarn 4); the address of a redirect (bun) in send-refusal.ts. Status 403 for refusals, because
 * clients retry anything else for a minute.
 */
import type { AttestryError } from '../errors.ts'
import { reasonsText, tellingReasons } from '../gate/reasons.ts'
import type { Verdict } from '../types.ts'

export type Answer = {
  readonly status: number
  readonly phrase: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
}

/** Header values and reason phrases take printable ASCII; anything else could end the header. */
export const ascii = (text: string, max: number): string => {
  const plain = text.replace(/[^\x20-\x7e]+/g, ' ').trim()
  return plain.length > max ? `${plain.slice(0, max - 3)}...` : plain
}

const RETRY_AFTER = '10'
const CHALLENGE = 'Bearer realm="attestry", Basic realm="attestry"'

/** `why` is the address of the page that explains this verdict. */
export const refusalAnswer = (verdict: Verdict, why: string): Answer => {
  const { name, version } = verdict.package
  const id = `${name}@${version}`
  const undecided = verdict.decision === 'unavailable'
  const layer = verdict.layers.find(({ reasons }) => reasons.length > 0)
  const reasons = tellingReasons(verdict)
  const lead = undecided ? `${id} could not be checked.` : `${id} is refused by policy.`
  const error = `${lead} ${reasonsText(verdict)} See ${why}`
  const codes = [...new Set(reasons.map(reason => reason.code))].join(' ')
  const headline = undecided ? 'Could not check' : 'Refused by policy'
  const [first] = reasons
  return {
    status: undecided ? 503 : 403,
    phrase: ascii(`${headline} ${id} ${codes} ${first?.message ?? ''}`, 240),
    headers: {
      'npm-notice': ascii(error, 1000),
      'cache-control': 'no-store',
      ...(undecided && { 'retry-after': RETRY_AFTER }),
    },
    body: {
      error,
      message: error,
      code: undecided ? 'EUNCHECKED' : 'EREFUSED',
      package: verdict.package,
      reasons,
      ...(layer && { policy: layer.policy, rule: layer.rule }),
      docs: why,
    },
  }
}

export const errorAnswer = (error: AttestryError): Answer => {
  const text = `${error.message} ${error.todo}`
  return {
    status: error.status,
    phrase: ascii(`${error.code} ${error.message}`, 240),
    headers: {
      'cache-control': 'no-store',
      ...(error.status === 503 && { 'retry-after': RETRY_AFTER }),
      // a browser that follows the link to a why page asks for a password: the token
      ...(error.code === 'EUNAUTHORIZED' && { 'www-authenticate': CHALLENGE }),
    },
    body: { error: text, message: text, code: error.code },
  }
}
