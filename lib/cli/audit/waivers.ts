/** What is let in by waivers that soon end: after that the next audit refuses it. */
import { instant } from '../../policy/duration.ts'
import { inDays } from '../../policy/lint.ts'
import { waiverNotice } from '../../policy/waivers.ts'
import { idOf, type Judged } from './result.ts'

/** A sentence for each waiver, the first to end first. */
export const waiverNotes = (judged: readonly Judged[], now: Date): readonly string[] => {
  const soon = judged.flatMap(one => {
    const end = instant(one.waiverUntil)
    const left = end === undefined ? Number.POSITIVE_INFINITY : end - now.getTime()
    return one.outcome === 'allowed' && left <= waiverNotice ? [{ one, left }] : []
  })
  const groups = Map.groupBy(soon, ({ one }) => `${one.waiverUntil} ${one.waiver}`)
  return [...groups.values()]
    .toSorted(([a], [b]) => (a?.left ?? 0) - (b?.left ?? 0))
    .flatMap(([first, ...others]) => {
      if (!first) return []
      const { one, left } = first
      const what =
        others.length > 0 ? `${idOf(one)} and ${others.length} more are` : `${idOf(one)} is`
      return [
        `${what} let in by a waiver that ends ${inDays(left)}, at ${one.waiverUntil} (${one.waiver}): renew or remove it.`,
      ]
    })
}
