/** What an audit finds, small enough to keep for thousands of packages, and what it amounts to. */
import { tellingReasons } from '../../gate/reasons.ts'
import type { Assessment } from '../../gate/assessments.ts'
import type { ErrorCode } from '../../errors.ts'
import type { BypassReason } from '../../lockfile/bypass.ts'
import type { LockedKind, LockfileFormat } from '../../lockfile/lockfile.ts'
import type { Identity, Integrity, Reason, ReasonCode, State } from '../../types.ts'

/** One package version to judge; a lockfile may hold it at several places. */
export type Subject = {
  readonly name: string
  readonly version: string
  /** The sha512 that the lockfile pins, where it pins one. */
  readonly integrity?: Integrity
  /** In the order of the file; never empty. */
  readonly lines: readonly number[]
  /** Every entry of it is for development only, or optional. */
  readonly dev: boolean
  readonly optional: boolean
}

/** `unknown`: nothing was found against it, but it could not be checked. */
export type Outcome = 'allowed' | 'refused' | 'unknown'

/** A reason of the verdict, or the error that kept us from one. */
export type AuditReason = Omit<Reason, 'code'> & { readonly code: ReasonCode | ErrorCode }

export type FactStates = {
  readonly registrySignature: State
  readonly publishAttestation: State
  readonly provenance: State
}

export type Publisher = Pick<
  Identity,
  'issuer' | 'subject' | 'repository' | 'workflow' | 'ref' | 'commit'
>

export type Judged = Subject & {
  readonly outcome: Outcome
  /** Why not. With `allowed` these are what observe mode lets through. */
  readonly reasons: readonly AuditReason[]
  /** `policy#rule` that decided; none where no verdict was reached. */
  readonly rule?: string
  /** The reason of the waiver that let it in, and the instant at which it ends. */
  readonly waiver?: string
  readonly waiverUntil?: string
  readonly facts?: FactStates
  /** The upstream names the very bytes that the lockfile pins. */
  readonly pinned: boolean
  /** Who signed the provenance, where it verified. */
  readonly publisher?: Publisher
  /** When time alone will change the verdict. */
  readonly changesAt?: string
  readonly milliseconds: number
}

/** An entry that does not come from a registry and needs no verdict of ours. */
export type NotJudged = {
  readonly name: string
  readonly version: string
  readonly kind: LockedKind
  readonly line: number
}

/** An entry that the client would fetch without asking the proxy. */
export type PastProxy = {
  readonly name: string
  readonly version: string
  readonly kind: LockedKind
  readonly line: number
  readonly reason: BypassReason
  /** Clients that would fetch it so. */
  readonly clients: readonly string[]
  /** The address in the lockfile, without credentials and query. */
  readonly resolved?: string
  /** One sentence. */
  readonly message: string
  /** `--fix` can put it right. */
  readonly fixable: boolean
  /**
   * What it fetches has been judged: the lockfile pins the bytes that the upstream names, it asks
   * a registry that we ask ourselves, or it is refused. Where not, the audit could not tell.
   */
  readonly covered: boolean
}

export type Report = {
  /** Path as people know it: from the working directory, with slashes. */
  readonly file: string
  readonly format: LockfileFormat
  readonly formatVersion: string
  /** ISO 8601. */
  readonly at: string
  readonly milliseconds: number
  /** Where clients reach the proxy, and whether somebody said so; else it is the default. */
  readonly registry: string
  readonly registryGiven: boolean
  /** Names with mode. */
  readonly policies: readonly string[]
  readonly policyDigest: string
  /** By name and version. */
  readonly judged: readonly Judged[]
  readonly notJudged: readonly NotJudged[]
  readonly pastProxy: readonly PastProxy[]
  /** Entries left out by --omit, --only and --exclude. */
  readonly filtered: number
  /** Entries that --fix rewrote, or would have with --dry-run. */
  readonly fixed: number
  /** An entry that goes past the proxy counts as refused. */
  readonly strict: boolean
  /** Things to know about the upstream or this audit. */
  readonly notes: readonly string[]
}

const statesOf = ({ evidence }: Assessment['input']): FactStates => ({
  registrySignature: evidence.registrySignature.state,
  publishAttestation: evidence.publishAttestation.state,
  provenance: evidence.provenance.state,
})

const publisherOf = ({ evidence }: Assessment['input']): Publisher | undefined => {
  if (evidence.provenance.state !== 'verified') return undefined
  const { issuer, subject, repository, workflow, ref, commit } = evidence.provenance.identity
  return {
    issuer,
    subject,
    ...(repository !== undefined && { repository }),
    ...(workflow !== undefined && { workflow }),
    ...(ref !== undefined && { ref }),
    ...(commit !== undefined && { commit }),
  }
}

