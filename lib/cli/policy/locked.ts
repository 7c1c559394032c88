/** The package versions of a lockfile, each once. */
import { loadLockfileText, lockfileAt } from '../../lockfile/find.ts'
import { readLockfile } from '../../lockfile/read.ts'
import type { Integrity, PackageId } from '../../types.ts'
import { shownPath } from '../audit/reports.ts'

export type Pinned = PackageId & { readonly integrity?: Integrity }

const sha512 = /^sha512-[A-Za-z0-9+/]{86}==$/

/** Those that come from a registry. `file` may be a folder, which has one lockfile. Throws ELOCKFILE. */
export const lockedPackages = async (file: string, cwd: string): Promise<readonly Pinned[]> => {
  const found = await lockfileAt(file, cwd)
  const { packages } = readLockfile(await loadLockfileText(found), {
    file: shownPath(found, cwd),
  })
  const pinned = new Map<string, Pinned>()
  for (const { name, version, kind, integrity } of packages) {
    if (kind !== 'registry') continue
    pinned.set(JSON.stringify([name, version, integrity]), {
      name,
      version,
      ...(integrity !== undefined &&
        sha512.test(integrity) && {
          integrity: integrity as Integrity,
        }),
    })
  }
  return [...pinned.values()]
}
