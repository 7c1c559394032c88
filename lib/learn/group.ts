/** From observations and their pins to rules: grouped by publisher, with the shortest safe list. */
import { compare } from 'semver'
import { ruleOrder, type RuleDraft } from './drafts.ts'
import { boundsOf, commonFloor, floorsOf, hits, type Span } from './floors.ts'
import {
  byText,
  groupBy,
  idOf,
  isBuilt,
  scopeOf,
  type Built,
  type Observation,
} from './observation.ts'
import { isPassing, overlap, publisherKey, widestOf, type Pin } from './pins.ts'

/** One package and the publisher it has now. */
export type OpenPackage = Span & {
  readonly publisher: string
  readonly pins: readonly Pin[]
  readonly signed: boolean
}

const isSigned = ({ states }: Observation) => states.registrySignature === 'verified'
const byVersion = (a: Observation, b: Observation) => compare(a.version, b.version)

export type Sorted = {
  readonly open: readonly OpenPackage[]
  /** Versions learned one by one: by earlier publishers, or by certificates that say too little. */
  readonly exact: readonly Built[]
  readonly unbuilt: readonly Observation[]
}

/** What a package's newest publisher built is open to later versions; the rest is history. */
export const sortOut = (
  observations: readonly Observation[],
  pins: ReadonlyMap<Built, Pin>,
): Sorted => {
  const built = observations.filter(isBuilt).filter(o => pins.has(o))
  const open: OpenPackage[] = []
  const exact: Built[] = []
  for (const [name, versions] of groupBy(built, o => o.name)) {
    const lasting = versions.filter(o => !isPassing(o.identity)).sort(byVersion)
    const newest = lasting.at(-1)
    const publisher = newest && publisherKey(newest.identity)
    const own = lasting.filter(o => publisherKey(o.identity) === publisher)
    const others = versions.filter(o => !own.includes(o))
    exact.push(...others)
    const [first] = own
    if (publisher === undefined || first === undefined) continue
    open.push({
      name,
      lowest: first.version,
      // a rule for the one publisher would refuse what others built as well
      without: [...first.without, ...others.map(o => o.version)],
      publisher,
      pins: widestOf(own.flatMap(o => pins.get(o) ?? [])),
      signed: own.every(isSigned),
    })
  }
  return { open, exact, unbuilt: observations.filter(o => !isBuilt(o)) }
}

/** Packages that share builds, directly or through others. */
const components = (packages: readonly OpenPackage[]): readonly (readonly OpenPackage[])[] => {
  let groups: OpenPackage[][] = []
  for (const one of packages) {
    const meets = (group: readonly OpenPackage[]) =>
      group.some(other => other.pins.some(a => one.pins.some(b => overlap(a, b))))
    groups = [[...groups.filter(meets).flat(), one], ...groups.filter(group => !meets(group))]
  }
  return groups
}

/** So many packages for each way of building: they go together, and ways changed over time. */
const TOGETHER = 3

const familiesOf = (packages: readonly OpenPackage[]) =>
  [...groupBy(packages, p => p.publisher).values()].flatMap(ofOne => {
    const apart = components(ofOne)
    return ofOne.length >= TOGETHER * apart.length ? [ofOne] : apart
  })

export type Surroundings = {
  /** Every name that was seen, whatever became of it. */
  readonly seen: ReadonlySet<string>
  /** Scopes for which no pattern may be written: other rules speak of them. */
  readonly taken: ReadonlySet<string>
  /** What no rule matches needs no provenance. */
  readonly lenient: boolean
}

/** The scopes all of whose packages are among these, if there are two at least. */
const wholeScopes = (names: readonly string[], { seen, taken }: Surroundings) => {
  const mine = new Set(names)
  const all = groupBy(seen, scopeOf)
  return new Set(
    [...groupBy(names, scopeOf).keys()].filter((scope): scope is string => {
      const members = scope === undefined ? [] : (all.get(scope) ?? [])
      return (
        scope !== undefined &&
        !taken.has(scope) &&
        members.length > 1 &&
        members.every(name => mine.has(name))
      )
    }),
  )
}

/** Scopes that are counted one by one. */
const SCOPES = 3

