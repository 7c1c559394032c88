/**
 * The values of YAML that stand on a line: quoted and plain scalars, and flow collections.
 * Plain scalars stay the text they are; what they would be as YAML is the reader's to say.
 */
import { openEntries, show, type Located, type Scalar, type Source } from './located.ts'

const quoted = (start: number, end: number, value: string): Scalar => ({
  kind: 'scalar',
  value,
  style: 'quoted',
  start,
  end,
})

const single = (source: Source, start: number): Scalar => {
  const { text } = source
  for (let at = start + 1; at < text.length && text[at] !== '\n'; at++) {
    if (text[at] !== "'") continue
    if (text[at + 1] !== "'")
      return quoted(start, at + 1, text.slice(start + 1, at).replaceAll("''", "'"))
    at++
  }
  throw source.complaint(start, 'a string that does not end on its line', 'a closing "\'"')
}

const double = (source: Source, start: number): Scalar => {
  const { text } = source
  let plain = true
  for (let at = start + 1; at < text.length && text[at] !== '\n'; at++) {
    if (text[at] === '\\') {
      plain = false
      at++
    } else if (text[at] === '"') {
      const raw = text.slice(start, at + 1)
      if (plain) return quoted(start, at + 1, raw.slice(1, -1))
      try {
        const json = raw.replaceAll(/\\(?:x([0-9a-fA-F]{2})|[^])/g, (escape, hex?: string) =>
          hex === undefined ? escape : `\\u00${hex}`,
        )
        return quoted(start, at + 1, JSON.parse(json) as string)
      } catch {
        throw source.complaint(start, 'a string with a bad escape', "JSON's escapes or \\x")
      }
    }
  }
  throw source.complaint(start, 'a string that does not end on its line', `a closing '"'`)
}

/** The quoted scalar at `start`, when there is one. */
export const quotedAt = (source: Source, start: number): Scalar | undefined =>
  source.text[start] === '"'
    ? double(source, start)
    : source.text[start] === "'"
      ? single(source, start)
      : undefined

const isSpace = (c: string | undefined) => c === ' ' || c === '\n' || c === '\r' || c === '\t'

const hasMeaning = /^(?:[&*!|>%@`,}\]#]|[-?:](?:\s|$)|<<$)/

/** A plain scalar from `start` to `end`, refused where YAML gives its first character a meaning. */
export const plainScalar = (source: Source, start: number, end: number): Scalar => {
  // trimEnd takes more for a space than YAML does
  let stop = end
  while (stop > start && ' \t'.includes(source.text[stop - 1] ?? '')) stop--
  const value = source.text.slice(start, stop)
  if (hasMeaning.test(value))
    throw source.complaint(
      start,
      show(value),
      'plain data (anchors, aliases, tags, merge keys and directives are not read)',
    )
  return { kind: 'scalar', value, style: 'plain', start, end: stop }
}

/** The flow collection at `start`; it may stand on several lines. */
export const flowAt = (source: Source, start: number, depth: number): Located => {
  const { text } = source
  let at = start

  const skip = () => {
    for (;;) {
      while (isSpace(text[at])) at++
      if (text[at] !== '#' || !isSpace(text[at - 1])) return
      const end = text.indexOf('\n', at)
      at = end === -1 ? text.length : end
    }
  }

  const plain = (): Scalar => {
    const from = at
    for (; at < text.length; at++) {
      const c = text[at] ?? ''
      if (',[]{}\n'.includes(c) || text.startsWith('\r\n', at)) break
      if (c === ':' && (isSpace(text[at + 1]) || ',[]{}'.includes(text[at + 1] ?? ','))) break
      if (c === '#' && isSpace(text[at - 1])) break
    }
    if (at === from) throw source.complaint(at, 'nothing', 'a value')
    return plainScalar(source, from, at)
  }

  const scalar = (): Scalar => {
    const found = quotedAt(source, at)
    if (found !== undefined) at = found.end
    return found ?? plain()
  }

  const value = (depth: number): Located => {
    source.count(at, depth)
    const from = at
    const open = text[at]
    if (open !== '{' && open !== '[') return scalar()
    const close = open === '{' ? '}' : ']'
    const { entries, add } = openEntries(source)
    const items: Located[] = []
    at++
    skip()
    while (text[at] !== close) {
      if (open === '[') items.push(value(depth + 1))
      else {
        const key = scalar()
        skip()
        if (text[at] !== ':')
          throw source.complaint(key.start, show(String(key.value)), 'a key and ":"')
        at++
        skip()
        add(String(key.value), key.start, value(depth + 1))
      }
      skip()
      if (text[at] === ',') {
        at++
        skip()
      } else if (text[at] !== close)
        throw source.complaint(Math.min(at, text.length), 'something else', `"," or "${close}"`)
    }
    at++
    return open === '{'
      ? { kind: 'mapping', entries, start: from, end: at }
      : { kind: 'list', items, start: from, end: at }
  }

  return value(depth)
}
