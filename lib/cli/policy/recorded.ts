/** The package versions that were asked for, from the audit record. */
import { lastTime } from '../../store/audit-rules.ts'
import type { AuditLog } from '../../store/store.ts'
import type { Pinned } from './locked.ts'

/**
 * Each once, whatever was decided about it. Without integrities: what is judged is what the
 * upstream has now, as it would be for the next request.
 */
export const recordedPackages = async (
  audit: Pick<AuditLog, 'read'>,
  since: Date,
): Promise<readonly Pinned[]> => {
  const seen = new Map<string, Pinned>()
  for await (const entry of audit.read()) {
    if (lastTime(entry) < since.getTime()) continue
    const { name, version } = entry.package
    seen.set(JSON.stringify([name, version]), { name, version })
  }
  return [...seen.values()]
}
