/**
 * The text of yarn 1's lockfile, with places: lines of `key value`, and of `key, key:` above
 * lines that are indented by two more spaces. Follows what yarn 1 itself writes, and refuses
 * the few things only its tokenizer would take. Several keys of one line share one value.
 */
import { openEntries, show, type Located, type Mapping, type Source } from './located.ts'

type Token = { readonly text: string; readonly start: number; readonly end: number }

/** Unquoted text: as yarn's tokenizer delimits it. */
const bare = /[A-Za-z/.-][^:, \r\n]*/y
/** Its other values, of which yarn's lockfiles have hardly any. */
const word = /(?:true|false|\d+)(?=\s|$)/y

export const parseYarnText = (source: Source): Mapping => {
  const { text } = source
  let at = 0

  const lineEnd = (from: number) => {
    const found = text.indexOf('\n', from)
    const stop = found === -1 ? text.length : found
    return { stop, end: stop > from && text[stop - 1] === '\r' ? stop - 1 : stop }
  }

  /** Where the next line with something on it begins, and what it is indented by. */
  const peek = (): { readonly indent: number; readonly start: number } | undefined => {
    while (at < text.length) {
      let start = at
      while (text[start] === ' ') start++
      const { stop, end } = lineEnd(at)
      if (start < end && text[start] !== '#') return { indent: start - at, start }
      at = stop + 1
    }
    return undefined
  }

  const token = (start: number, what: string): Token => {
    if (text[start] === '"') {
      let end = start + 1
      while (end < text.length && text[end] !== '"' && text[end] !== '\n')
        end += text[end] === '\\' ? 2 : 1
      try {
        return { text: JSON.parse(text.slice(start, end + 1)) as string, start, end: end + 1 }
      } catch {
        throw source.complaint(start, 'a string that is not JSON', what)
      }
    }
    bare.lastIndex = start
    const found = bare.exec(text)?.[0]
    // yarn quotes text that starts so: its tokenizer would stop in the middle of it
    if (found === undefined || /^(?:true|false)./.test(found)) {
      const line = text.slice(start, lineEnd(start).end)
      throw source.complaint(start, line === '' ? 'the end of the line' : show(line), what)
    }
    return { text: found, start, end: start + found.length }
  }

  const spaces = (from: number) => {
    let end = from
    while (text[end] === ' ') end++
    return end
  }

  /** Goes on after the line, on which nothing but a comment may stand any more. */
  const take = (from: number) => {
    const next = spaces(from)
    const { stop, end } = lineEnd(from)
    if (next < end && text[next] !== '#')
      throw source.complaint(next, show(text.slice(next, end)), 'the end of the line')
    at = stop + 1
  }

  const value = (start: number): Located => {
    word.lastIndex = start
    const raw = word.exec(text)?.[0]
    if (raw !== undefined)
      return { kind: 'scalar', value: raw, style: 'plain', start, end: start + raw.length }
    const found = token(start, 'a value')
    return { kind: 'scalar', value: found.text, style: 'quoted', start, end: found.end }
  }

  const block = (indent: number, depth: number): Mapping => {
    const { entries, add } = openEntries(source)
    const start = peek()?.start ?? at
    let end = start
    for (let line = peek(); line !== undefined && line.indent >= indent; line = peek()) {
      if (line.indent !== indent)
        throw source.complaint(line.start, `${line.indent} spaces`, `a key after ${indent}`)
      source.count(line.start, depth)
      const keys = [token(line.start, 'a key')]
      let next = spaces(keys[0]?.end ?? line.start)
      while (text[next] === ',') {
        const key = token(spaces(next + 1), 'a key')
        source.count(key.start, depth)
        keys.push(key)
        next = spaces(key.end)
      }
      let held: Located
      if (text[next] === ':') {
        take(next + 1)
        if (peek()?.indent !== indent + 2)
          throw source.complaint(next, 'a key with nothing below it', 'its fields')
        held = block(indent + 2, depth + 1)
      } else {
        held = value(next)
        take(held.end)
      }
      for (const key of keys) add(key.text, key.start, held)
      end = held.end
    }
    return { kind: 'mapping', entries, start, end }
  }

  return block(0, 0)
}
