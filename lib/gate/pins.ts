/**
 * What was admitted once: the bytes a version means, for ever. A name that comes to belong to
 * another upstream is another package: the bytes of the one never stand in for the other's.
 */
import type { Store } from '../store/store.ts'
import type { Integrity, PackageId } from '../types.ts'

/** Kept in the collection `pin`. Without `upstream` it is of a time when that was not kept. */
export type Pin = {
  readonly integrity: Integrity
  readonly size: number
  readonly at: string
  readonly upstream?: string
}

export type Pins = ReturnType<typeof openPins>

export const openPins = ({ records }: Pick<Store, 'records'>) => {
  /** The first upstream has the plain key; a space is in no name and no version. */
  const plain = ({ name, version }: PackageId) => `${name}@${version}`
  const other = (id: PackageId, upstream: string) => `${plain(id)} ${upstream}`
  const isOf = (pin: Pin, upstream: string) => (pin.upstream ?? upstream) === upstream

  return {
    get: async (id: PackageId, upstream: string): Promise<Pin | undefined> => {
      const first = await records.get<Pin>('pin', plain(id))
      return first === undefined || isOf(first, upstream)
        ? first
        : records.get<Pin>('pin', other(id, upstream))
    },
    /** The pin that holds: this one, or the one that was there before. */
    putIfAbsent: async (id: PackageId, upstream: string, pin: Pin): Promise<Pin> => {
      const own = { ...pin, upstream }
      const kept = await records.putIfAbsent<Pin>('pin', plain(id), own)
      return isOf(kept, upstream)
        ? kept
        : records.putIfAbsent<Pin>('pin', other(id, upstream), own)
    },
  }
}
