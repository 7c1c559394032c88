/**
 * The rules and identities of a policy with the places where they stand. An entry of `publishers`
 * is a rule by itself, as it is for the policy.
 */
import {
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
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
  /** The rule with `publishers` around it, where it is an entry of one. */
  readonly block?: Block
}

/** A rule with `publishers`. */
export type Block = Span & {
  readonly learned: boolean
  /** The trigger that is said once for all. */
  readonly trigger?: string
  /** How far its entries stand in; none where they stand in one pair of brackets. */
  readonly entries?: Span & { readonly indent: string }
}

export const lineStart = (text: string, at: number) => text.lastIndexOf('\n', at - 1) + 1
export const lineEnd = (text: string, at: number) => {
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

export const spanOf = (text: string, first: number, last: Node): Span => ({
  start: lineStart(text, first),
  end: lineEnd(text, contentEnd(text, last)),
})

const isMark = (comment: string | null | undefined) => /^ *learned\b/.test(comment ?? '')

export const pairOf = (map: unknown, key: string): Pair<Node, Node | null> | undefined =>
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

export const dashOf = (seq: YAMLSeq, i: number): number | undefined => {
  const token = seq.srcToken
  if (token?.type !== 'block-seq') return undefined
  return token.items[i]?.start.find(({ type }) => type === 'seq-item-ind')?.offset
}

const among = (keys: readonly unknown[], known: readonly string[]) =>
  keys.every(key => known.includes(String(key)))

const inlineName = (i: number) => `#${i}`

/** An entry of `publishers`: a rule by itself, in the place of which the policy has one. */
const readEntry = (
  node: YAMLMap,
  at: { readonly span: Span; readonly learned: boolean; readonly block: Block },
  i: number,
  policy: Policy,
  text: string,
): SourceRule[] => {
  const rule = policy.rules[i]
  if (rule === undefined) return []
  const packages = listPlace(pairOf(node, 'packages')?.value)
  const named = pairOf(node, 'provenance')
  const identities = named ? identityNames(node, policy) : [inlineName(i)]
  return [
    {
      ...at.span,
      learned: at.learned || isMark(commentBehind(text, node)),
      rule,
      ...(packages && { packages }),
      ...(identities && { identities }),
      simple: true,
      block: at.block,
    },
  ]
}

const commentBehind = (text: string, node: Node): string | undefined => {
  const end = node.range?.[1] ?? 0
  return /^ *#(.*)/.exec(text.slice(end, lineEnd(text, end)))?.[1]
}

const readBlock = (
  node: YAMLMap,
  span: Span,
  marked: boolean,
  first: number,
  policy: Policy,
  text: string,
): SourceRule[] => {
  const seq = pairOf(node, 'publishers')?.value
  if (!isSeq(seq)) return []
  const require = pairOf(node, 'require')?.value
  const each = pairOf(node, 'each')?.value
  const trigger = pairOf(each, 'trigger')?.value
  const shared =
    isScalar(trigger) && typeof trigger.value === 'string' ? trigger.value : undefined
  const simple =
    among(keysOf(node), ['name', 'publishers', 'require', 'each']) &&
    among(keysOf(require), ['registrySignature']) &&
    keysOf(each).length === (shared === undefined ? 0 : 1)
  const dash = dashOf(seq, 0)
  const block: Block = {
    ...span,
    learned: marked,
    ...(shared !== undefined && { trigger: shared }),
    ...(seq.flow !== true &&
      dash !== undefined && {
        entries: {
          ...spanOf(text, dash, seq),
          indent: text.slice(lineStart(text, dash), dash),
        },
      }),
  }
  return seq.items.flatMap((entry, k) => {
    if (!isMap(entry)) return []
    const own = spanOf(text, dashOf(seq, k) ?? entry.range?.[0] ?? 0, entry)
    return readEntry(entry, { span: own, learned: marked, block }, first + k, policy, text).map(
      rule => ({ ...rule, simple }),
    )
  })
}

export const readRules = (
  seq: YAMLSeq | undefined,
  text: string,
  policy: Policy,
): SourceRule[] => {
  const rules: SourceRule[] = []
  for (const [i, node] of (seq?.items ?? []).entries()) {
    if (seq === undefined || !isMap(node)) continue
    const first = node.items[0]?.value
    const span = spanOf(text, dashOf(seq, i) ?? node.range?.[0] ?? 0, node)
    const learned = isMark(node.comment) || (isScalar(first) && isMark(first.comment))
    // each entry of publishers is a rule of the policy
    if (pairOf(node, 'publishers')) {
      rules.push(...readBlock(node, span, learned, rules.length, policy, text))
      continue
    }
    const rule = policy.rules[rules.length]
    if (rule === undefined) continue
    const require = pairOf(node, 'require')?.value
    const packages = listPlace(pairOf(node, 'packages')?.value)
    const identities = identityNames(require, policy)
    rules.push({
      ...span,
      learned,
      rule,
      ...(packages && { packages }),
      ...(identities && { identities }),
      simple:
        among(keysOf(node), ['name', 'packages', 'versions', 'require']) &&
        among(keysOf(require), ['provenance', 'registrySignature']),
    })
  }
  return rules
}

/** Identities that entries of `publishers` hold themselves. */
export const readInline = (rules: readonly SourceRule[]): SourceIdentity[] =>
  rules.flatMap(({ start, end, learned, rule, identities }, i) => {
    const name = inlineName(i)
    const { outcome } = rule
    const demand = outcome.kind === 'require' ? outcome.anyOf[0]?.provenance : undefined
    const pattern = demand?.want === 'identity' ? demand.identities[0] : undefined
    return identities?.includes(name) && pattern
      ? [{ start, end, learned, pattern: { ...pattern, name } }]
      : []
  })

export const readIdentities = (map: unknown, text: string, policy: Policy): SourceIdentity[] =>
  (isMap(map) ? (map as YAMLMap<Node, Node | null>).items : []).flatMap(({ key, value }) => {
    const pattern = isScalar(key) ? policy.identities[String(key.value)] : undefined
    if (pattern === undefined || value === null) return []
    const span = spanOf(text, key.range?.[0] ?? 0, value)
    return [{ ...span, learned: isMark(value.commentBefore) || isMark(value.comment), pattern }]
  })
