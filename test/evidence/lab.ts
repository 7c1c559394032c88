/** What the tests of this room share: an artifact, a request about it, facts out. */
import { createHash } from 'node:crypto'
import { examineWith } from '../../lib/evidence/examine.ts'
import type { AttestationsFound, ExamineRequest } from '../../lib/evidence/examiner.ts'
import { openVerification, type Verification } from '../../lib/evidence/verification.ts'
import { assembleTrust } from '../../lib/trust/load-trust.ts'
import { parseRegistryKeys } from '../../lib/trust/registry-keys.ts'
import { checkTrustedRoot } from '../../lib/trust/trusted-root.ts'
import type {
  Evidence,
  Fact,
  Integrity,
  RootScope,
  Sighting,
  VersionClaims,
} from '../../lib/types.ts'
import type { Attestation, LocalSigstore, Statement } from '../support/local-sigstore.ts'

export const registry = 'https://npm.acme.example'

export const artifact: { name: string; version: string; integrity: Integrity } = {
  name: '@acme/widget',
  version: '1.2.3',
  integrity: `sha512-${createHash('sha512').update('widget').digest('base64')}`,
}

export const otherIntegrity: Integrity = `sha512-${createHash('sha512').update('other').digest('base64')}`

export const foundIn = (document: unknown): AttestationsFound => ({
  kind: 'found',
  body: Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
})

export const found = (...attestations: readonly Attestation[]) => foundIn({ attestations })

export const requestFor = (
  attestations: AttestationsFound = { kind: 'unclaimed' },
  claims: Partial<VersionClaims> = {},
  sighting?: Sighting,
): ExamineRequest => ({
  package: { name: artifact.name, version: artifact.version },
  integrity: artifact.integrity,
  claims: {
    version: artifact.version,
    integrity: artifact.integrity,
    tarball: 'http://127.0.0.1/widget-1.2.3.tgz',
    signatures: [],
    publishedAt: '2026-01-01T00:00:00.000Z',
    ...claims,
  },
  attestations,
  ...(sighting === undefined ? {} : { sighting }),
})

export const verificationFor = (
  sigstore: LocalSigstore,
  keys: unknown = sigstore.registryKeys(),
  roots: readonly object[] = [sigstore.trustedRoot],
  scopes: readonly RootScope[] = [],
): Verification =>
  openVerification(
    assembleTrust({
      roots: roots.map(root => checkTrustedRoot(root, 'local')),
      scopes,
      registryKeys: keys === undefined ? [] : parseRegistryKeys(keys, 'local', registry),
      sources: [],
    }),
  )

/** The facts about these attestations, and nothing else. */
export const examineOnly = (
  verification: Verification,
  ...attestations: readonly Attestation[]
): Evidence => examineWith(verification, requestFor(found(...attestations)))

/** `verified`, `absent`, `unavailable`, or the code of what is invalid. */
export const outcome = (fact: Fact): string =>
  fact.state === 'invalid' ? fact.code : fact.state

/** A deep change: `set(statement, ['predicate', 'builder', 'id'], x)`. */
const set = (value: unknown, [key, ...rest]: readonly string[], change: unknown): object => {
  const copy: Record<string, unknown> = Array.isArray(value)
    ? ([...value] as unknown as Record<string, unknown>)
    : { ...(value as object) }
  copy[key ?? ''] = rest.length === 0 ? change : set(copy[key ?? ''], rest, change)
  return copy
}
/** `changed('predicate.builder.id', x)` as sealing options: signed with that one thing different. */
export const changed = (path: string, change: unknown) => ({
  tamper: { statement: (statement: Statement) => set(statement, path.split('.'), change) },
})
