/** Validators and ranges of RFC 9110, as far as a registry needs them. */

/** Does If-None-Match name this validator? Weak comparison (RFC 9110 13.1.2). */
export const matchesEtag = (header: string | undefined, etag: string): boolean => {
  if (!header) return false
  if (header.trim() === '*') return true
  const opaque = (tag: string) => tag.trim().replace(/^W\//, '')
  return header.split(',').some(tag => opaque(tag) === opaque(etag))
}

export type Range = { readonly start: number; readonly end: number }

/**
 * One byte range (RFC 9110 14.1.2). `undefined`: no range, or one that may be ignored (several
 * ranges, another unit, bad syntax). `unsatisfiable`: answer 416.
 */
export const rangeOf = (
  header: string | undefined,
  size: number,
): Range | 'unsatisfiable' | undefined => {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '')
  if (!match) return undefined
  const [, from = '', to = ''] = match
  if (from === '' && to === '') return undefined
  if (from === '') {
    const length = Number(to)
    if (length === 0) return 'unsatisfiable'
    return size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - length), end: size - 1 }
  }
  const start = Number(from)
  const end = to === '' ? size - 1 : Math.min(Number(to), size - 1)
  if (to !== '' && Number(to) < start) return undefined
  return start >= size ? 'unsatisfiable' : { start, end }
}
