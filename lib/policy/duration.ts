/** Durations and ends as a policy writes them. */
import { formatDuration } from '../config/units.ts'

const units = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const
const MOST = 3650 * units.d
const LAST = Date.parse('9999-12-31T00:00:00Z')

export const durationPattern = '^(0|[1-9][0-9]{0,6})(m|h|d|w)$'
export const durationWanted =
  'wanted a whole number and m, h, d or w, at most ten years, as in 3d'

/** `3d` → milliseconds; undefined when it is no duration of at most ten years. */
export const parseDuration = (text: string): number | undefined => {
  const unit = new RegExp(durationPattern).exec(text)?.[2] as keyof typeof units | undefined
  if (unit === undefined) return undefined
  const value = Number.parseInt(text, 10) * units[unit]
  return value <= MOST ? value : undefined
}

/** Milliseconds as the largest of m, h, d that is exact: 72 hours → `3d`. */
export const showDuration = (value: number): string =>
  value === 0
    ? 'none'
    : formatDuration(value).replace(/^(\d+)w$/, (_, n) => `${Number(n) * 7}d`)

export const endPattern =
  '^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,3})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?$'
export const endWanted =
  'wanted a date as in 2027-03-01 (through the end of that day, UTC) or an instant with its zone as in 2027-03-01T12:00:00Z'

/** The instant at which something with this end is over; undefined when it is no date that exists. */
export const parseEnd = (text: string): string | undefined => {
  if (!new RegExp(endPattern).test(text)) return undefined
  const day = text.slice(0, 10)
  const midnight = Date.parse(`${day}T00:00:00Z`)
  // Date.parse takes 2027-02-30 for 2 March; a policy that says so is mistaken
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== day)
    return undefined
  const end = text.length === 10 ? midnight + units.d : Date.parse(text)
  return end < LAST ? new Date(end).toISOString() : undefined
}

/** The instant at which something with this beginning begins: a day at its midnight. */
export const parseStart = (text: string): string | undefined => {
  const end = parseEnd(text)
  return end === undefined || text.length > 10
    ? end
    : new Date(Date.parse(end) - units.d).toISOString()
}

/**
 * Milliseconds since the epoch; undefined for nothing, for what is no time, and for times outside
 * 1970 to 9999: adding to them could leave what a Date can hold.
 */
export const instant = (time: string | undefined): number | undefined => {
  const at = time === undefined ? Number.NaN : Date.parse(time)
  return at >= 0 && at < LAST ? at : undefined
}
