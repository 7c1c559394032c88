/**
 * JSON (RFC 8259) with places, and with what bun allows besides: comments and commas before a
 * closing bracket. Where those are first used is told, so that npm's files can be held to JSON.
 */
import { openEntries, type Located, type Source } from './located.ts'

export type ParsedJson = {
  readonly value: Located
  /** Where the text first left JSON for what bun allows. */
  readonly lenientAt: number | undefined
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const word = /(?:true|false|null)(?![\w$])/y
const words: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null }

export const parseJson = (source: Source, from = 0): ParsedJson => {
  const { text } = source
  let at = from
  let lenientAt: number | undefined

  const found = (offset: number) =>
    offset < text.length
      ? JSON.stringify(String.fromCodePoint(text.codePointAt(offset) ?? 0))
      : 'the end'

  const skip = () => {
    for (;;) {
      const c = text.charCodeAt(at)
      if (c === 32 || c === 10 || c === 13 || c === 9) at++
      else if (c === 47 && (text[at + 1] === '/' || text[at + 1] === '*')) {
        lenientAt ??= at
        const line = text[at + 1] === '/'
        const end = text.indexOf(line ? '\n' : '*/', at + 2)
        if (end === -1 && !line) throw source.complaint(at, 'a comment without end', '*/')
        at = end === -1 ? text.length : end + (line ? 1 : 2)
      } else return
    }
  }

  const string = (): string => {
    const start = at++
    let plain = true
    for (; ; at++) {
      const c = text.charCodeAt(at)
      if (c === 34) break
      if (c === 92) {
        plain = false
        at++
      } else if (!(c >= 32)) {
        const what =
          at < text.length ? 'a control character in a string' : 'a string without end'
        throw source.complaint(Math.min(at, text.length), what, 'a closing quotation mark')
      }
    }
    at++
    if (plain) return text.slice(start + 1, at - 1)
    try {
      return JSON.parse(text.slice(start, at)) as string
    } catch {
      throw source.complaint(start, 'a string with a bad escape', "JSON's escapes")
    }
  }

  /** Items up to `close`, with commas between them. */
  const items = (close: string, item: () => void) => {
    at++
    skip()
    while (text[at] !== close) {
      item()
      skip()
      if (text[at] === close) break
      if (text[at] !== ',') throw source.complaint(at, found(at), `"," or "${close}"`)
      const comma = at++
      skip()
      if (text[at] === close) lenientAt ??= comma
    }
    at++
  }

  const value = (depth: number): Located => {
    source.count(at, depth)
    const start = at
    const c = text[at]
    if (c === '{') {
      const { entries, add } = openEntries(source)
      items('}', () => {
        const keyAt = at
        if (text[at] !== '"') throw source.complaint(at, found(at), 'a key in quotation marks')
        const key = string()
        skip()
        if (text[at] !== ':') throw source.complaint(at, found(at), '":"')
        at++
        skip()
        add(key, keyAt, value(depth + 1))
      })
      return { kind: 'mapping', entries, start, end: at }
    }
    if (c === '[') {
      const list: Located[] = []
      items(']', () => list.push(value(depth + 1)))
      return { kind: 'list', items: list, start, end: at }
    }
    if (c === '"') {
      const text = string()
      return { kind: 'scalar', value: text, style: 'quoted', start, end: at }
    }
    for (const form of [word, number]) {
      form.lastIndex = at
      const match = form.exec(text)?.[0]
      if (match === undefined) continue
      at += match.length
      const value = form === word ? (words[match] ?? null) : Number(match)
      return { kind: 'scalar', value, style: 'plain', start, end: at }
    }
    throw source.complaint(at, found(at), 'a JSON value')
  }

  skip()
  const whole = value(0)
  skip()
  if (at < text.length) throw source.complaint(at, found(at), 'the end of the file')
  return { value: whole, lenientAt }
}
