/**
 * Text parsed into plain values that know where they stand: what the JSON, YAML and yarn parsers
 * give and the readers of the formats take. Keys are held in Maps, so that no key is special.
 */
import { complaintsError } from '../config/document.ts'
import type { AttestryError } from '../errors.ts'
import type { Span } from './lockfile.ts'

/**
 * `style` tells a YAML scalar's form: `plain` may be meant as something else than a string, and
 * of `block` only the place is known. JSON's and yarn's strings are `quoted`.
 */
export type Scalar = Span & {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
  readonly style: 'plain' | 'quoted' | 'block'
}
export type Mapping = Span & {
  readonly kind: 'mapping'
  readonly entries: ReadonlyMap<string, Entry>
}
export type List = Span & { readonly kind: 'list'; readonly items: readonly Located[] }
export type Located = Scalar | Mapping | List
/** `at` is where the key starts. */
export type Entry = { readonly at: number; readonly value: Located }

/** Nothing nests deeper than this, and no text holds more values. */
const MAX_DEPTH = 200
const MAX_VALUES = 1_500_000

/** Untrusted text for a message: one line, short, no control characters, no passwords. */
export const show = (text: string): string => {
  const cut = text.length > 80 ? `${text.slice(0, 77)}...` : text
  return JSON.stringify(cut.replace(/\/\/[^/\s]*@/g, '//[hidden]@')).replace(
    /\p{C}/gu,
    c => `\\u{${c.codePointAt(0)?.toString(16) ?? ''}}`,
  )
}

export type Source = {
  readonly file: string
  readonly text: string
  /** From 1. */
  line(offset: number): number
  /** To be thrown: what was found at `offset` and what was wanted there. */
  complaint(offset: number, found: string, wanted: string): AttestryError
  /** Throws when a value at this depth is one too many. Parsers call it for each value. */
  count(offset: number, depth: number): void
}

export const openSource = (text: string, file: string): Source => {
  let starts: Uint32Array | undefined
  let values = 0
  const lineStarts = () => {
    let lines = 1
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lines++
    const found = new Uint32Array(lines)
    let at = 0
    for (let line = 1; line < lines; line++) {
      at = text.indexOf('\n', at) + 1
      found[line] = at
    }
    return found
  }
  const position = (offset: number) => {
    starts ??= lineStarts()
    let [low, high] = [0, starts.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
  const complaint = (offset: number, found: string, wanted: string) =>
    complaintsError('ELOCKFILE', [
      { file, ...position(offset), message: `found ${found}; wanted ${wanted}` },
    ])
  return {
    file,
    text,
    line: offset => position(offset).line,
    complaint,
    count: (offset, depth) => {
      if (depth > MAX_DEPTH)
        throw complaint(offset, 'deeper nesting', `at most ${MAX_DEPTH} levels`)
      if (++values > MAX_VALUES)
        throw complaint(offset, 'more values', `at most ${MAX_VALUES} in one file`)
    },
  }
}

/** The entries of a mapping under construction; a second entry for a key is a complaint. */
export const openEntries = (source: Source) => {
  const entries = new Map<string, Entry>()
  return {
    entries,
    add: (key: string, at: number, value: Located) => {
      const first = entries.get(key)
      if (first !== undefined) {
        const found = `the key ${show(key)} a second time (first on line ${source.line(first.at)})`
        throw source.complaint(at, found, 'every key once')
      }
      entries.set(key, { at, value })
    },
  }
}

const describe = (node: Located): string => {
  if (node.kind !== 'scalar') return `a ${node.kind}`
  if (node.style === 'block') return 'text of several lines'
  return typeof node.value === 'string' ? show(node.value) : String(node.value)
}

/** The same value, as a mapping. `what` names it in the complaint. */
export const asMapping = (source: Source, node: Located, what: string): Mapping => {
  if (node.kind === 'mapping') return node
  throw source.complaint(node.start, describe(node), `a mapping for ${what}`)
}

/** The same value, as a string. */
export const asText = (source: Source, node: Located, what: string): string => {
  if (node.kind === 'scalar' && node.style !== 'block' && typeof node.value === 'string')
    return node.value
  throw source.complaint(node.start, describe(node), `a string for ${what}`)
}

/** `null` and, in YAML, an empty value or `null` count as not there. */
const isNothing = (node: Located) =>
  node.kind === 'scalar' &&
  (node.value === null ||
    (node.style === 'plain' && /^(|~|null|Null|NULL)$/.test(String(node.value))))

export const field = (mapping: Mapping, key: string): Located | undefined => {
  const value = mapping.entries.get(key)?.value
  return value === undefined || isNothing(value) ? undefined : value
}

const noEntries: ReadonlyMap<string, Entry> = new Map()

/** The entries of the mapping at `key`; none when there is no such key. */
export const entriesAt = (source: Source, mapping: Mapping, key: string) => {
  const node = field(mapping, key)
  return node === undefined ? noEntries : asMapping(source, node, key).entries
}

export const textAt = (source: Source, mapping: Mapping, key: string): string | undefined => {
  const node = field(mapping, key)
  return node === undefined ? undefined : asText(source, node, key)
}

export const isTrueAt = (mapping: Mapping, key: string): boolean => {
  const node = field(mapping, key)
  if (node?.kind !== 'scalar') return false
  return (
    node.value === true ||
    (node.style === 'plain' && /^(true|True|TRUE)$/.test(String(node.value)))
  )
}

/** Where a string's characters stand, when they stand there without escapes. */
export const verbatim = (source: Source, node: Located | undefined, value: string): Span[] => {
  if (node === undefined) return []
  const found = [node.start, node.start + 1].find(start => source.text.startsWith(value, start))
  return found === undefined || found + value.length > node.end
    ? []
    : [{ start: found, end: found + value.length }]
}
