/** What a machine is told: one finding for each package version that is not simply allowed. */
import { errorTable, type ErrorCode } from '../../errors.ts'
import type { ReasonCode } from '../../types.ts'
import { idOf, type AuditReason, type Judged, type PastProxy, type Report } from './result.ts'

/** An entry that the client fetches without asking the proxy; the audit's own code. */
export const PAST_PROXY = 'PAST_PROXY'

export type FindingCode = ReasonCode | ErrorCode | typeof PAST_PROXY

/** `error`: refused. `warning`: could not be told. `note`: worth knowing, and let through. */
export type Level = 'error' | 'warning' | 'note'

export type Finding = {
  readonly level: Level
  readonly name: string
  readonly version: string
  /** In the lockfile; the first is where it is shown. */
  readonly lines: readonly number[]
  /** As in `left-pad@1.3.0 is refused`. */
  readonly title: string
  /** Never empty. */
  readonly reasons: readonly (Omit<AuditReason, 'code'> & { readonly code: FindingCode })[]
  /** The command that tells more. */
  readonly hint?: string
}

const levels = { refused: 'error', unknown: 'warning', allowed: 'note' } as const
const titles = {
  refused: 'is refused',
  unknown: 'could not be judged',
  allowed: 'would be refused if the policy were enforced',
} as const

export const whyCommand = (id: { readonly name: string; readonly version: string }): string =>
  `attestry why ${idOf(id)}`

const ofJudged = (judged: Judged): readonly Finding[] => {
  const { name, version, lines, outcome, reasons } = judged
  if (reasons.length === 0) return []
  return [
    {
      level: levels[outcome],
      name,
      version,
      lines,
      title: `${idOf(judged)} ${titles[outcome]}`,
      reasons,
      hint: whyCommand(judged),
    },
  ]
}

const ofPastProxy = (entry: PastProxy, strict: boolean): Finding => ({
  level: strict ? 'error' : entry.covered ? 'note' : 'warning',
  name: entry.name,
  version: entry.version,
  lines: [entry.line],
  title: `${idOf(entry)} is fetched past the proxy`,
  reasons: [{ code: PAST_PROXY, message: entry.message }],
  ...(entry.fixable && { hint: 'attestry audit --fix' }),
})

const rank = { error: 0, warning: 1, note: 2 } as const

/** The gravest first. */
export const findingsOf = (report: Report): readonly Finding[] =>
  [
    ...report.judged.flatMap(ofJudged),
    ...report.pastProxy.map(entry => ofPastProxy(entry, report.strict)),
  ].sort((a, b) => rank[a.level] - rank[b.level])

const reasonTexts: Readonly<Record<ReasonCode, string>> = {
  UNSIGNED: 'The policy requires a signature, and nobody signed.',
  NO_PROVENANCE: 'The policy requires provenance, and the publisher gave none.',
  NO_VOUCH: 'A vouch is required and nobody vouched.',
  VOUCH_EXPIRED: 'The vouch for it has ended.',
  VOUCH_REVOKED: 'The vouch for it was revoked.',
  INVALID_SIGNATURE: 'The registry signature does not verify.',
  INVALID_ATTESTATION: 'An attestation does not verify.',
  WRONG_SUBJECT: 'An attestation is about another package or other bytes.',
  INTEGRITY_MISMATCH: 'The bytes are not those that were named.',
  MANIFEST_MISMATCH: "The packument disagrees with the tarball's package.json.",
  IDENTITY_MISMATCH: 'It was published by somebody else than the policy names.',
  DOWNGRADED: 'Earlier releases had provenance, and this one has none.',
  PUBLISHER_CHANGED: 'Another publisher than that of earlier releases built it.',
  TOO_NEW: 'It has not been public for as long as the policy asks.',
  CONDITION_FALSE: 'A condition of the policy does not hold.',
  DENIED: 'The policy denies it.',
  WAIVER_EXPIRED: 'The waiver that let it in has ended.',
  OUT_OF_NAMESPACE: 'The name is reserved for another upstream.',
  EVIDENCE_UNAVAILABLE: 'Its evidence could not be fetched; that is no finding against it.',
}

/** One sentence on what a code means, whatever the package. */
export const codeText = (code: FindingCode): string => {
  if (code === PAST_PROXY) return 'The client fetches it without asking the proxy.'
  return code in errorTable
    ? errorTable[code as ErrorCode].todo
    : reasonTexts[code as ReasonCode]
}
