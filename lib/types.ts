/**
 * The vocabulary. Every room speaks in these records; this file imports nothing.
 * All times are ISO 8601 strings in UTC; all sizes are bytes; all digests are lower-case hex
 * unless the type says SRI.
 */

export type PackageId = { readonly name: string; readonly version: string }

/** Subresource integrity with exactly one sha512 digest, `sha512-<base64>`. */
export type Integrity = `sha512-${string}`

// ---------------------------------------------------------------- evidence

/**
 * The four answers to one claim. They never collapse:
 * `absent`: the publisher never signed. `invalid`: signed, but it does not verify.
 * `unavailable`: we could not look; retried, and never remembered as a verdict.
 */
export type State = 'verified' | 'absent' | 'invalid' | 'unavailable'

/** A claim and its state. `V` is what is known once it verified. */
export type Fact<V = object> =
  | ({ readonly state: 'verified' } & Readonly<V>)
  | { readonly state: 'absent'; readonly detail?: string }
  | {
      readonly state: 'invalid'
      readonly code: InvalidCode
      /** One sentence naming what is wrong. */
      readonly detail: string
      /** npm's own code for the same finding, where npm has one (pacote lib/registry.js). */
      readonly npmCode?: NpmCode
      readonly wanted?: string
      readonly found?: string
    }
  | { readonly state: 'unavailable'; readonly detail: string }

export type InvalidCode =
  | 'INVALID_SIGNATURE'
  | 'INVALID_ATTESTATION'
  | 'WRONG_SUBJECT'
  | 'INTEGRITY_MISMATCH'
  | 'MANIFEST_MISMATCH'

export type NpmCode =
  | 'EINTEGRITY'
  | 'EINTEGRITYSIGNATURE'
  | 'EMISSINGSIGNATUREKEY'
  | 'EEXPIREDSIGNATUREKEY'
  | 'EATTESTATIONSUBJECT'
  | 'EATTESTATIONVERIFY'

/** When a signature was made, as told by somebody other than the signer. */
export type SigningTime = {
  readonly time: string
  readonly source: 'log' | 'timestamp-authority'
}

/**
 * Who signed, read from the Fulcio certificate only (extensions 1.3.6.1.4.1.57264.1.1 to .24).
 * The *signer* is the workflow that ran the signing job, which may be a reusable one of another
 * repository; the *workflow* and *repository* are the caller's, the code that was built.
 */
export type Identity = {
  /** .8, else .1: the OIDC issuer. */
  readonly issuer: string
  /** Subject alternative name: a URI, an e-mail address or an otherName (.7). */
  readonly subject: string
  readonly subjectType: 'uri' | 'email' | 'other'
  /** .9 Build Signer URI and .10 its digest. */
  readonly signer?: string
  readonly signerDigest?: string
  /** .11 */
  readonly runner?: string
  /** .12 as a URL, else made from .5 for GitHub. */
  readonly repository?: string
  /** .13, else .3 */
  readonly commit?: string
  /** .14, else .6 */
  readonly ref?: string
  /** .15, .16, .17 */
  readonly repositoryId?: string
  readonly owner?: string
  readonly ownerId?: string
  /** Path inside the repository taken from .18 (else from the SAN where only .1 to .6 exist). */
  readonly workflow?: string
  /** .18 whole, and .19 */
  readonly workflowUri?: string
  readonly workflowDigest?: string
  /** .4: the workflow's display name; tells people something, proves nothing about the file. */
  readonly workflowName?: string
  /** .20, else .2 */
  readonly trigger?: string
  /** .21 to .24 */
  readonly run?: string
  readonly visibility?: string
  readonly environment?: string
  readonly tokenSubject?: string
}

export type RegistrySignature = {
  readonly keyId: string
  /**
   * Of every key that signed, as `SHA256:` and the digest of its SubjectPublicKeyInfo; `keyId` is
   * only what its owner calls it.
   */
  readonly fingerprints?: readonly string[]
}

export type PublishAttestation = {
  readonly keyId: string
  readonly predicateType: string
  readonly signedAt?: SigningTime
}

