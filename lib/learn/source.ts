/**
 * A policy file as text in which places are known, so that what is learned can be put in without
 * touching a character of the rest.
 */
import { isMap, isSeq, parseDocument, type Node } from 'yaml'
import { AttestryError } from '../errors.ts'
import { parsePolicy } from '../policy/parse.ts'
import type { Policy } from '../policy/policy.ts'
import {
  dashOf,
  lineStart,
  pairOf,
  readIdentities,
  readInline,
  readRules,
  spanOf,
  type SourceIdentity,
  type SourceRule,
  type Span,
} from './source-rules.ts'

/** `identities` or `rules`, and how far its items stand in. */
export type Section = Span & { readonly indent: string; readonly empty: boolean }

export type Source = {
  readonly text: string
  readonly file: string
  readonly policy: Policy
  readonly identities: readonly SourceIdentity[]
  /** Those written in entries of `publishers`, under names that no identity can have. */
  readonly inline: readonly SourceIdentity[]
  readonly rules: readonly SourceRule[]
  readonly sections: { readonly identities?: Section; readonly rules?: Section }
  /** Where a section more would go: before what has to follow it and what is written above that. */
  readonly sectionAt: { readonly identities: number; readonly rules: number }
}

const sectionOf = (
  root: unknown,
  key: 'identities' | 'rules',
  text: string,
  file: string,
): Section | undefined => {
  const pair = pairOf(root, key)
  const value = pair?.value
  if (!pair || (!isMap(value) && !isSeq(value))) return undefined
  const span = spanOf(text, pair.key.range?.[0] ?? 0, value)
  if (value.items.length === 0) return { ...span, indent: '  ', empty: true }
  const firstKey = isMap(value) ? (value.items[0]?.key as Node | undefined) : undefined
  const first = isSeq(value) ? dashOf(value, 0) : firstKey?.range?.[0]
  if (value.flow === true || first === undefined) {
    const message = `${file}: ${key} stands in one pair of brackets; write each on lines of its own, and learn can add to them.`
    throw new AttestryError('EPOLICY', message)
  }
  return { ...span, indent: text.slice(lineStart(text, first), first), empty: false }
}

/** The start of the lines of comment directly above a line, else of the line itself. */
export const withCommentsAbove = (text: string, at: number): number => {
  let start = lineStart(text, at)
  while (start > 0) {
    const above = lineStart(text, start - 1)
    if (!/^[ \t]*#/.test(text.slice(above, start))) break
    start = above
  }
  return start
}

/** Before the first of these keys that is there, else the end of the text. */
const before = (root: unknown, text: string, keys: readonly string[]): number => {
  const at = keys.map(key => pairOf(root, key)?.key.range?.[0]).find(at => at !== undefined)
  return at === undefined ? text.length : withCommentsAbove(text, at)
}

/** Throws EPOLICY when it is no policy, or is written so that nothing can be put in. */
export const readSource = (text: string, file: string): Source => {
  const policy = parsePolicy(text, { file })
  const root = parseDocument(text, { keepSourceTokens: true, prettyErrors: false }).contents
  const rules = pairOf(root, 'rules')?.value
  const sections = {
    identities: sectionOf(root, 'identities', text, file),
    rules: sectionOf(root, 'rules', text, file),
  }
  if (isMap(root) && root.flow === true)
    throw new AttestryError(
      'EPOLICY',
      `${file}: the policy stands in one pair of braces; write each key on a line of its own.`,
    )
  const read = readRules(isSeq(rules) ? rules : undefined, text, policy)
  return {
    text,
    file,
    policy,
    identities: readIdentities(pairOf(root, 'identities')?.value, text, policy),
    inline: readInline(read),
    rules: read,
    sections: {
      ...(sections.identities && { identities: sections.identities }),
      ...(sections.rules && { rules: sections.rules }),
    },
    sectionAt: {
      identities: before(root, text, ['rules', 'defaults']),
      rules: before(root, text, ['defaults']),
    },
  }
}
