/** Claims in, facts out: the whole verification of one package version, without a worker. */
import type {
  Evidence,
  Fact,
  NpmCode,
  PublishAttestation,
  Provenance,
  InvalidCode,
} from '../types.ts'
import { readAttestations, type AttestationEntry } from './attestations.ts'
import type { ExamineRequest } from './examiner.ts'
import { factOf, invalid } from './finding.ts'
import { verifyProvenance } from './provenance.ts'
import { verifyPublish } from './publish.ts'
import { verifyRegistrySignature } from './signature.ts'
import type { Verification } from './verification.ts'

/** Whatever is thrown while verifying, of any class, makes the claim invalid. */
const caught = <V>(check: () => Fact<V>, code: InvalidCode, npmCode: NpmCode): Fact<V> => {
  try {
    return check()
  } catch (error) {
    return factOf(error, code, npmCode)
  }
}

/** With two of a kind it would be unclear which one policy judges, so there must be one. */
const single = <V>(
  entries: readonly AttestationEntry[],
  kind: string,
  verify: (entry: AttestationEntry) => Fact<V>,
): Fact<V> => {
  const [entry] = entries
  if (entry === undefined)
    return {
      state: 'absent',
      detail: `The registry has attestations, but no ${kind} among them.`,
    }
  if (entries.length > 1)
    return invalid('INVALID_ATTESTATION', `The registry has more than one ${kind}.`, {
      npmCode: 'EATTESTATIONVERIFY',
      wanted: '1',
      found: `${entries.length}`,
    })
  return caught(() => verify(entry), 'INVALID_ATTESTATION', 'EATTESTATIONVERIFY')
}

type Attested = {
  readonly publishAttestation: Fact<PublishAttestation>
  readonly provenance: Fact<Provenance>
}

const both = (fact: Fact<never>): Attested => ({ publishAttestation: fact, provenance: fact })

const examineAttestations = (verification: Verification, request: ExamineRequest): Attested => {
  const { attestations } = request
  switch (attestations.kind) {
    case 'unclaimed':
      return both({ state: 'absent', detail: 'The packument claims no attestations.' })
    case 'unavailable':
      return both({ state: 'unavailable', detail: attestations.detail })
    case 'found': {
      try {
        const document = readAttestations(attestations.body)
        return {
          publishAttestation: single(document.publish, 'publish attestation', entry =>
            verifyPublish(verification, entry, request),
          ),
          provenance: single(document.provenance, 'provenance', entry =>
            verifyProvenance(verification, entry, request),
          ),
        }
      } catch (error) {
        return both(factOf(error, 'INVALID_ATTESTATION', 'EATTESTATIONVERIFY'))
      }
    }
  }
}

/** Never throws. `now` in milliseconds since the epoch. */
export const examineWith = (
  verification: Verification,
  request: ExamineRequest,
  now: number = Date.now(),
): Evidence => {
  const attested = examineAttestations(verification, request)
  const { publishAttestation: published } = attested
  const logged = published.state === 'verified' ? published.signedAt : undefined
  const registrySignature = caught(
    () => verifyRegistrySignature(verification, request, logged, now),
    'INVALID_SIGNATURE',
    'EINTEGRITYSIGNATURE',
  )
  const { package: id, integrity } = request
  return { package: id, integrity, registrySignature, ...attested, trust: verification.trust }
}
