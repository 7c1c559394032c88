/**
 * A policy as it is judged by: everything inherited is written out, every name resolved, so that
 * judging only reads. Plain data: it survives JSON and structured clone. All durations are
 * milliseconds, all instants ISO 8601 in UTC.
 */
import type { Identity, JudgeInput, Mode, Release, Verdict } from '../types.ts'

/** `if-present`: what is claimed must verify. `required`: absent is refused as well. */
export type Presence = 'required' | 'if-present' | 'ignore'

/** The fields of an identity that a policy may name, in the order in which they are compared. */
export const identityFields = [
  'issuer',
  'subject',
  'repository',
  'repositoryId',
  'owner',
  'ownerId',
  'workflow',
  'signer',
  'ref',
  'commit',
  'trigger',
  'runner',
  'environment',
  'visibility',
] as const satisfies readonly (keyof Identity)[]

export type IdentityField = (typeof identityFields)[number]

/** Every field given must match, exactly or by the anchored glob written there. */
export type IdentityPattern = {
  /** The name under `identities`; none when written in place. */
  readonly name?: string
  readonly line?: number
  readonly fields: Readonly<Partial<Record<IdentityField, string>>>
  /** Fields with several values, one of which must match. */
  readonly oneOf?: Readonly<Partial<Record<IdentityField, readonly string[]>>>
  /** Values that must not be there; a certificate without the field is fine. */
  readonly noneOf?: Readonly<Partial<Record<IdentityField, readonly string[]>>>
  /** In place of fields: a public key. */
  readonly key?: KeyPattern
}

export type KeyPattern = {
  /** As written: a path, PEM, or the key's name. */
  readonly text: string
  /** `SHA256:…`; none where its file was not read, and then it is nobody's. */
  readonly keyId?: string
  /** When it must have signed, by the word of a log or a timestamp; instants. */
  readonly validFrom?: string
  readonly validUntil?: string
}

/** Gives the text of a key file that a policy names; throws a sentence. */
export type ReadKey = (path: string) => string

export type ProvenanceDemand =
  | { readonly want: Presence }
  /** Required, and signed by one of these. */
  | { readonly want: 'identity'; readonly identities: readonly IdentityPattern[] }

export type Requirement = {
  readonly registrySignature: Presence
  readonly publishAttestation: Presence
  readonly provenance: ProvenanceDemand
  readonly manifest: 'if-present' | 'ignore'
  /** One of these must have vouched for exactly these bytes. */
  readonly vouch?: readonly IdentityPattern[]
  /** One of these keys must have made a registry signature. */
  readonly signature?: readonly IdentityPattern[]
}

export type ContinuityLevel = 'off' | 'release-line' | 'package'

export type Continuity = {
  readonly level: ContinuityLevel
  /** Age from which a loss of provenance that did not last is settled. */
  readonly settledAfter: number | 'never'
}

export type PackagePattern =
  | { readonly kind: 'all'; readonly text: string }
  | {
      readonly kind: 'exact'
      readonly text: string
      readonly name: string
      readonly version?: string
    }
  /** Exactly one `*`, which stands for anything but a slash, the empty string included. */
  | {
      readonly kind: 'glob'
      readonly text: string
      readonly head: string
      readonly tail: string
    }

/** CEL, checked when the policy was read. */
export type Condition = { readonly text: string }

export type Waiver = {
  readonly reason: string
  readonly by?: string
  /** The instant at which it ends. */
  readonly until?: string
}

export type Outcome =
  /** One of the alternatives must hold; never empty. */
  | { readonly kind: 'require'; readonly anyOf: readonly Requirement[] }
  | { readonly kind: 'allow'; readonly waiver: Waiver }
  | { readonly kind: 'deny'; readonly reason: string }

/** What governs one package version: a rule, or the defaults under the name `defaults`. */
export type Terms = {
  readonly name: string
  /** Line in the file; none for the built-in baseline and where defaults were not written. */
  readonly line?: number
  readonly mode: Mode
  readonly outcome: Outcome
  readonly continuity: Continuity
  /** 0 asks for none. */
  readonly minimumAge: number
  /** What must hold besides what is required. */
  readonly where?: Condition
}

export type Rule = Terms & {
  readonly packages: readonly PackagePattern[]
  /** A semver range, as written. */
  readonly versions?: string
  /** Reserves the names for this upstream. */
  readonly upstream?: string
}

export type Policy = {
  /** As configured, or `baseline`. */
  readonly name: string
  /** The file it was read from; none for the built-in baseline. */
  readonly file?: string
  readonly mode: Mode
  readonly identities: Readonly<Record<string, IdentityPattern>>
  /** The first that matches governs, then `defaults`. */
  readonly rules: readonly Rule[]
  readonly defaults: Terms
}

/** parse.ts. Throws EPOLICY with every complaint at file:line:column; nothing else. */
export type ParsePolicy = (
  text: string,
  options: {
    readonly file: string
    readonly name?: string
    /** The upstreams that are configured; a rule that reserves for another is complained about. */
    readonly upstreams?: readonly string[]
    /** Without it the keys that are files belong to nobody. */
    readonly readKey?: ReadKey
  },
) => Policy
/** evaluate.ts. Without any policy the baseline judges. Never throws. */
export type Judge = (policies: readonly Policy[], input: JudgeInput, now: Date) => Verdict
/** digest.ts: sha256, hex, over what the policies say (not where they say it). */
export type PolicyDigest = (policies: readonly Policy[]) => string
/** namespace.ts: the upstream that the first rule with `upstream` reserves the name for. */
export type UpstreamFor = (policies: readonly Policy[], name: string) => string | undefined
/** continuity.ts: the earlier releases that continuity compares with, nearest first. */
export type ComparableReleases = (
  level: ContinuityLevel,
  version: string,
  history: readonly Release[],
  publishedAt?: string,
) => readonly Release[]
/** continuity.ts: true while judging needs identities of earlier releases that nobody fetched. */
export type WantsPublisherHistory = (policies: readonly Policy[], input: JudgeInput) => boolean
/**
 * continuity.ts: whose identities those are, the most telling first; empty when none is wanted.
 * The gate should try at least the first of them.
 */
export type PublisherPredecessors = (
  policies: readonly Policy[],
  input: JudgeInput,
) => readonly Release[]
