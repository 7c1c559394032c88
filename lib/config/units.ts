/** Durations (`30s`) and sizes (`64MiB`) as people write them. */

const milliseconds = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const

const bytes = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const

export const durationPattern = '^[0-9]{1,12}(ms|s|m|h|d|w)$'
export const sizePattern = '^[0-9]{1,15}(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$'

export const durationWanted =
  'wanted a whole number and a unit (ms, s, m, h, d, w), as in "30s"'
export const sizeWanted =
  'wanted a whole number and a unit (B, KiB, MiB, GiB, …), as in "64MiB"'

const parse = (
  text: string,
  pattern: string,
  units: Readonly<Record<string, number>>,
): number | undefined => {
  const unit = new RegExp(pattern).exec(text)?.[1]
  if (unit === undefined) return undefined
  const value = Number.parseInt(text, 10) * (units[unit] ?? Number.NaN)
  return Number.isSafeInteger(value) ? value : undefined
}

/** `30s` → 30000 (milliseconds); undefined when it is not a duration. */
export const parseDuration = (text: string): number | undefined =>
  parse(text, durationPattern, milliseconds)

/** `64MiB` → 67108864 (bytes); undefined when it is not a size. */
export const parseSize = (text: string): number | undefined => parse(text, sizePattern, bytes)

const format = (value: number, units: readonly (readonly [string, number])[]): string => {
  const [unit, factor] = units.find(([, f]) => value % f === 0) ?? ['', 1]
  return `${value / factor}${unit}`
}

const binaryUnits = Object.entries(bytes)
  .filter(([unit]) => unit === 'B' || unit.endsWith('iB'))
  .sort(([, a], [, b]) => b - a)
const timeUnits = Object.entries(milliseconds).sort(([, a], [, b]) => b - a)

/** The shortest exact way to write it: 67108864 → `64MiB`. */
export const formatSize = (value: number): string =>
  value === 0 ? '0B' : format(value, binaryUnits)

/** The shortest exact way to write it: 90000 → `90s`. */
export const formatDuration = (value: number): string =>
  value === 0 ? '0s' : format(value, timeUnits)
