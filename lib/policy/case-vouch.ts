/** A vouch as a case writes it → the fact that verifying one would give. */
import { keyIdPattern } from '../key-id.ts'
import type { Fact, Vouch } from '../types.ts'
import type { InputDesk } from './case-input.ts'
import type { VouchDocument } from './case-schema.ts'

const signerOf = (
  { by }: VouchDocument,
  path: readonly PropertyKey[],
  desk: InputDesk,
): Vouch['signer'] | undefined => {
  if (typeof by === 'string' && keyIdPattern.test(by)) return { kind: 'key', keyId: by }
  const at = [...path, 'by']
  const identity = typeof by === 'string' ? desk.signer(by, at) : desk.inPlace(by, at)
  return identity && { kind: 'certificate', identity }
}

export const vouchOf = (
  said: VouchDocument,
  path: readonly PropertyKey[],
  desk: InputDesk,
): Fact<Vouch> => {
  const signer = signerOf(said, path, desk)
  const detail = 'the case says so'
  if (said.state === 'unavailable') return { state: 'unavailable', detail }
  if (said.state === 'invalid' || signer === undefined)
    return { state: 'invalid', code: 'INVALID_ATTESTATION', detail }
  const { until, signed, revoked } = said
  const at = desk.now.toISOString()
  return {
    state: 'verified',
    id: path.join('.'),
    signer,
    said: {
      reason: detail,
      at,
      ...(until !== undefined && { until: desk.time(until, [...path, 'until']) }),
    },
    ...(signed !== undefined && {
      signedAt: { time: desk.time(signed, [...path, 'signed']), source: 'log' },
    }),
    ...(revoked === true && { revoked: { reason: detail, at } }),
  }
}
