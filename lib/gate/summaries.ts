/**
 * Verification summaries of what was admitted: made once for each version, its bytes, the policy it
 * met and the facts it met it by, signed, and kept. Another policy makes another.
 */
import { createHash } from 'node:crypto'
import { buildLevelOf } from '../attest/build-level.ts'
import type { Signer } from '../attest/signer.ts'
import { summaryOf } from '../attest/summary.ts'
import { AttestryError } from '../errors.ts'
import { readAttestations } from '../evidence/attestations.ts'
import type { Store } from '../store/store.ts'
import type { Evidence, Integrity, PackageId } from '../types.ts'
import type { Documents } from './documents.ts'
import { openFlights } from './flights.ts'

/** What signs, and as whom. */
export type SummaryTerms = {
  readonly signer: Pick<Signer, 'signStatement'>
  /** `verifier.id`: a URI. */
  readonly verifier: string
  readonly version: string
}

/** Kept in the collection `summary` under `name@version`, behind a space the view. */
type SummaryRecord = {
  readonly integrity: Integrity
  /** Of the policies and of the facts. */
  readonly digest: string
  readonly at: string
  /** A sigstore bundle as JSON. */
  readonly bundle: object
}

export type SummariesOptions = {
  readonly store: Pick<Store, 'records'>
  readonly documents: Documents
  readonly terms: SummaryTerms
  readonly view: string | undefined
  /** Where clients reach us; ends with a slash. */
  readonly publicUrl: string
  readonly now: () => Date
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Of a bundle: over its JSON without spaces, members as the registry has them (`jq -cj`). */
const digestOf = (bundle: unknown) => sha256(JSON.stringify(bundle))

export type Summaries = ReturnType<typeof openSummaries>

export const openSummaries = (options: SummariesOptions) => {
  const { store, documents, terms, view, publicUrl, now } = options
  const flight = openFlights<object>()

  /** Attestations that verified, and thereby spoke for the version. */
  const attestationsOf = async (id: PackageId, evidence: Evidence) => {
    const used = [evidence.publishAttestation, evidence.provenance].map(
      ({ state }) => state === 'verified',
    )
    if (!used.includes(true)) return []
    const answer = await documents.attestations(id)
    if (answer.kind === 'missing')
      throw new AttestryError('EUPSTREAMDATA', `The attestations of ${id.name} are gone.`)
    const { publish, provenance } = readAttestations(answer.body)
    const uri = `${publicUrl}-/npm/v1/attestations/${id.name}@${id.version}`
    return [publish, provenance]
      .flatMap((entries, i) => (used[i] === true ? entries : []))
      .map(({ predicateType, bundle }) => ({ predicateType, uri, digest: digestOf(bundle) }))
  }

  return {
    /**
     * Of a version that was admitted without a reason against it, on this evidence, by the policies
     * of this digest. Throws what the signer throws (ESIGNSERVICE, ESIGNIDENTITY).
     */
    of: async (id: PackageId, evidence: Evidence, policy: string): Promise<object> => {
      const { integrity, registrySignature, publishAttestation, provenance, trust } = evidence
      const { vouches = [] } = evidence
      const facts = [registrySignature, publishAttestation, provenance, trust, vouches]
      // a vouch is at no address, and the list must be complete or not there
      const vouched = vouches.some(({ state }) => state === 'verified')
      const digest = sha256(JSON.stringify([policy, terms.verifier, facts]))
      const key = `${id.name}@${id.version}${view === undefined ? '' : ` ${view}`}`
      const kept = await store.records.get<SummaryRecord>('summary', key)
      if (kept?.integrity === integrity && kept.digest === digest) return kept.bundle
      return flight(`${key} ${digest}`, async () => {
        const time = now()
        const statement = summaryOf({
          package: id,
          integrity,
          verifier: { id: terms.verifier, version: terms.version },
          policy: { uri: `${terms.verifier}/policies/${policy}`, digest: policy },
          time,
          ...(!vouched && { attestations: await attestationsOf(id, evidence) }),
          level: buildLevelOf(evidence),
        })
        const bundle = await terms.signer.signStatement(statement)
        const entry: SummaryRecord = { integrity, digest, at: time.toISOString(), bundle }
        await store.records.put('summary', key, entry)
        return bundle
      })
    },
  }
}
