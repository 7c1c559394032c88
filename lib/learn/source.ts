/**
 * A policy file as text in which places are known, so that what is learned can be put in without
 * touching a character of the rest.
 */
import {
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  type Node,
  type Pair,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { AttestryError } from '../errors.ts'
import { parsePolicy } from '../policy/parse.ts'
import type { IdentityPattern, Policy, Rule } from '../policy/policy.ts'

/** Offsets into the text: from the first character of its first line to the end of its last. */
export type Span = { readonly start: number; readonly end: number }

export type ListPlace = {
  readonly flow: boolean
  readonly items: readonly (Span & { readonly text: string })[]
}

export type SourceIdentity = Span & {
  readonly learned: boolean
  readonly pattern: IdentityPattern
}

export type SourceRule = Span & {
  readonly learned: boolean
  readonly rule: Rule
  /** None where the list stands elsewhere, behind an alias. */
  readonly packages?: ListPlace
  /** Names of identities that `provenance` asks for; undefined where it asks for something else. */
  readonly identities?: readonly string[]
  /** It says nothing beyond what a learned rule says. */
  readonly simple: boolean
}

/** `identities` or `rules`, and how far its items stand in. */
export type Section = Span & { readonly indent: string; readonly empty: boolean }

export type Source = {
  readonly text: string
  readonly file: string
  readonly policy: Policy
  readonly identities: readonly SourceIdentity[]
  readonly rules: readonly SourceRule[]
  readonly sections: { readonly identities?: Section; readonly rules?: Section }
  /** Where a section more would go: before what has to follow it and what is written above that. */
  readonly sectionAt: { readonly identities: number; readonly rules: number }
}

const lineStart = (text: string, at: number) => text.lastIndexOf('\n', at - 1) + 1
const lineEnd = (text: string, at: number) => {
  const end = text.indexOf('\n', at)
  return end === -1 ? text.length : end
}

/** Where the content of a node ends: without the comments and empty lines behind it. */
const contentEnd = (text: string, node: Node): number => {
  const last = isMap(node) || isSeq(node) ? node.items.at(-1) : undefined
  if (last !== undefined && (node as YAMLSeq).flow !== true) {
    const inner = isPair(last) ? (last.value ?? last.key) : last
    return contentEnd(text, inner as Node)
  }
  const end = node.range?.[1] ?? 0
  // a block scalar takes the line break with it
  return text[end - 1] === '\n' ? end - 1 : end
}

const spanOf = (text: string, first: number, last: Node): Span => ({
  start: lineStart(text, first),
  end: lineEnd(text, contentEnd(text, last)),
})

const isMark = (comment: string | null | undefined) => /^ *learned\b/.test(comment ?? '')

const pairOf = (map: unknown, key: string): Pair<Node, Node | null> | undefined =>
  isMap(map)
    ? (map as YAMLMap<Node, Node | null>).items.find(
        ({ key: k }) => isScalar(k) && k.value === key,
      )
    : undefined

const keysOf = (map: unknown): readonly unknown[] =>
  isMap(map) ? map.items.map(({ key }) => (isScalar(key) ? key.value : undefined)) : []

const listPlace = (node: unknown): ListPlace | undefined => {
  if (!isSeq(node)) return undefined
  const items = node.items.map(item =>
    isScalar(item) && item.range
      ? { text: String(item.value), start: item.range[0], end: item.range[1] }
      : undefined,
  )
  return items.every(item => item !== undefined)
    ? { flow: node.flow === true, items }
    : undefined
}

const identityNames = (require: unknown, policy: Policy): readonly string[] | undefined => {
  const value = pairOf(require, 'provenance')?.value
  const said = isScalar(value) ? [value.value] : isSeq(value) ? value.toJSON() : []
  const names = said.filter(
    (name): name is string =>
      typeof name === 'string' && Object.hasOwn(policy.identities, name),
  )
  return names.length > 0 && names.length === said.length ? names : undefined
}

const dashOf = (seq: YAMLSeq, i: number): number | undefined => {
  const token = seq.srcToken
  if (token?.type !== 'block-seq') return undefined
  return token.items[i]?.start.find(({ type }) => type === 'seq-item-ind')?.offset
}

const among = (keys: readonly unknown[], known: readonly string[]) =>
  keys.every(key => known.includes(String(key)))

const readRules = (seq: YAMLSeq | undefined, text: string, policy: Policy): SourceRule[] =>
  (seq?.items ?? []).flatMap((node, i): SourceRule[] => {
    const rule = policy.rules[i]
    const first = isMap(node) ? node.items[0]?.value : undefined
    if (seq === undefined || rule === undefined || !isMap(node)) return []
    const require = pairOf(node, 'require')?.value
    const packages = listPlace(pairOf(node, 'packages')?.value)
    const identities = identityNames(require, policy)
    return [
      {
        ...spanOf(text, dashOf(seq, i) ?? node.range?.[0] ?? 0, node),
        learned: isMark(node.comment) || (isScalar(first) && isMark(first.comment)),
        rule,
        ...(packages && { packages }),
        ...(identities && { identities }),
        simple:
          among(keysOf(node), ['name', 'packages', 'versions', 'require']) &&
          among(keysOf(require), ['provenance', 'registrySignature']),
      },
    ]
  })

const readIdentities = (map: unknown, text: string, policy: Policy): SourceIdentity[] =>
  (isMap(map) ? (map as YAMLMap<Node, Node | null>).items : []).flatMap(({ key, value }) => {
    const pattern = isScalar(key) ? policy.identities[String(key.value)] : undefined
    if (pattern === undefined || value === null) return []
    const span = spanOf(text, key.range?.[0] ?? 0, value)
    return [{ ...span, learned: isMark(value.commentBefore) || isMark(value.comment), pattern }]
  })

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
  return {
    text,
    file,
    policy,
    identities: readIdentities(pairOf(root, 'identities')?.value, text, policy),
    rules: readRules(isSeq(rules) ? rules : undefined, text, policy),
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
