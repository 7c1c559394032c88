/** Given facts → what a policy judges by. What a case does not say is as usual, and harmless. */
import type {
  Evidence,
  Fact,
  Identity,
  InvalidCode,
  JudgeInput,
  PackageId,
  Release,
} from '../types.ts'
import { vouchOf } from './case-vouch.ts'
import type { CaseDocument, FactDocument, SignerDocument } from './case-schema.ts'

type Path = readonly PropertyKey[]

export type InputDesk = {
  /** Where the case stands. */
  readonly at: Path
  readonly now: Date
  /** A signer by its name; complains when there is none. */
  readonly signer: (name: string, path: Path) => Identity | undefined
  readonly inPlace: (written: SignerDocument, path: Path) => Identity
  readonly time: (text: string, path: Path) => string
  readonly complain: (path: Path, message: string) => void
}

const YEAR = 365 * 86_400_000
const integrity = `sha512-${Buffer.alloc(64).toString('base64')}` as const

const invalid = (code: InvalidCode) =>
  ({ state: 'invalid', code, detail: 'the case says so' }) as const
const absent = { state: 'absent' } as const
const unavailable = { state: 'unavailable', detail: 'the case says so' } as const

const factOf = <V>(
  said: FactDocument | undefined,
  verified: { readonly state: 'verified' } & V,
  code: InvalidCode,
): Fact<V> | undefined => {
  if (said === undefined) return undefined
  if (typeof said === 'object') return invalid(said.invalid)
  return { verified, absent, invalid: invalid(code), unavailable }[said]
}

type Provenance = Evidence['provenance']

const provenanceOf = (
  said: NonNullable<CaseDocument['facts']>['provenance'],
  signedAt: object,
  path: Path,
  desk: InputDesk,
): Provenance => {
  const by = (identity: Identity | undefined): Provenance =>
    identity === undefined
      ? absent
      : {
          state: 'verified',
          identity,
          predicateType: 'https://slsa.dev/provenance/v1',
          buildType: '',
          builderId: '',
          ...signedAt,
        }
  if (said === undefined || said === 'absent') return absent
  if (said === 'invalid') return invalid('INVALID_ATTESTATION')
  if (said === 'unavailable') return unavailable
  if (said === 'verified') {
    desk.complain(path, 'provenance: verified by whom? wanted a signer')
    return absent
  }
  if (typeof said === 'string') return by(desk.signer(said, path))
  if ('invalid' in said) return invalid(said.invalid)
  return by(desk.inPlace(said, path))
}

const releaseOf = (
  said: NonNullable<CaseDocument['history']>[number],
  path: Path,
  desk: InputDesk,
): Release => {
  const { version, published, provenance = 'absent' } = said
  const common = {
    version,
    ...(published !== undefined && {
      publishedAt: desk.time(published, [...path, 'published']),
    }),
  }
  if (provenance === 'absent') return { ...common, claimsProvenance: false }
  if (provenance === 'claimed') return { ...common, claimsProvenance: true }
  if (provenance === 'invalid' || provenance === 'unavailable')
    return { ...common, claimsProvenance: true, provenance }
  const at = [...path, 'provenance']
  const identity =
    typeof provenance === 'string' ? desk.signer(provenance, at) : desk.inPlace(provenance, at)
  return {
    ...common,
    claimsProvenance: true,
    ...(identity && { provenance: 'verified' as const, identity }),
  }
}

export const inputOf = (said: CaseDocument, id: PackageId, desk: InputDesk): JudgeInput => {
  const { at, now } = desk
  const { facts = {}, history = [], published, upstream = 'npm' } = said
  const inFacts = (key: string): Path => [...at, 'facts', key]
  const signedAt =
    facts.signed === undefined
      ? {}
      : {
          signedAt: {
            time: desk.time(facts.signed, inFacts('signed')),
            source: 'log' as const,
          },
        }
  const provenance = provenanceOf(facts.provenance, signedAt, inFacts('provenance'), desk)
  const hasProvenance = provenance.state !== 'absent'
  const publish = facts.publishAttestation ?? (hasProvenance ? 'verified' : 'absent')
  const registry = facts.registrySignature ?? 'verified'
  const manifest = factOf(
    facts.manifest,
    { state: 'verified', compared: [] },
    'MANIFEST_MISMATCH',
  )
  const bytes = factOf(facts.bytes, { state: 'verified', size: 0 }, 'INTEGRITY_MISMATCH')
  const evidence: Evidence = {
    package: id,
    integrity,
    registrySignature:
      factOf(
        registry,
        { state: 'verified', keyId: 'case', fingerprints: facts.signatureKeys ?? [] },
        'INVALID_SIGNATURE',
      ) ?? absent,
    publishAttestation:
      factOf(
        publish,
        { state: 'verified', keyId: 'case', predicateType: '', ...signedAt },
        'INVALID_ATTESTATION',
      ) ?? absent,
    provenance,
    ...(manifest && { manifest }),
    ...(bytes && { bytes }),
    ...(facts.vouches && {
      vouches: facts.vouches.map((one, i) => vouchOf(one, [...inFacts('vouches'), i], desk)),
    }),
    trust: 'case',
  }
  const publishedAt =
    published === undefined
      ? new Date(now.getTime() - YEAR).toISOString()
      : desk.time(published, [...at, 'published'])
  return {
    package: id,
    upstream,
    evidence,
    claims: {
      version: id.version,
      integrity,
      tarball: '',
      signatures: [],
      publishedAt,
      ...((hasProvenance || publish !== 'absent') && {
        attestations: { url: '', ...(hasProvenance && { provenance: 'case' }) },
      }),
    },
    history: history.map((release, i) => releaseOf(release, [...at, 'history', i], desk)),
  }
}
