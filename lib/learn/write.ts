/**
 * A lesson put into the text of a policy. Few publishers get a rule each; where there are many,
 * one rule with `publishers` has a line for each.
 */
import { ruleOrder } from './drafts.ts'
import { builtPlace, type Joining } from './join.ts'
import { identityLines, ruleLines, type Style } from './layout.ts'
import { addPackages } from './lists.ts'
import { free } from './names.ts'
import type { Pin } from './pins.ts'
import type { Source } from './source.ts'
import { addIdentities, addRules, applyEdits, type Edit } from './splice.ts'
import {
  blockName,
  entryLines,
  entryOf,
  groupsOf,
  newBlock,
  openBlock,
  type Group,
  type Lines,
  type WrittenRule,
} from './table.ts'

export type Written = {
  readonly identities: readonly { readonly name: string; readonly pin: Pin }[]
  readonly rules: readonly WrittenRule[]
}

/** A policy of more lines than this is written more densely. */
const LONG = 149

const isEntry = ({ draft: { kind } }: WrittenRule) => kind === 'built' || kind === 'exact'
const isLast = ({ draft: { kind } }: WrittenRule) => kind === 'signed' || kind === 'unsigned'

type Parts = {
  readonly before: readonly Lines[]
  readonly last: readonly Lines[]
  readonly appended: readonly Edit[]
  /** Identities that somebody speaks of by name. */
  readonly named: ReadonlySet<string>
}

/** In `plain` a rule for each draft; else publishers of one kind together. */
const partsOf = (source: Source, { rules, identities }: Written, style: Style): Parts => {
  const indent = source.sections.rules?.indent ?? '  '
  const one = ({ draft, name, identities: names }: WrittenRule) =>
    ruleLines(draft, name, names, style, indent)
  const last = rules.filter(isLast).map(one)
  const first = rules.filter(rule => !isLast(rule))
  if (style === 'plain')
    return {
      before: first.map(one),
      last,
      appended: [],
      named: new Set(identities.map(({ name }) => name)),
    }

  const fresh = new Set(identities.map(({ name }) => name))
  const entries = first.filter(isEntry).map(rule => entryOf(rule, name => !fresh.has(name)))
  const taken = new Set(source.policy.rules.map(({ name }) => name.replace(/: [^:]*$/, '')))
  // rules that have to stand before the publishers cannot be put behind those that are there
  const only = first.every(({ draft }) => draft.kind === 'built')
  const appended: Edit[] = []
  const blockFor = (group: Omit<Group, 'entries'>) =>
    only ? openBlock(source, group) : undefined
  const groups = groupsOf(entries, group => blockFor(group) !== undefined)
  const blocks = groups.flatMap((group): [WrittenRule, Lines][] => {
    const block = blockFor(group)
    if (block?.entries) {
      const { end, indent: dash } = block.entries
      const each = group.trigger === undefined ? {} : { trigger: group.trigger }
      const lines = group.entries.flatMap(entry => entryLines(entry, each, style, dash))
      appended.push({ start: end, end, text: `\n${lines.join('\n')}` })
      return []
    }
    const wanted = blockName(group)
    const name = free(wanted, taken, n => `${wanted} (${n})`)
    const [head] = group.entries
    return head ? [[head.rule, newBlock(group, name, style, indent)]] : []
  })
  const others = first
    .filter(rule => !isEntry(rule))
    .map((rule): [WrittenRule, Lines] => [rule, one(rule)])
  return {
    before: [...others, ...blocks]
      .sort(([a], [b]) => ruleOrder.indexOf(a.draft.kind) - ruleOrder.indexOf(b.draft.kind))
      .map(([, lines]) => lines),
    last,
    appended,
    named: new Set(entries.flatMap(({ rule, who }) => (who ? [] : rule.identities))),
  }
}

const writeOut = (
  source: Source,
  lesson: Written,
  joining: readonly Joining[],
  style: Style,
): string => {
  const { before, last, appended, named } = partsOf(source, lesson, style)
  const identities = lesson.identities
    .filter(({ name }) => named.has(name))
    .map(({ name, pin }) =>
      identityLines(name, pin.fields, style, source.sections.identities?.indent ?? '  '),
    )
  const gap = style === 'plain'
  const at = builtPlace(source)
  const rules =
    at === source.rules.length
      ? addRules(source, [...before, ...last], at, gap)
      : [
          ...addRules(source, before, at, gap),
          ...addRules(source, last, source.rules.length, gap),
        ]
  return applyEdits(source.text, [
    ...addIdentities(source, identities),
    ...appended,
    ...rules,
    ...joining.flatMap(({ rule, names }) =>
      rule.packages ? addPackages(source.text, rule.packages, names) : [],
    ),
  ])
}

const linesIn = (text: string) => text.split('\n').length - 1

/** In the plainest style in which it is not long, and no plainer than what is there. */
export const written = (
  source: Source,
  lesson: Written,
  joining: readonly Joining[],
): string => {
  const plain = writeOut(source, lesson, joining, 'plain')
  const isDense = source.rules.some(({ learned, block }) => learned && block !== undefined)
  if (linesIn(plain) <= LONG && !isDense) return plain
  const dense = writeOut(source, lesson, joining, 'dense')
  return linesIn(dense) <= LONG ? dense : writeOut(source, lesson, joining, 'packed')
}
