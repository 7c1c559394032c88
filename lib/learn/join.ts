/** Where learned rules stand in a policy, and which packages they can take in. */
import { compare } from 'semver'
import { coversName } from '../policy/match.ts'
import { hits } from './floors.ts'
import type { OpenPackage, Sorted } from './group.ts'
import { groupBy } from './observation.ts'
import type { Source } from './source.ts'
import type { SourceRule } from './source-rules.ts'

export const single = ({ rule }: SourceRule) =>
  rule.packages.every(p => p.kind === 'exact' && p.version !== undefined)

/** Learned, about packages and not single versions, and without a publisher. */
const isOpenEnd = (rule: SourceRule) => rule.learned && !rule.identities && !single(rule)

/** The first place from which on a rule without a publisher would govern instead. */
export const builtPlace = ({ rules }: Source): number => {
  const at = rules.findIndex(isOpenEnd)
  return at === -1 ? rules.length : at
}

export const covers = ({ rule }: SourceRule, name: string) =>
  rule.packages.some(pattern => coversName(pattern, name))

/** Can the rule take in the package and say about it what a rule of its own would? */
const takesIn = (
  rule: SourceRule,
  at: number,
  source: Source,
  one: OpenPackage,
  names: ReadonlyMap<string, readonly string[]>,
): boolean => {
  const { identities, packages, simple, learned } = rule
  const { versions, outcome } = rule.rule
  if (!learned || !simple || !packages || !identities || single(rule)) return false
  const from = versions === undefined ? undefined : /^>=(\S+)$/.exec(versions)?.[1]
  const [asked] = outcome.kind === 'require' ? outcome.anyOf : []
  return (
    one.pins.every(pin => names.get(pin.key)?.some(name => identities.includes(name))) &&
    (versions === undefined || (from !== undefined && compare(from, one.lowest) <= 0)) &&
    !hits(one, from) &&
    (asked?.registrySignature !== 'required' || one.signed) &&
    source.rules.slice(at).every(other => other.learned || !covers(other, one.name))
  )
}

export type Joining = { readonly rule: SourceRule; readonly names: string[] }

const join = (joining: Map<SourceRule, Joining>, rule: SourceRule, name: string) => {
  const entry = joining.get(rule) ?? { rule, names: [] }
  entry.names.push(name)
  joining.set(rule, entry)
}

/** Packages that a rule learned before takes in; the rest needs rules of its own. */
export const joinKnown = (
  source: Source,
  sorted: Sorted,
  /** By the keys of pins: the names under which the policy has them. */
  names: ReadonlyMap<string, readonly string[]>,
) => {
  const joining = new Map<SourceRule, Joining>()
  // rules for single versions are put behind: they would come too late
  const apart = new Set([...sorted.unbuilt, ...sorted.exact].map(o => o.name))
  const open = sorted.open.filter(one => {
    const rule = apart.has(one.name)
      ? undefined
      : source.rules.find((rule, at) => takesIn(rule, at, source, one, names))
    if (rule) join(joining, rule, one.name)
    return rule === undefined
  })
  const built = new Set(sorted.open.map(p => p.name))
  const groups = [...groupBy(sorted.unbuilt, o => o.name)]
  const left = groups.flatMap(([name, versions]) => {
    const signed = versions.every(o => o.states.registrySignature === 'verified')
    const rule = source.rules.find(
      (rule, at) =>
        isOpenEnd(rule) &&
        rule.simple &&
        rule.packages !== undefined &&
        rule.rule.versions === undefined &&
        rule.rule.outcome.kind === 'require' &&
        rule.rule.outcome.anyOf[0]?.registrySignature ===
          (signed ? 'required' : 'if-present') &&
        rule.rule.outcome.anyOf[0].provenance.want === 'if-present' &&
        !source.rules.slice(at).some(other => covers(other, name)),
    )
    if (rule === undefined || built.has(name)) return versions
    join(joining, rule, name)
    return []
  })
  return { joining: [...joining.values()], rest: { ...sorted, open, unbuilt: left } }
}
