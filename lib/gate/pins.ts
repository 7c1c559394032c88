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
  const plain = ({ name, version }: PackageId) => `${name}@${version}`
  /** The first upstream has the plain key; a space is in no name and no version. */
  const keyFor = async (id: PackageId, upstream: string) => {
    const first = await records.get<Pin>('pin', plain(id))
    const ours = first === undefined || (first.upstream ?? upstream) === upstream
    return { key: ours ? plain(id) : `${plain(id)} ${upstream}`, ...(ours && { first }) }
  }
  return {
    get: async (id: PackageId, upstream: string): Promise<Pin | undefined> => {
      const { key, first } = await keyFor(id, upstream)
      return first ?? records.get<Pin>('pin', key)
    },
    /** The pin that holds: this one, or the one that was there before. */
    putIfAbsent: async (id: PackageId, upstream: string, pin: Pin): Promise<Pin> => {
      const own = { ...pin, upstream }
      const { key } = await keyFor(id, upstream)
      const kept = await records.putIfAbsent<Pin>('pin', key, own)
      if ((kept.upstream ?? upstream) === upstream) return kept
      // somebody else's was quicker to take the plain key
      return records.putIfAbsent<Pin>('pin', `${plain(id)} ${upstream}`, own)
    },
  }
}
