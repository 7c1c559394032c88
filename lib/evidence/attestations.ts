/** The registry's attestations document: bounds, and which entry claims to be what. */
import { quote, refuse } from './finding.ts'
import { provenancePrefix } from './provenance.ts'
import { publishPrefix } from './publish.ts'
import { isRecord } from './statement.ts'

/** One element of `attestations`, unverified. `predicateType` is the registry's word, unsigned. */
export type AttestationEntry = { readonly predicateType: string; readonly bundle: unknown }

export type AttestationsDocument = {
  readonly publish: readonly AttestationEntry[]
  readonly provenance: readonly AttestationEntry[]
  /** Predicate types of what is neither, and is not looked at. */
  readonly others: readonly string[]
}

/** Bytes; real documents have 10 to 40 kB. */
const sizeLimit = 4 * 1024 * 1024
const countLimit = 16

const bad = (detail: string, wanted?: string, found?: string): never =>
  refuse('INVALID_ATTESTATION', detail, { npmCode: 'EATTESTATIONVERIFY', wanted, found })

/** What the signed statement calls itself, as far as it can be read before it is verified. */
const statedType = (bundle: unknown): string | undefined => {
  const envelope = isRecord(bundle) ? bundle.dsseEnvelope : undefined
  const payload = isRecord(envelope) ? envelope.payload : undefined
  if (typeof payload !== 'string') return undefined
  try {
    const statement: unknown = JSON.parse(Buffer.from(payload, 'base64').toString('utf8'))
    return isRecord(statement) && typeof statement.predicateType === 'string'
      ? statement.predicateType
      : undefined
  } catch {
    return undefined
  }
}

/**
 * An entry counts as what the registry says it is and as what it says itself; when the two differ
 * it is refused as both later, so that relabelling cannot hide an attestation. Throws a finding
 * when the body is not an attestations document: a whole answer that cannot be read is no reason
 * to ask again.
 */
export const readAttestations = (body: Uint8Array): AttestationsDocument => {
  if (body.length > sizeLimit)
    bad(
      'The attestations document is too large.',
      `at most ${sizeLimit} bytes`,
      `${body.length}`,
    )
  const text = new TextDecoder('utf-8', { fatal: true }).decode(body)
  const document: unknown = JSON.parse(text)
  const list = isRecord(document) ? document.attestations : undefined
  if (!Array.isArray(list)) return bad('The attestations document has no list "attestations".')
  if (list.length > countLimit)
    bad(
      'The attestations document has too many entries.',
      `at most ${countLimit}`,
      `${list.length}`,
    )

  const publish: AttestationEntry[] = []
  const provenance: AttestationEntry[] = []
  const others: string[] = []
  for (const entry of list as readonly unknown[]) {
    const { predicateType, bundle } = isRecord(entry) ? entry : {}
    if (typeof predicateType !== 'string' || !isRecord(bundle))
      return bad('An entry of the attestations document lacks predicateType or bundle.')
    const types = [predicateType, statedType(bundle) ?? '']
    const isPublish = types.some(type => type.startsWith(publishPrefix))
    const isProvenance = types.some(type => type.startsWith(provenancePrefix))
    if (isPublish) publish.push({ predicateType, bundle })
    if (isProvenance) provenance.push({ predicateType, bundle })
    if (!isPublish && !isProvenance) others.push(quote(predicateType))
  }
  return { publish, provenance, others }
}
