/**
 * The YAML that pnpm and yarn write, with places: block mappings and lists, flow collections,
 * strings of one line, block scalars (whose text nobody needs), several documents. What else
 * YAML has (anchors, aliases, tags, merge keys, strings of several lines) is refused, because a
 * lockfile has no use for it and clients differ in how they read it. Takes linear time.
 */
import { openEntries, show, type Located, type Scalar, type Source } from './located.ts'
import { flowAt, plainScalar, quotedAt } from './yaml-values.ts'

/** A line with something on it; `start` is where that begins, `end` is before the line break. */
type Line = { readonly indent: number; readonly start: number; readonly end: number }

const lineEnd = (text: string, at: number) => {
  const found = text.indexOf('\n', at)
  return found === -1 ? text.length : found
}

export const parseYaml = (source: Source): readonly Located[] => {
  const { text } = source
  /** Start of the first line that was not taken yet, and that line once it was looked at. */
  let at = 0
  let seen: Line | undefined

  const isMarker = (offset: number) =>
    /^---[ \t]*\r?$/.test(text.slice(offset, lineEnd(text, offset)).slice(0, 8))

  /** The next line with something on it; `undefined` at the end of the document. */
  const peek = (): Line | undefined => {
    if (seen !== undefined) return seen
    while (at < text.length) {
      let start = at
      while (text[start] === ' ') start++
      const stop = lineEnd(text, at)
      const end = text[stop - 1] === '\r' && stop > start ? stop - 1 : stop
      if (start < end && text[start] !== '#') {
        if (text[start] === '\t') throw source.complaint(start, 'a tab', 'spaces')
        if (start === at && text.startsWith('---', at) && isMarker(at)) return undefined
        seen = { indent: start - at, start, end }
        return seen
      }
      at = stop + 1
    }
    return undefined
  }

  /** Goes on after the line that holds `offset`, on which nothing more may stand. */
  const take = (offset: number) => {
    const stop = lineEnd(text, offset)
    const rest = text.slice(offset, stop)
    if (!/^[ \t]*(?:[ \t]#[^]*)?\r?$/.test(rest))
      throw source.complaint(offset, show(rest.trim()), 'the end of the line')
    at = stop + 1
    seen = undefined
  }

  const nothing = (offset: number): Scalar => ({
    kind: 'scalar',
    value: '',
    style: 'plain',
    start: offset,
    end: offset,
  })

  /** Where a comment that ends the plain text begins, else `end`. */
  const beforeComment = (start: number, end: number) => {
    const comment = text.slice(start, end).search(/[ \t]#/)
    return comment === -1 ? end : start + comment
  }

  /** The key that a line starts with; `after` is behind its colon. */
  const keyOf = (start: number, end: number) => {
    const key = quotedAt(source, start)
    if (key !== undefined) {
      const after = key.end + 1
      const isKey =
        text[key.end] === ':' && (after === end || ' \t'.includes(text[after] ?? ''))
      return isKey ? { key: String(key.value), after } : undefined
    }
    const colon = text.slice(start, end).search(/:(?:[ \t]|$)/)
    if (colon === -1 || '{['.includes(text[start] ?? '')) return undefined
    if (beforeComment(start, start + colon) !== start + colon) return undefined
    const plain = plainScalar(source, start, start + colon)
    return { key: String(plain.value), after: start + colon + 1 }
  }

  const isItem = (line: Line) =>
    text[line.start] === '-' && (line.start + 1 === line.end || text[line.start + 1] === ' ')

  const skipBlock = (indent: number, start: number): Scalar => {
    if (!/^[|>][-+]?[1-9]?[-+]?[ \t]*\r?$/.test(text.slice(start, lineEnd(text, start))))
      throw source.complaint(start, 'an odd header', '| or > for text of several lines')
    at = lineEnd(text, start) + 1
    seen = undefined
    for (;;) {
      const stop = lineEnd(text, at)
      let from = at
      while (text[from] === ' ') from++
      const isBlank = from === stop || (text[from] === '\r' && from + 1 === stop)
      if (at >= text.length || (!isBlank && from - at <= indent)) break
      at = stop + 1
    }
    return { kind: 'scalar', value: '', style: 'block', start, end: Math.min(at, text.length) }
  }

  /** What follows a key or a dash: on the same line, or as a block below it. */
  const valueAfter = (
    after: number,
    line: Line,
    indent: number,
    depth: number,
    list: boolean,
  ) => {
    let start = after
    while (start < line.end && (text[start] === ' ' || text[start] === '\t')) start++
    if (start >= line.end || (text[start] === '#' && start > after)) {
      take(after)
      const next = peek()
      if (next !== undefined && list && next.indent === indent && isItem(next))
        return sequence(indent, depth)
      return next !== undefined && next.indent > indent ? block(next, depth) : nothing(after)
    }
    source.count(start, depth)
    const c = text[start] ?? ''
    if (c === '|' || c === '>') return skipBlock(indent, start)
    const value =
      c === '{' || c === '['
        ? flowAt(source, start, depth)
        : (quotedAt(source, start) ??
          plainScalar(source, start, beforeComment(start, line.end)))
    if (
      value.kind === 'scalar' &&
      value.style === 'plain' &&
      /:(?:[ \t]|$)/.test(String(value.value))
    )
      throw source.complaint(
        start,
        show(String(value.value)),
        'one value, or a string in quotes',
      )
    take(value.end)
    return value
  }

  const mapping = (first: Line, depth: number): Located => {
    const { entries, add } = openEntries(source)
    const { indent } = first
    let end = first.end
    for (let line = peek(); line !== undefined && line.indent >= indent; line = peek()) {
      if (line.indent > indent || isItem(line))
        throw source.complaint(
          line.start,
          'another indentation',
          `a key after ${indent} spaces`,
        )
      let value: Located
      if (text.startsWith('? ', line.start)) {
        // js-yaml and yarn write keys of more than 1024 characters so
        const from = line.start + 2
        const key =
          quotedAt(source, from) ?? plainScalar(source, from, beforeComment(from, line.end))
        take(key.end)
        const second = peek()
        if (second?.indent !== indent || text[second.start] !== ':')
          throw source.complaint(line.start, 'a "?" key without value', '":" on the next line')
        value = valueAfter(second.start + 1, second, indent, depth + 1, true)
        add(String(key.value), from, value)
      } else {
        const key = keyOf(line.start, line.end)
        if (key === undefined)
          throw source.complaint(
            line.start,
            show(text.slice(line.start, line.end)),
            'a key and ":"',
          )
        value = valueAfter(key.after, line, indent, depth + 1, true)
        add(key.key, line.start, value)
      }
      end = value.end
    }
    return { kind: 'mapping', entries, start: first.start, end }
  }

  const sequence = (indent: number, depth: number): Located => {
    const items: Located[] = []
    const start = peek()?.start ?? at
    for (let line = peek(); line?.indent === indent && isItem(line); line = peek()) {
      let from = line.start + 1
      while (text[from] === ' ') from++
      const rest: Line = { indent: indent + from - line.start, start: from, end: line.end }
      if (from < line.end && (isItem(rest) || keyOf(from, line.end) !== undefined)) {
        // a block that starts behind the dash
        seen = rest
        items.push(block(rest, depth + 1))
      } else items.push(valueAfter(line.start + 1, line, indent, depth + 1, false))
    }
    return { kind: 'list', items, start, end: items.at(-1)?.end ?? start }
  }

  function block(line: Line, depth: number): Located {
    source.count(line.start, depth)
    return isItem(line) ? sequence(line.indent, depth) : mapping(line, depth)
  }

  const documents: Located[] = []
  for (;;) {
    const line = peek()
    if (line !== undefined) {
      documents.push(block(line, 0))
      const rest = peek()
      if (rest !== undefined)
        throw source.complaint(
          rest.start,
          show(text.slice(rest.start, rest.end)),
          'a key of the mapping above',
        )
    } else if (at < text.length) {
      at = lineEnd(text, at) + 1
    } else return documents
  }
}
