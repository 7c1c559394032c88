/** Bytes and claims in, facts out. What the gate hands to the verification workers. */
import type { Readable } from 'node:stream'
import type {
  Evidence,
  Fact,
  Integrity,
  ManifestAgreement,
  PackageId,
  Sighting,
  VersionClaims,
  Vouch,
} from '../types.ts'
import type { VouchRequest } from './vouch.ts'

/** What was found when the attestations were asked for. */
export type AttestationsFound =
  /** The packument claims none, so nobody asked. */
  | { readonly kind: 'unclaimed' }
  /** The registry's response document, as received. */
  | { readonly kind: 'found'; readonly body: Uint8Array }
  /** Claimed, but the upstream has none or did not answer: `unavailable`, never `absent`. */
  | { readonly kind: 'unavailable'; readonly detail: string }

export type ExamineRequest = {
  readonly package: PackageId
  /** What every signature and subject must name: from the bytes where they are here, else claimed. */
  readonly integrity: Integrity
  readonly claims: VersionClaims
  readonly attestations: AttestationsFound
  readonly sighting?: Sighting
}

export interface Examiner {
  /** Digest of the trust material in use. */
  readonly trust: string
  /** Never rejects for anything found in the input: whatever throws while verifying is `invalid`. */
  examine(request: ExamineRequest): Promise<Evidence>
  /**
   * One fact for each vouch, in their order. Never rejects: what throws while verifying is
   * `invalid`, a worker that could not answer is `unavailable`.
   */
  vouches(request: VouchRequest): Promise<readonly Fact<Vouch>[]>
  /**
   * Compares the package.json inside a tarball with the version's manifest as the packument gave
   * it. Reads a stream to its end, or destroys it. Never rejects: a tarball that cannot be read
   * is `invalid`, a worker that could not answer is `unavailable`.
   */
  inspect(
    tarball: Readable | Uint8Array,
    claimed: Readonly<Record<string, unknown>>,
  ): Promise<Fact<ManifestAgreement>>
  close(): Promise<void>
}