const outcomes = { allow: 'allowed', refuse: 'refused', unavailable: 'unknown' } as const

/** Keeps of an assessment what a report tells; its history of releases is let go. */
export const judgedBy = (
  subject: Subject,
  { verdict, input }: Assessment,
  milliseconds: number,
): Judged => {
  const layer = verdict.layers.find(({ reasons }) => reasons.length > 0) ?? verdict.layers[0]
  const waiver = verdict.layers.find(({ waiver }) => waiver !== undefined)?.waiver
  const publisher = publisherOf(input)
  return {
    ...subject,
    outcome: outcomes[verdict.decision],
    reasons: tellingReasons(verdict),
    ...(layer && { rule: `${layer.policy}#${layer.rule}` }),
    ...(waiver && { waiver: waiver.reason }),
    ...(waiver?.until !== undefined && { waiverUntil: waiver.until }),
    facts: statesOf(input),
    pinned: subject.integrity !== undefined && subject.integrity === input.claims.integrity,
    ...(publisher && { publisher }),
    ...(verdict.changesAt !== undefined && { changesAt: verdict.changesAt }),
    milliseconds,
  }
}

export type Coverage = {
  readonly provenance: number
  readonly signature: number
  readonly unsigned: number
  /** A claim that does not verify, or that could not be checked. */
  readonly other: number
}

type Proof = keyof Coverage

export const proofOf = ({ facts }: Judged): Proof => {
  if (facts === undefined) return 'other'
  const { provenance, registrySignature } = facts
  if (provenance === 'verified') return 'provenance'
  if (provenance !== 'absent') return 'other'
  if (registrySignature === 'verified') return 'signature'
  return registrySignature === 'absent' ? 'unsigned' : 'other'
}

export const coverageOf = (judged: readonly Judged[]): Coverage => {
  const tally = { provenance: 0, signature: 0, unsigned: 0, other: 0 }
  for (const one of judged) tally[proofOf(one)]++
  return tally
}

export type Summary = {
  readonly outcome: 'clean' | 'refused' | 'could-not-tell'
  readonly exitCode: 0 | 1 | 2
  readonly allowed: number
  readonly refused: number
  readonly unknown: number
  /** Allowed, but only because a policy observes. */
  readonly observed: number
  readonly waived: number
}

const exitCodes = { clean: 0, refused: 1, 'could-not-tell': 2 } as const

export const summaryOf = ({ judged, pastProxy, strict }: Report): Summary => {
  const tally = { allowed: 0, refused: 0, unknown: 0 }
  for (const { outcome } of judged) tally[outcome]++
  const refused = tally.refused > 0 || (strict && pastProxy.length > 0)
  const untold = tally.unknown > 0 || pastProxy.some(({ covered }) => !covered)
  const outcome = refused ? 'refused' : untold ? 'could-not-tell' : 'clean'
  const allowed = judged.filter(one => one.outcome === 'allowed')
  return {
    ...tally,
    outcome,
    exitCode: exitCodes[outcome],
    observed: allowed.filter(({ reasons }) => reasons.length > 0).length,
    waived: allowed.filter(({ waiver }) => waiver !== undefined).length,
  }
}

export const idOf = ({ name, version }: { readonly name: string; readonly version: string }) =>
  version === '' ? name : `${name}@${version}`

/** The gravest first: what is forged, then what is not as it was, then what only a rule forbids. */
const gravity: readonly string[] = [
  'INTEGRITY_MISMATCH',
  'WRONG_SUBJECT',
  'INVALID_SIGNATURE',
  'INVALID_ATTESTATION',
  'MANIFEST_MISMATCH',
  'OUT_OF_NAMESPACE',
  'IDENTITY_MISMATCH',
  'PUBLISHER_CHANGED',
  'DOWNGRADED',
  'DENIED',
  'UNSIGNED',
  'NO_PROVENANCE',
  'WAIVER_EXPIRED',
  'CONDITION_FALSE',
  'TOO_NEW',
  'EVIDENCE_UNAVAILABLE',
] satisfies readonly ReasonCode[]

const rank = (code: string) => {
  const at = gravity.indexOf(code)
  return at === -1 ? gravity.length : at
}

const gravest = ({ reasons }: Judged): AuditReason['code'] =>
  reasons.map(({ code }) => code).sort((a, b) => rank(a) - rank(b))[0] ?? 'EINTERNAL'

/** Those with something to tell, by the gravest of their reasons, the gravest first. */
export const byReason = (
  judged: readonly Judged[],
): readonly (readonly [code: AuditReason['code'], judged: readonly Judged[]])[] => {
  const groups = Map.groupBy(judged, gravest)
  return [...groups].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
}