/** Patterns for the names, and what the patterns rest on. */
const patternsFor = (names: readonly string[], whole: ReadonlySet<string>) => {
  const scoped = groupBy(
    names.filter(name => whole.has(scopeOf(name) ?? '')),
    scopeOf,
  )
  const single = names.filter(name => !whole.has(scopeOf(name) ?? ''))
  const notes =
    scoped.size > SCOPES
      ? [`all that were seen of ${scoped.size} scopes`]
      : [...scoped].map(([scope, members]) => `all ${members.length} seen of ${scope}`)
  return {
    packages: [...[...scoped.keys()].map(scope => `${scope}/*`), ...new Set(single)].sort(
      byText,
    ),
    ...(notes.length > 0 && { note: notes.sort(byText).join(', ') }),
  }
}

const builtRule = (
  packages: readonly OpenPackage[],
  whole: ReadonlySet<string>,
  pins: readonly Pin[],
  from?: string,
): RuleDraft => ({
  kind: 'built',
  ...patternsFor(
    packages.map(p => p.name),
    whole,
  ),
  ...(from !== undefined && { versions: `>=${from}` }),
  pins,
  signed: packages.every(p => p.signed),
})

/** One family as rules: one if one floor suits all, else one for each pattern and each floor. */
const familyRules = (family: readonly OpenPackage[], around: Surroundings): RuleDraft[] => {
  const pins = widestOf(family.flatMap(p => p.pins))
  const whole = wholeScopes(
    family.map(p => p.name),
    around,
  )
  const named = new Map(family.map(p => [p.name, p]))
  const back = (spans: readonly Span[]) => spans.flatMap(({ name }) => named.get(name) ?? [])
  const floors = floorsOf(family)
  if (floors.length === 1) return [builtRule(family, whole, pins, floors[0]?.from)]

  const inScope = groupBy(family, p =>
    whole.has(scopeOf(p.name) ?? '') ? scopeOf(p.name) : '',
  )
  return [...inScope].flatMap(([scope, packages]): RuleDraft[] => {
    if (scope === '')
      return floorsOf(packages).map(floor =>
        builtRule(back(floor.spans), new Set(), pins, floor.from),
      )
    const from = commonFloor(packages)
    const early = around.lenient ? packages.filter(span => hits(span, from)) : []
    const older = boundsOf(early).map(({ below, names }): RuleDraft => ({
      kind: 'older',
      packages: [...names].sort(byText),
      versions: `<${below}`,
      pins: [],
      signed: false,
    }))
    return [...older, builtRule(packages, whole, pins, from)]
  })
}

const exactRules = (exact: readonly Built[], pins: ReadonlyMap<Built, Pin>): RuleDraft[] =>
  [...groupBy(exact, o => pins.get(o)?.key).values()].map(versions => ({
    kind: 'exact',
    packages: [...versions].sort((a, b) => byText(a.name, b.name) || byVersion(a, b)).map(idOf),
    pins: widestOf(versions.flatMap(o => pins.get(o) ?? [])),
    signed: versions.every(isSigned),
  }))

const bareRules = (bare: readonly Observation[]): RuleDraft[] =>
  [...groupBy(bare, isSigned)].map(([signed, versions]) => ({
    kind: 'bare',
    packages: [...versions].sort((a, b) => byText(a.name, b.name) || byVersion(a, b)).map(idOf),
    pins: [],
    signed,
  }))

const unbuiltRules = (unbuilt: readonly Observation[], around: Surroundings): RuleDraft[] => {
  const packages = [...groupBy(unbuilt, o => o.name)]
  return [...groupBy(packages, ([, versions]) => versions.every(isSigned))].map(
    ([signed, group]) => {
      const names = group.map(([name]) => name)
      return {
        kind: signed ? 'signed' : 'unsigned',
        ...patternsFor(names, wholeScopes(names, around)),
        pins: [],
        signed,
      }
    },
  )
}

/** All rules, in the order in which they must stand. */
export const rulesFor = (
  { open, exact, unbuilt }: Sorted,
  pins: ReadonlyMap<Built, Pin>,
  around: Surroundings,
): readonly RuleDraft[] => {
  const hasPublisher = new Set(open.map(p => p.name))
  const rules = [
    ...bareRules(unbuilt.filter(o => hasPublisher.has(o.name))),
    ...exactRules(exact, pins),
    ...familiesOf(open).flatMap(family => familyRules(family, around)),
    ...unbuiltRules(
      unbuilt.filter(o => !hasPublisher.has(o.name)),
      around,
    ),
  ]
  return rules.sort(
    (a, b) =>
      ruleOrder.indexOf(a.kind) - ruleOrder.indexOf(b.kind) ||
      byText(a.packages[0] ?? '', b.packages[0] ?? ''),
  )
}
