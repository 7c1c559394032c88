/** How the checks say no: one thrown value that carries the fact. */
import { messageOf } from '../errors.ts'
import type { Fact, InvalidCode, NpmCode } from '../types.ts'

export type InvalidFact = Extract<Fact, { state: 'invalid' }>

export type FindingDetails = {
  readonly npmCode?: NpmCode
  readonly wanted?: string | undefined
  readonly found?: string | undefined
}

/** Thrown inside the room and never out of it. */
export class Finding extends Error {
  readonly fact: InvalidFact

  constructor(fact: InvalidFact) {
    super(fact.detail)
    this.name = 'Finding'
    this.fact = fact
  }
}

const longest = 300

/** Text somebody else wrote, fit for a log line: bounded and without control characters. */
export const quote = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
  return plain.length <= longest ? plain : `${plain.slice(0, longest)}...`
}

export const invalid = (
  code: InvalidCode,
  detail: string,
  { npmCode, wanted, found }: FindingDetails = {},
): InvalidFact => ({
  state: 'invalid',
  code,
  detail,
  ...(npmCode === undefined ? {} : { npmCode }),
  ...(wanted === undefined ? {} : { wanted: quote(wanted) }),
  ...(found === undefined ? {} : { found: quote(found) }),
})

export const refuse = (code: InvalidCode, detail: string, details?: FindingDetails): never => {
  throw new Finding(invalid(code, detail, details))
}

/** The fact for anything that was thrown while checking: whatever it is, the claim is not verified. */
export const factOf = (error: unknown, code: InvalidCode, npmCode: NpmCode): InvalidFact =>
  error instanceof Finding
    ? error.fact
    : invalid(code, `It does not verify: ${quote(messageOf(error))}.`, { npmCode })
