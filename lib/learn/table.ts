/** `publishers` as the lines of a policy: entries, and the rules around them. */
import { presetOf } from '../policy/preset.ts'
import type { IdentityDocument } from '../policy/schema.ts'
import { shortenedTogether } from '../policy/shorten.ts'
import type { RuleDraft } from './drafts.ts'
import { builtPlace, single } from './join.ts'
import { documentItems, filled, MARK, scalar, widths, type Style } from './layout.ts'
import { groupBy } from './observation.ts'
import type { Source } from './source.ts'
import type { Block } from './source-rules.ts'

export type WrittenRule = {
  readonly name: string
  readonly draft: RuleDraft
  /** Names of those who may have built it. */
  readonly identities: readonly string[]
}

export type Lines = readonly string[]

/** So many publishers of one trigger have it said once for all of them. */
const SHARED = 5

/** One line of `publishers`. */
export type Entry = {
  readonly rule: WrittenRule
  /** Who signs, written in place; else by the names of identities. */
  readonly who?: IdentityDocument
}

/** Identities that the policy has by name are spoken of by name. */
export const entryOf = (rule: WrittenRule, isKnown: (name: string) => boolean): Entry => {
  const { draft, identities } = rule
  const who = identities.some(isKnown)
    ? undefined
    : shortenedTogether(draft.pins.map(pin => pin.fields))
  return who ? { rule, who } : { rule }
}

const triggerOf = ({ who }: Entry): string | undefined =>
  who && presetOf(who) !== undefined && typeof who.trigger === 'string'
    ? who.trigger
    : undefined

/** `dash` is what stands before its dash. */
export const entryLines = (
  { rule: { draft, identities }, who }: Entry,
  each: IdentityDocument,
  style: Style,
  dash: string,
): Lines => {
  const { packages, versions, note } = draft
  const items = [
    `packages: [${packages.map(name => scalar(name)).join(', ')}]`,
    ...(versions === undefined ? [] : [`versions: ${scalar(versions)}`]),
    ...(who
      ? documentItems(who, each)
      : [
          `provenance: ${identities.length === 1 ? identities[0] : `[${identities.join(', ')}]`}`,
        ]),
  ]
  const [first = '', ...rest] = filled(
    { head: '- ', open: '{', close: ' }', indent: dash },
    items,
    style,
  )
  // what is in the braces stands below its first line
  const lines = [first, ...rest.map(line => `  ${line}`)]
  const noted = `${lines.at(-1)} # ${note}`
  return note === undefined || noted.length > widths.packed
    ? lines
    : [...lines.slice(0, -1), noted]
}

export type Group = {
  readonly kind: 'built' | 'exact'
  readonly signed: boolean
  readonly trigger: string | undefined
  readonly entries: readonly Entry[]
}

/**
 * Entries that say the same besides; those of one trigger by themselves, where there are many of
 * them or a block has it already.
 */
export const groupsOf = (
  entries: readonly Entry[],
  isOpen: (group: Omit<Group, 'entries'>) => boolean,
): readonly Group[] =>
  [...groupBy(entries, ({ rule: { draft } }) => `${draft.kind} ${draft.signed}`).values()]
    .flatMap((alike): Group[] => {
      const [head] = alike
      if (head === undefined) return []
      const { kind, signed } = head.rule.draft
      const said = { kind: kind === 'exact' ? 'exact' : 'built', signed } as const
      const byTrigger = [...groupBy(alike, triggerOf)].map(([trigger, some]): Group => ({
        ...said,
        trigger,
        entries: some,
      }))
      const isShared = (group: Group) =>
        group.trigger !== undefined && (group.entries.length >= SHARED || isOpen(group))
      const others = byTrigger.filter(group => !isShared(group)).flatMap(g => g.entries)
      return [...byTrigger.filter(isShared), { ...said, trigger: undefined, entries: others }]
    })
    .filter(group => group.entries.length > 0)

export const blockName = ({ kind, signed, trigger }: Group): string =>
  [
    kind === 'exact'
      ? 'single versions as they were built before'
      : 'each built by its own repository',
    ...(trigger === undefined
      ? []
      : [trigger === 'workflow_dispatch' ? 'started by hand' : `on ${trigger}`]),
    ...(signed ? [] : ['not signed by the registry']),
  ].join(', ')

export const newBlock = (group: Group, name: string, style: Style, indent: string): Lines => {
  const { trigger, signed, entries } = group
  return [
    `${indent}- name: ${scalar(name, false)} ${MARK}`,
    ...(signed ? [`${indent}  require: { registrySignature: required }`] : []),
    ...(trigger === undefined ? [] : [`${indent}  each: { trigger: ${scalar(trigger)} }`]),
    `${indent}  publishers:`,
    ...entries.flatMap(entry =>
      entryLines(entry, trigger === undefined ? {} : { trigger }, style, `${indent}    `),
    ),
  ]
}

/** A block learned before that says what these say, with nobody's own rule between it and their place. */
export const openBlock = (
  source: Source,
  { kind, signed, trigger }: Omit<Group, 'entries'>,
): Block | undefined => {
  if (kind !== 'built') return undefined
  const before = source.rules.slice(0, builtPlace(source))
  const from = before.findLastIndex(rule => !rule.learned) + 1
  const wanted = signed ? 'required' : 'if-present'
  return before.slice(from).find(last => {
    const { block, rule, simple } = last
    const [asked] = rule.outcome.kind === 'require' ? rule.outcome.anyOf : []
    return (
      block?.entries !== undefined &&
      block.trigger === trigger &&
      simple &&
      !single(last) &&
      asked?.registrySignature === wanted
    )
  })?.block
}