export type Provenance = {
  readonly identity: Identity
  readonly predicateType: string
  readonly buildType: string
  readonly builderId: string
  readonly signedAt?: SigningTime
}

/**
 * Somebody's word over exactly these bytes of a package that is not theirs. Who signed is proven;
 * everything under `said` is what they wrote.
 */
export type Vouch = {
  /** sha256 of the statement that was signed: what a revocation names. */
  readonly id: string
  readonly signer:
    | { readonly kind: 'certificate'; readonly identity: Identity }
    /** `SHA256:` and the digest of the public key, base64 without padding. */
    | { readonly kind: 'key'; readonly keyId: string }
  readonly said: {
    readonly reason: string
    readonly by?: string
    readonly at: string
    readonly until?: string
  }
  /** Absent where a key signed and neither log nor timestamp tells. */
  readonly signedAt?: SigningTime
  readonly revoked?: { readonly reason: string; readonly at: string }
}

/** The package.json inside the tarball agrees with the packument's manifest; `told`: its digest. */
export type ManifestAgreement = { readonly compared: readonly string[]; readonly told?: string }

/** All facts about one package version and one integrity, under one version of the trust material. */
export type Evidence = {
  readonly package: PackageId
  readonly integrity: Integrity
  readonly registrySignature: Fact<RegistrySignature>
  readonly publishAttestation: Fact<PublishAttestation>
  readonly provenance: Fact<Provenance>
  /** Present once the bytes were here. */
  readonly bytes?: Fact<{ readonly size: number }>
  readonly manifest?: Fact<ManifestAgreement>
  /** One for each that is kept for this name and version, whoever signed it. */
  readonly vouches?: readonly Fact<Vouch>[]
  /** Digest of the trust material these facts were judged under. */
  readonly trust: string
}

// ---------------------------------------------------------------- what the upstream claims

/** What one version's manifest in the packument claims; nothing here is proven. */
export type VersionClaims = {
  readonly version: string
  readonly integrity?: Integrity
  /** sha1 hex; older registries give nothing else. */
  readonly shasum?: string
  /** Absolute URL at the upstream. */
  readonly tarball: string
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[]
  /** `dist.attestations`: where they are and whether provenance is among them. */
  readonly attestations?: { readonly url: string; readonly provenance?: string }
  /** The packument's `time[version]`: unsigned. */
  readonly publishedAt?: string
  readonly deprecated?: string
  /** A mirror and the registry whose evidence counts disagree: what each says, and their names. */
  readonly splitView?: {
    readonly mirror: string
    readonly evidence: string
    readonly mirrorSays: string
    readonly evidenceSays: string
  }
}

/** When this instance saw a version; `absentAt`: its last look without it, or at other bytes of it. */
export type Sighting = { readonly firstSeen: string; readonly absentAt?: string }

/** Another version of the same package, as far as it matters to continuity; a history has each once. */
export type Release = {
  readonly version: string
  readonly publishedAt?: string
  readonly sighting?: Sighting
  /** The packument says that it has provenance. */
  readonly claimsProvenance: boolean
  /** What was proven when somebody looked; absent when nobody has yet. */
  readonly provenance?: State
  readonly identity?: Identity
}

// ---------------------------------------------------------------- verdict

export type ReasonCode =
  | 'UNSIGNED'
  | 'NO_PROVENANCE'
  | 'NO_VOUCH'
  | 'VOUCH_EXPIRED'
  | 'VOUCH_REVOKED'
  | InvalidCode
  | 'IDENTITY_MISMATCH'
  | 'DOWNGRADED'
  | 'PUBLISHER_CHANGED'
  | 'TOO_NEW'
  | 'CONDITION_FALSE'
  | 'DENIED'
  | 'WAIVER_EXPIRED'
  | 'OUT_OF_NAMESPACE'
  | 'EVIDENCE_UNAVAILABLE'

/** One cause of a refusal. `message` is one sentence in plain ASCII, fit for a header. */
export type Reason = {
  readonly code: ReasonCode
  readonly message: string
  /** The field compared, for IDENTITY_MISMATCH and the like, with both sides. */
  readonly field?: string
  readonly wanted?: string
  readonly found?: string
  readonly npmCode?: NpmCode
}

