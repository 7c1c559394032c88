/**
 * When a log's key counts. An inclusion promise tells the time and is checked against the key's
 * validity by the library; an entry proven by inclusion alone (Rekor v2) tells none, so that the
 * times that timestamp authorities tell are held to it here.
 */
import type { SignedEntity, TrustMaterial, Verifier } from '@sigstore/verify'
import { refuse } from './finding.ts'

type Logs = TrustMaterial['tlogs']

const checkLogTimes = ({ tlogEntries, timestamps }: SignedEntity, logs: Logs): void => {
  const times = timestamps.flatMap(stamp =>
    stamp.$case === 'timestamp-authority' ? [stamp.timestamp.signingTime] : [],
  )
  for (const { inclusionPromise, logId } of tlogEntries) {
    if (inclusionPromise !== undefined) continue
    const its = logs.filter(({ logID }) => logID.equals(logId.keyId))
    const valid = its.some(({ validFor: { start, end } }) =>
      times.every(time => start <= time && time <= end),
    )
    if (!valid)
      refuse('INVALID_ATTESTATION', 'The key of the transparency log was not valid then.', {
        npmCode: 'EATTESTATIONVERIFY',
        found: times.map(time => time.toISOString()).join(', '),
      })
  }
}

export type EntityVerifier = Pick<Verifier, 'verify'>

/** What the library accepts, less what a log's key could not have been used for. */
export const withLogTimes = (verifier: EntityVerifier, logs: Logs): EntityVerifier => ({
  verify: (entity, policy) => {
    const signer = verifier.verify(entity, policy)
    checkLogTimes(entity, logs)
    return signer
  },
})
