/** Medians, percentiles and ratios of runs that took turns. */

/** `share` from 0 to 1; NaN of nothing. */
export const percentile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

export type Spread = { readonly median: number; readonly least: number; readonly most: number }

export const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  least: Math.min(...values),
  most: Math.max(...values),
})

/** Round by round, so that what disturbs the machine for a while disturbs both. */
export const ratios = (
  values: readonly number[],
  base: readonly number[],
): Spread | undefined => {
  const each = values.flatMap((value, round) => {
    const other = base[round]
    return other === undefined || other === 0 || Number.isNaN(other) ? [] : [value / other]
  })
  return each.length === 0 ? undefined : spreadOf(each)
}

/** Three digits, without an exponent. */
export const show = (value: number | undefined): string => {
  if (value === undefined || !Number.isFinite(value)) return '-'
  if (value === 0) return '0'
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(digits, 3))
}

export const showSpread = (spread: Spread | undefined): string =>
  spread === undefined
    ? '-'
    : `${show(spread.median)} (${show(spread.least)} to ${show(spread.most)})`
