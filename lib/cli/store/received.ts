/** Who received what, from the audit record: an entry that allows is a tarball that was sent. */
import { lastTime } from '../../store/audit-rules.ts'
import type { AuditLog } from '../../store/store.ts'
import type { AuditEntry, Integrity, PackageId } from '../../types.ts'

/** One version as it was judged for one view: what has to be judged again. */
export type Sent = {
  readonly package: PackageId
  readonly integrity?: Integrity
  readonly view?: string
}

export type Received = {
  readonly client: Omit<AuditEntry['client'], 'view'>
  /** ISO 8601. */
  readonly first: string
  readonly last: string
  readonly times: number
}

export const keyOf = ({ package: id, integrity, view }: Sent): string =>
  JSON.stringify([id.name, id.version, integrity ?? '', view ?? ''])

const sentIn = ({ package: id, integrity, client }: AuditEntry): Sent => ({
  package: id,
  ...(integrity !== undefined && { integrity }),
  ...(client.view !== undefined && { view: client.view }),
})

async function* allowed(
  audit: Pick<AuditLog, 'read'>,
  since: Date | undefined,
  name?: string,
): AsyncIterable<AuditEntry> {
  for await (const entry of audit.read(name === undefined ? {} : { name }))
    if (entry.decision === 'allow' && (!since || lastTime(entry) >= since.getTime()))
      yield entry
}

/** Each once; as much as there are versions, however often they were sent. */
export const sentSince = async (
  audit: Pick<AuditLog, 'read'>,
  since: Date | undefined,
): Promise<readonly Sent[]> => {
  const found = new Map<string, Sent>()
  for await (const entry of allowed(audit, since)) {
    const sent = sentIn(entry)
    const key = keyOf(sent)
    if (!found.has(key)) found.set(key, sent)
  }
  return [...found.values()]
}

/** By client, the first to have received it first. */
export const receiversOf = async (
  audit: Pick<AuditLog, 'read'>,
  sent: Sent,
  since: Date | undefined,
): Promise<readonly Received[]> => {
  const wanted = keyOf(sent)
  const found = new Map<string, Received>()
  for await (const entry of allowed(audit, since, sent.package.name)) {
    if (keyOf(sentIn(entry)) !== wanted) continue
    const { view: _view, ...client } = entry.client
    const key = JSON.stringify([client.name, client.address, client.agent])
    const before = found.get(key)
    found.set(key, {
      client,
      first: before?.first ?? entry.at,
      last: entry.last ?? entry.at,
      times: (before?.times ?? 0) + (entry.times ?? 1),
    })
  }
  return [...found.values()]
}
