/**
 * Vouches as facts: those kept for a version, verified under the trust of its upstream for the bytes
 * in question, each once. Most packages have none, and cost a look into a set.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import type { Examiner } from '../evidence/examiner.ts'
import type { Fact, Integrity, PackageId, Vouch } from '../types.ts'
import { openFlights } from './flights.ts'
import type { Vouched, VouchPage, VouchRecords } from './vouch-records.ts'

export type VouchBook = ReturnType<typeof openVouchBook>

/** What an evidence has for an integrity before the bytes are here and where none was promised. */
const NO_BYTES = 'sha512-'

const unknownBytes: Fact<never> = {
  state: 'unavailable',
  detail: 'The bytes that it is about are not here yet.',
}

export const openVouchBook = ({
  records,
  examinerFor,
}: {
  readonly records: VouchRecords
  readonly examinerFor: (upstream: string) => Examiner
}) => {
  let names: Promise<Set<string>> | undefined
  const pages = new LRUCache<string, ReadonlyMap<string, VouchPage>>(atMost(1_000))
  const facts = new LRUCache<string, Fact<Vouch>>(atMost(10_000))
  const reading = openFlights<ReadonlyMap<string, VouchPage>>()
  let epoch = 0

  const known = (): Promise<Set<string>> => {
    names ??= records.names().catch((error: unknown) => {
      names = undefined
      throw error
    })
    return names
  }

  const pagesOf = async (name: string): Promise<ReadonlyMap<string, VouchPage>> => {
    const page = pages.get(name)
    if (page) return page
    const started = epoch
    const read = await reading(`${name} ${started}`, () => records.pages(name))
    // what changed while it was read is read again the next time
    if (started === epoch) pages.set(name, read)
    return read
  }

  const verified = async (
    { package: id, integrity, upstream }: VouchQuestion,
    vouches: readonly Vouched[],
  ): Promise<readonly Fact<Vouch>[]> => {
    const examiner = examinerFor(upstream)
    // read once: other trust may be in force when the answer comes
    const { trust } = examiner
    const keyOf = ({ key }: Vouched) => `${trust} ${integrity} ${key}`
    const missing = vouches.filter(one => !facts.has(keyOf(one)))
    const found = await examiner.vouches({
      package: id,
      integrity,
      vouches: missing.map(({ record }) => record),
    })
    const made = new Map(missing.map((one, i) => [one.key, found[i]]))
    return vouches.map(one => {
      const fact = made.get(one.key) ?? facts.get(keyOf(one)) ?? unknownBytes
      if (fact.state !== 'unavailable') facts.set(keyOf(one), fact)
      const { revoked } = one
      if (fact.state !== 'verified' || revoked === undefined) return fact
      return { ...fact, revoked: { reason: revoked.reason, at: revoked.at } }
    })
  }

  return {
    /** Did anybody vouch for any version? */
    any: async (name: string): Promise<boolean> => (await known()).has(name),
    /** Undefined where nobody vouched. */
    of: async (question: VouchQuestion): Promise<readonly Fact<Vouch>[] | undefined> => {
      const { package: id, integrity } = question
      if (!(await known()).has(id.name)) return undefined
      const page = (await pagesOf(id.name)).get(`${id.name}@${id.version}`)
      if (!page || page.vouches.length === 0) return undefined
      if (integrity === NO_BYTES) return page.vouches.map(() => unknownBytes)
      return verified(question, page.vouches)
    },
    /** Something was added or taken back, here or elsewhere. */
    changed: (name: string): void => {
      epoch++
      pages.delete(name)
      // the set is asked for anew: a name that came may have gone with a database put back
      names = undefined
    },
    /** Nothing in memory counts any more. */
    reset: (): void => {
      epoch++
      pages.clear()
      names = undefined
    },
  }
}

export type VouchQuestion = {
  readonly package: PackageId
  readonly integrity: Integrity
  /** Whose trust counts. */
  readonly upstream: string
}
