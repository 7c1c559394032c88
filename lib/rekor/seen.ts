/** What attestations say of the logs they are in; nothing here is proven. */
export type SeenEntry = {
  readonly logId: Buffer
  readonly logIndex: number
  readonly body: Buffer
  /** Absent where only a promise says that it is in the log. */
  readonly checkpoint?: string
}

type Loose = { readonly [key: string]: Loose | undefined }

const mostEntries = 32

const entriesIn = (value: unknown): readonly Loose[] => {
  const { attestations } = (value ?? {}) as { readonly attestations?: unknown }
  if (!Array.isArray(attestations)) return []
  return (attestations as readonly Loose[]).flatMap(attestation => {
    const entries: unknown = attestation?.['bundle']?.['verificationMaterial']?.['tlogEntries']
    return Array.isArray(entries) ? (entries as readonly Loose[]) : []
  })
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Of a registry's attestations document; empty for what is none. */
export const seenEntries = (document: Uint8Array): readonly SeenEntry[] => {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(document).toString('utf8'))
  } catch {
    return []
  }
  return entriesIn(value)
    .slice(0, mostEntries)
    .map(entry => {
      const checkpoint = text(entry['inclusionProof']?.['checkpoint']?.['envelope'])
      return {
        logId: Buffer.from(text(entry['logId']?.['keyId']), 'base64'),
        logIndex: Number(text(entry['logIndex'])),
        body: Buffer.from(text(entry['canonicalizedBody']), 'base64'),
        ...(checkpoint !== '' && { checkpoint }),
      }
    })
}
