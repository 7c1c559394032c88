/** A verdict's reasons as people read them, the same words in every vehicle. */
import type { Reason, Verdict } from '../types.ts'

/**
 * What speaks against it. Where something does, what could not be checked besides is not worth
 * telling; it may only be that nobody had looked yet.
 */
export const tellingReasons = ({ decision, reasons }: Verdict): readonly Reason[] =>
  decision !== 'unavailable' && reasons.some(({ code }) => code !== 'EVIDENCE_UNAVAILABLE')
    ? reasons.filter(({ code }) => code !== 'EVIDENCE_UNAVAILABLE')
    : reasons

/** Something speaks against it, and observe mode alone lets it through. */
export const isObserved = ({ decision, reasons }: Verdict): boolean =>
  decision === 'allow' && reasons.some(({ code }) => code !== 'EVIDENCE_UNAVAILABLE')

const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`)

export const reasonsText = (verdict: Verdict): string =>
  tellingReasons(verdict)
    .map(({ code, message }) => sentence(`${code}: ${message}`))
    .join(' ')
