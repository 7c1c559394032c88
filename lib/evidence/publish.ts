/**
 * npm's publish attestation: the registry's own word that it took this version in
 * (https://github.com/npm/attestation/tree/main/specs/publish).
 */
import type { Fact, PublishAttestation } from '../types.ts'
import type { AttestationEntry } from './attestations.ts'
import { parseBundle, verifyBundle } from './bundle.ts'
import { quote, refuse } from './finding.ts'
import type { ExamineRequest } from './examiner.ts'
import { checkSubject, envelopeOf, parseStatement } from './statement.ts'
import type { Verification } from './verification.ts'

export const publishPrefix = 'https://github.com/npm/attestation/tree/main/specs/publish/'

/** npm writes its registry without the slash at the end. */
const sameRegistry = (a: unknown, b: string): boolean =>
  typeof a === 'string' && a.replace(/\/$/, '') === b.replace(/\/$/, '')

/** Throws a finding, or whatever the libraries throw. */
export const verifyPublish = (
  { verifiers, keyring, registries }: Verification,
  { predicateType, bundle: json }: AttestationEntry,
  { package: id, integrity }: ExamineRequest,
): Fact<PublishAttestation> => {
  const bundle = parseBundle(json)
  const { content } = bundle.verificationMaterial
  // a certificate proves somebody, but never the registry
  if (content.$case !== 'publicKey')
    return refuse(
      'INVALID_ATTESTATION',
      'The publish attestation is not signed by a registry key.',
      {
        npmCode: 'EATTESTATIONVERIFY',
        wanted: 'a key for npm:attestations',
        found: 'a certificate',
      },
    )
  if (!keyring.has('npm:attestations'))
    return {
      state: 'absent',
      detail:
        'There is a publish attestation, but no registry key for npm:attestations is configured.',
    }
  const envelope = envelopeOf(bundle)
  // npm finds the key by the envelope's id, the library by the bundle's hint
  if (envelope.keyId !== content.publicKey.hint)
    refuse('INVALID_ATTESTATION', 'The publish attestation names two different keys.', {
      npmCode: 'EMISSINGSIGNATUREKEY',
      wanted: content.publicKey.hint,
      found: envelope.keyId,
    })
  const { signedAt } = verifyBundle(verifiers, bundle)
  const { predicate, subject } = parseStatement(envelope, predicateType)
  checkSubject(subject, id, integrity)

  const expect = (field: string, wanted: string, agrees: boolean): void => {
    if (!agrees)
      refuse('WRONG_SUBJECT', `The publish attestation is about another ${field}.`, {
        npmCode: 'EATTESTATIONSUBJECT',
        wanted,
        found: quote(predicate[field]),
      })
  }
  expect('name', id.name, predicate.name === id.name)
  expect('version', id.version, predicate.version === id.version)
  const { registry } = keyring.find(envelope.keyId, 'npm:attestations', 'INVALID_ATTESTATION')
  const allowed = registry === undefined ? registries : [registry]
  if (allowed !== undefined)
    expect(
      'registry',
      allowed.join(' or '),
      allowed.some(url => sameRegistry(predicate.registry, url)),
    )
  return { state: 'verified', keyId: envelope.keyId, predicateType, signedAt }
}
