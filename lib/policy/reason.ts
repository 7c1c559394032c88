/** Making reasons whose message is fit for a header: one line of plain ASCII, under 200 characters. */
import type { Fact, Reason, ReasonCode } from '../types.ts'

const MOST = 199
/** What is fit already, as nearly all texts are. */
const FIT = /^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/

/** Whatever the text held: no control character, nothing but ASCII, no more than 199 characters. */
export const plain = (text: string): string => {
  if (text.length <= MOST && FIT.test(text)) return text
  const flat = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .trim()
  return flat.length <= MOST ? flat : `${flat.slice(0, MOST - 3)}...`
}

export const reason = (
  code: ReasonCode,
  message: string,
  rest: Omit<Reason, 'code' | 'message'> = {},
): Reason => ({ code, message: plain(message), ...rest })

/** A claim that does not verify, with the finding's own code. */
export const invalidReason = (
  label: string,
  fact: Extract<Fact, { state: 'invalid' }>,
  code: ReasonCode = fact.code,
): Reason =>
  reason(code, `${label}: ${fact.detail}`, {
    ...(fact.npmCode !== undefined && { npmCode: fact.npmCode }),
    ...(fact.wanted !== undefined && { wanted: fact.wanted }),
    ...(fact.found !== undefined && { found: fact.found }),
  })

export const unavailableReason = (label: string, detail: string): Reason =>
  reason('EVIDENCE_UNAVAILABLE', `${label} could not be checked: ${detail}`)

const looks = new WeakMap<Fact, Map<string, Reason>>()

/** The same of a fact; made once, because what nobody looked at yet is one fact for all versions. */
export const unavailableFactReason = (
  label: string,
  fact: Extract<Fact, { state: 'unavailable' }>,
): Reason => {
  const made = looks.get(fact) ?? new Map<string, Reason>()
  looks.set(fact, made)
  const known = made.get(label) ?? unavailableReason(label, fact.detail)
  made.set(label, known)
  return known
}

export const isDefinite = (r: Reason): boolean => r.code !== 'EVIDENCE_UNAVAILABLE'

/** Reasons that no policy, waiver or mode overrules. */
export const neverBends = (r: Reason): boolean =>
  r.code === 'INTEGRITY_MISMATCH' || r.code === 'OUT_OF_NAMESPACE'

/** The same finding of several layers told once; what is certain stands first. */
export const merged = (reasons: readonly Reason[]): readonly Reason[] => {
  if (reasons.length < 2) return reasons
  const seen = new Set<string>()
  const once = reasons.filter(r => {
    const key = JSON.stringify([r.code, r.message, r.field])
    return !seen.has(key) && seen.add(key)
  })
  return [...once.filter(isDefinite), ...once.filter(r => !isDefinite(r))]
}