export type Mode = 'enforce' | 'observe'

/** What one layer (one policy file) said. */
export type RuleVerdict = {
  /** The policy file's name as configured, or `baseline`. */
  readonly policy: string
  /** The rule's name, or `defaults`. */
  readonly rule: string
  /** Line of the rule in its file. */
  readonly line?: number
  readonly mode: Mode
  /** Empty when the rule is content. */
  readonly reasons: readonly Reason[]
  /** The reason a waiver gives, when one admitted the package. */
  readonly waiver?: { readonly reason: string; readonly by?: string; readonly until?: string }
  /** The clock the minimum age was judged by, and which one it was. */
  readonly clock?: AgeClock
}

/**
 * The earliest time that can be trusted: the log's, else our own first sight of a version that
 * was not there when we last looked, else the packument's unsigned `time`.
 */
export type AgeClock = {
  readonly time: string
  readonly source: 'log' | 'first-seen' | 'packument'
}

/** `unavailable`: nothing speaks against it but it could not be checked; asked again, never stored. */
export type Decision = 'allow' | 'refuse' | 'unavailable'

export type Verdict = {
  readonly package: PackageId
  readonly integrity?: Integrity
  readonly decision: Decision
  /** Why not. With `decision: allow` these are what observe mode let through. */
  readonly reasons: readonly Reason[]
  readonly layers: readonly RuleVerdict[]
  /** Digest over all layers in force. */
  readonly policyDigest: string
  /** When time alone will change this verdict (age reached, waiver ended). */
  readonly changesAt?: string
}

/** Everything a verdict rests on; the clock is an argument, so that judging is pure. */
export type JudgeInput = {
  readonly package: PackageId
  /** Name of the upstream it came from. */
  readonly upstream: string
  readonly evidence: Evidence
  readonly claims: VersionClaims
  readonly sighting?: Sighting
  /** Every other version known of this package, in any order. */
  readonly history: readonly Release[]
}

// ---------------------------------------------------------------- trust

/** A registry's signing key with what it may be used for and when (TUF target keys.json form). */
export type RegistryKey = {
  readonly keyId: string
  readonly usage: 'npm:signatures' | 'npm:attestations'
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly spki: string
  /** URL of the registry it belongs to, where that is known; its publish attestations must name it. */
  readonly registry?: string
  readonly validFrom?: string
  readonly validUntil?: string
}

/** Whom a trusted root may speak for; what is given must all match. Without anything: everybody. */
export type RootScope = {
  /** OIDC issuers, exactly as certificates say them. */
  readonly issuers?: readonly string[]
  /** Anchored globs over the certificate's subject. */
  readonly subjects?: readonly string[]
}

export type TrustMaterial = {
  /** sha256 over the content of what is below: the version of the trust material. */
  readonly digest: string
  /** sigstore trusted_root.json documents, parsed. */
  readonly roots: readonly object[]
  /** The scope of the root at the same place; a missing or empty one is everybody. */
  readonly scopes?: readonly RootScope[]
  readonly registryKeys: readonly RegistryKey[]
  /** Where each part came from, for people. */
  readonly sources: readonly string[]
}

/** A verdict as it is on record, whoever it was given to. */
export type RecordedVerdict = Omit<AuditEntry, 'at' | 'last' | 'times' | 'client'>

export type AuditEntry = {
  readonly at: string
  /** Where it stands for several: how often it was given, from `at` to `last`. */
  readonly times?: number
  readonly last?: string
  /** Who asked: address and user agent; never a token. */
  readonly client: {
    readonly address: string
    readonly agent?: string
    /** The token's name, or who the OIDC token says it is; absent for anonymous clients. */
    readonly name?: string
    /** The view it was judged in, where it was one. */
    readonly view?: string
  }
  readonly package: PackageId
  readonly integrity?: Integrity
  readonly decision: Decision
  /** Rule that governed, `policy#rule`. */
  readonly rule: string
  readonly reasons: readonly Reason[]
  readonly policyDigest: string
  /** Verdict served from memory or stored facts, or judged anew. */
  readonly fresh: boolean
}
