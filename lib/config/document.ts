/**
 * YAML text → checked value, with every complaint placed at file:line:column and saying what was
 * found and what was wanted. Pure: the text is handed in.
 */
import {
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
} from 'yaml'
import type { z } from 'zod'
import { AttestryError, messageOf, type ErrorCode } from '../errors.ts'
import { didYouMean } from './nearest.ts'
import { offsetInScalar } from './scalar-place.ts'
import { knownKeys } from './schema-walk.ts'

export type Place = { readonly file: string; readonly line: number; readonly column: number }
export type Complaint = Place & { readonly message: string }

export type LocatedDocument<T> = {
  readonly value: T
  /** Where the node at `path` starts; the nearest ancestor when there is no such node. */
  readonly place: (path: readonly PropertyKey[]) => Place
  /** Where the character at `index` of the text at `path` stands. */
  readonly placeIn: (path: readonly PropertyKey[], index: number) => Place
}

/** A document may not be larger than this (bytes of text), nor nest or alias without end. */
const MAX_TEXT = 4 * 1024 * 1024
const MAX_ALIASES = 100

export const complaintText = (c: Complaint) => `${c.file}:${c.line}:${c.column}: ${c.message}`

/** All complaints about one file in one error, from its top down; the message holds one line for each. */
export const complaintsError = (code: ErrorCode, found: readonly Complaint[]) => {
  const complaints = found.toSorted((a, b) => a.line - b.line || a.column - b.column)
  return new AttestryError(code, complaints.map(complaintText).join('\n'), {
    details: { complaints },
  })
}

const describe = (value: unknown): string => {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  // a URL may hold a password
  const text = (JSON.stringify(value) ?? typeof value).replace(/\/\/[^/\s]*@/, '//[hidden]@')
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

const at = (root: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (value, key) =>
      value !== null && typeof value === 'object'
        ? (value as Record<PropertyKey, unknown>)[key]
        : undefined,
    root,
  )

/** The node for a path; with `key`, the key of the pair itself (for unknown keys). */
const nodeAt = (doc: Document, path: readonly PropertyKey[]): Node | undefined => {
  for (let n = path.length; n >= 0; n--) {
    const parent = n === 0 ? doc.contents : doc.getIn(path.slice(0, n - 1), true)
    if (n === 0) return (parent as Node | null) ?? undefined
    const key = path[n - 1]
    if (isMap(parent)) {
      const pair = parent.items.find((p: Pair) => isScalar(p.key) && p.key.value === key)
      if (pair) return (n === path.length ? pair.key : (pair.value ?? pair.key)) as Node
    } else {
      const node = doc.getIn(path.slice(0, n), true)
      if (node) return node as Node
    }
  }
  return undefined
}

type Issue = z.core.$ZodIssue

/** A union fails in every branch: report the branch that came furthest. */
const flatten = (issue: Issue, prefix: readonly PropertyKey[] = []): Issue[] => {
  const path = [...prefix, ...issue.path]
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [{ ...issue, path }]
  const depth = (issues: readonly Issue[]) => Math.max(0, ...issues.map(i => i.path.length))
  const best = Math.max(...issue.errors.map(depth))
  const branch = issue.errors.find(errors => depth(errors) === best) ?? []
  if (best === 0) return [{ ...issue, path }]
  return branch.flatMap(inner => flatten(inner, path))
}

/** A complaint before it has a place; with `index`, about a character of the text at `path`. */
export type Finding = {
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly index?: number
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping of keys to values',
  array: 'a list',
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
}

/** The schema's own words, else ours for zod's about the kind of a value. */
const wordsOf = ({ message }: Issue): string => {
  const [, kind = ''] = /^Invalid input: expected (\w+)/.exec(message) ?? []
  const said = KINDS[kind]
  return said === undefined ? message : `wanted ${said}`
}

/** What a failed check says, in our words; `hide` names the values that must not be repeated. */
export const findingsOf = (
  error: z.ZodError,
  options: {
    readonly raw: unknown
    readonly schema: z.ZodType
    readonly hide?: (path: readonly PropertyKey[]) => boolean
  },
): Finding[] => {
  const { raw, schema, hide } = options
  return error.issues
    .flatMap(issue => flatten(issue))
    .flatMap(issue => {
      const { path } = issue
      if (issue.code === 'unrecognized_keys') {
        const known = knownKeys(schema, path)
        return issue.keys.map(key => ({
          path: [...path, key],
          message: `unknown key ${describe(key)}${didYouMean(key, known)}`,
        }))
      }
      const name = path.join('.') || 'document'
      if (issue.code === 'invalid_key')
        return [{ path, message: `${name}: ${issue.issues[0]?.message ?? issue.message}` }]
      const value = at(raw, path)
      // said about several keys of a mapping: there is no one value to show
      if (issue.code === 'custom' && typeof value === 'object')
        return [{ path, message: `${name}: ${issue.message}` }]
      const said = value === undefined ? 'nothing' : hide?.(path) ? 'it' : describe(value)
      return [{ path, message: `${name}: ${wordsOf(issue)}; found ${said}` }]
    })
}

/** Parses only; complaints about the YAML itself are thrown as one error with code `code`. */
export const parseLocated = (
  text: string,
  options: { readonly file: string; readonly code: ErrorCode },
): LocatedDocument<unknown> => {
  const { file, code } = options
  const lines = new LineCounter()
  if (text.length > MAX_TEXT) {
    const message = `the file has ${text.length} characters; at most ${MAX_TEXT} are read`
    throw complaintsError(code, [{ file, line: 1, column: 1, message }])
  }
  const doc = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'silent',
    uniqueKeys: true,
  })
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  if (doc.errors.length > 0) {
    throw complaintsError(
      code,
      doc.errors.map(e => ({ ...placeOf(e.pos[0]), message: e.message })),
    )
  }
  try {
    return {
      value: doc.toJS({ maxAliasCount: MAX_ALIASES }) ?? {},
      place: path => placeOf(nodeAt(doc, path)?.range?.[0] ?? 0),
      placeIn: (path, index) => {
        const node = doc.getIn(path, true)
        return placeOf(
          isScalar(node)
            ? offsetInScalar(text, node, index)
            : (nodeAt(doc, path)?.range?.[0] ?? 0),
        )
      },
    }
  } catch (error) {
    throw complaintsError(code, [{ file, line: 1, column: 1, message: messageOf(error) }])
  }
}

/** Parses and checks; throws one error with code `code` that holds every complaint. */
export const readDocument = <S extends z.ZodType>(
  text: string,
  options: { readonly file: string; readonly schema: S; readonly code: ErrorCode },
): LocatedDocument<z.output<S>> => {
  const { schema, code } = options
  const { value: raw, place, placeIn } = parseLocated(text, options)
  const result = schema.safeParse(raw)
  if (result.success) return { value: result.data, place, placeIn }
  const findings = findingsOf(result.error, { raw, schema })
  throw complaintsError(
    code,
    findings.map(({ path, message }) => ({ ...place(path), message })),
  )
}
