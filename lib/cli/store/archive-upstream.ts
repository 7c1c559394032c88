/**
 * An archive in the place of an upstream: the gate asks it as it asks a registry, and believes it
 * as little. What it does not have is unknown, never absent.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { AttestryError } from '../../errors.ts'
import type { PackageId } from '../../types.ts'
import { offlineUpstream } from '../../upstream/offline.ts'
import type { Upstream } from '../../upstream/upstream.ts'
import type { Archive } from './read-archive.ts'

export type ArchiveSource = {
  readonly archive: Archive
  /** Upstreams whose packages it answers for: its own name, and those that take its evidence. */
  readonly serves: ReadonlySet<string>
  /** Packuments that may be taken, with their upstream and its last word on them. */
  readonly offered: () => ReadonlyMap<
    string,
    { readonly upstream: string; readonly fetchedAt: number }
  >
  /** Which version is being admitted: tarballs are found by it, not by an address in a packument. */
  readonly wanted: AsyncLocalStorage<PackageId>
}

export const archiveUpstream = (
  { name, url }: Pick<Upstream, 'name' | 'url'>,
  { archive, serves, offered, wanted }: ArchiveSource,
): Upstream => {
  const unknown = (what: string) =>
    new AttestryError(
      'EOFFLINE',
      `The archive has no ${what} that may be taken for upstream ${name}.`,
    )
  return {
    ...offlineUpstream({ name, url }),
    packument: async packageName => {
      const offer = offered().get(packageName)
      const body =
        offer && serves.has(offer.upstream) ? await archive.packument(packageName) : undefined
      if (!offer || !body) throw unknown(`packument of ${packageName}`)
      return { kind: 'found', body, fetchedAt: offer.fetchedAt }
    },
    attestations: async id => {
      const body = await archive.attestations(id)
      if (!body) throw unknown(`attestations of ${id.name}@${id.version}`)
      return { kind: 'found', body }
    },
    tarball: () => {
      const id = wanted.getStore()
      const found = id && archive.tarball(id)
      if (!found) return Promise.reject(unknown('tarball'))
      return Promise.resolve({ kind: 'found', body: found.stream, size: found.size })
    },
  }
}
