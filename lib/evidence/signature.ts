/** The registry's signature over `name@version:integrity` (npm, "About registry signatures"). */
import { verify } from 'node:crypto'
import type { Fact, RegistrySignature, SigningTime } from '../types.ts'
import type { ExamineRequest } from './examiner.ts'
import { refuse } from './finding.ts'
import { checkKeyTime, type KeyringKey } from './keyring.ts'
import type { Verification } from './verification.ts'

const code = 'INVALID_SIGNATURE'

/** npm's registry gives one; two while it changes keys. */
const mostSignatures = 8

/** Milliseconds, or undefined for what is missing or no time at all. */
const at = (time: string | undefined): number | undefined => {
  const value = time === undefined ? Number.NaN : Date.parse(time)
  return Number.isNaN(value) ? undefined : value
}

/**
 * When the signature was made, nobody says. It is no older than the version, whose age we have from
 * the verified log, else from the packument's unsigned `time`, else from our own first sight; and it
 * is no older than our last look that did not find the version, which no registry can back-date. A
 * key that had ended by then did not make it. The beginning of a key's validity is held against now
 * only: npm signed old versions again with new keys, so a version older than its key is honest.
 */
const checkTimes = (
  key: KeyringKey,
  { claims, sighting }: ExamineRequest,
  logged: SigningTime | undefined,
  now: number,
): void => {
  const oldest = [
    at(logged?.time) ?? at(claims.publishedAt) ?? at(sighting?.firstSeen),
    at(sighting?.absentAt),
  ].filter(time => time !== undefined)
  const begins = Math.min(...key.periods.map(({ from }) => from))
  if (now < begins) checkKeyTime(key, now, code)
  // a time before the key's beginning is the version's age, not the signature's
  for (const time of oldest) checkKeyTime(key, Math.max(time, begins), code)
}

/**
 * Every signature must verify, as npm asks (pacote lib/registry.js). `logged` is the verified time
 * of the publish attestation. Throws a finding.
 */
export const verifyRegistrySignature = (
  { keyring }: Verification,
  request: ExamineRequest,
  logged: SigningTime | undefined,
  now: number,
): Fact<RegistrySignature> => {
  const { package: id, integrity, claims } = request
  const [first] = claims.signatures
  if (first === undefined)
    return { state: 'absent', detail: 'The packument has no registry signature.' }
  if (!keyring.has('npm:signatures'))
    return {
      state: 'absent',
      detail:
        'There is a registry signature, but no registry key for npm:signatures is configured.',
    }
  if (claims.signatures.length > mostSignatures)
    refuse(code, 'The packument has too many registry signatures.', {
      npmCode: 'EINTEGRITYSIGNATURE',
      wanted: `at most ${mostSignatures}`,
      found: `${claims.signatures.length}`,
    })
  const message = Buffer.from(`${id.name}@${id.version}:${integrity}`)
  const fingerprints: string[] = []
  for (const { keyid, sig } of claims.signatures) {
    const key = keyring.find(keyid, 'npm:signatures', code)
    fingerprints.push(key.fingerprint)
    checkTimes(key, request, logged, now)
    if (!verify('sha256', message, key.publicKey, Buffer.from(sig, 'base64')))
      refuse(
        code,
        'The registry signature does not match the package, version and integrity.',
        {
          npmCode: 'EINTEGRITYSIGNATURE',
          wanted: message.toString(),
          found: keyid,
        },
      )
  }
  return { state: 'verified', keyId: first.keyid, fingerprints }
}
