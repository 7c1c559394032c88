/** What there is to learn from: a lockfile, or the record of what was admitted. */
import { loadLockfileText, lockfileAt } from '../../lockfile/find.ts'
import { readLockfile } from '../../lockfile/read.ts'
import { lastTime } from '../../store/audit-rules.ts'
import type { AuditLog } from '../../store/store.ts'
import { npmRegistry } from '../../upstream/default-registry.ts'
import { shownPath } from '../audit/reports.ts'
import type { Subject } from '../audit/result.ts'
import { subjectsOf } from '../audit/subjects.ts'

export type Origin =
  | { readonly kind: 'lockfile'; readonly file: string }
  | { readonly kind: 'record'; readonly since: string }

export type Found = {
  readonly origin: Origin
  readonly subjects: readonly Subject[]
  /** Entries that no registry serves: git, files, links. */
  readonly elsewhere: number
}

export const lockedSubjects = async (
  lockfile: string | undefined,
  cwd: string,
  registry: string,
): Promise<Found> => {
  const file = await lockfileAt(lockfile, cwd)
  const shown = shownPath(file, cwd)
  const { subjects, notJudged } = subjectsOf(
    readLockfile(await loadLockfileText(file), { file: shown }),
    {
      registry,
      npmRegistry,
      filter: { omit: [], only: [], exclude: [] },
      origins: [],
    },
  )
  const elsewhere = notJudged.filter(({ kind }) => kind !== 'workspace' && kind !== 'link')
  return { origin: { kind: 'lockfile', file: shown }, subjects, elsewhere: elsewhere.length }
}

/** What was let in since then, with the bytes that were let in; what had a reason against it teaches nothing. */
export const recordedSubjects = async (
  audit: Pick<AuditLog, 'read'>,
  since: Date,
): Promise<Found> => {
  const seen = new Map<string, Subject>()
  for await (const entry of audit.read()) {
    const { package: id, integrity, reasons } = entry
    if (lastTime(entry) < since.getTime() || reasons.length > 0) continue
    const { name, version } = id
    seen.set(JSON.stringify([name, version, integrity]), {
      name,
      version,
      ...(integrity && { integrity }),
      lines: [0],
      dev: false,
      optional: false,
    })
  }
  return {
    origin: { kind: 'record', since: since.toISOString() },
    subjects: [...seen.values()],
    elsewhere: 0,
  }
}
