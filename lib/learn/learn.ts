/**
 * The policy that pins what was seen. What a policy says already is kept to the letter; what is
 * learned is added to it.
 */
import { compare } from 'semver'
import { tryIdentity } from '../policy/identity.ts'
import { parsePattern, ruleMatches } from '../policy/match.ts'
import type { RuleDraft } from './drafts.ts'
import { rulesFor, sortOut } from './group.ts'
import { builtPlace, covers, joinKnown, single } from './join.ts'
import { nameIdentities, nameRules, type Named } from './names.ts'
import {
  byText,
  groupBy,
  idOf,
  isBuilt,
  scopeOf,
  type Built,
  type Observation,
} from './observation.ts'
import type { PinnedFields } from '../policy/pin.ts'
import { fieldsIn, pinKey, pinsOf, publisherKey, type Pin } from './pins.ts'
import { readSource, type Source } from './source.ts'
import { written, type Written } from './write.ts'

export type LearnRequest = {
  /** What was admitted; nothing else may be learned. */
  readonly observations: readonly Observation[]
  /** Names that were seen besides, and could not be learned. */
  readonly others: readonly string[]
  /** The policy to add to; without one, a new one is made. */
  readonly source?: Source
  readonly file: string
  /** Lines of comment at the head of a new policy. */
  readonly heading: readonly string[]
}

export type Lesson = Written & {
  readonly text: string
  /** Packages added to rules learned before. */
  readonly joined: readonly { readonly rule: string; readonly packages: readonly string[] }[]
  /** Governed by a rule learned before. */
  readonly already: readonly Observation[]
  /** Governed by a rule that somebody wrote. */
  readonly own: readonly Observation[]
  /** The language has no way to write them. */
  readonly unwritable: readonly Observation[]
}

const newPolicy = (heading: readonly string[]): string =>
  [
    ...heading.map(line => `# ${line}`),
    'version: 1',
    'mode: enforce',
    '',
    'defaults: # what no rule matches',
    '  require: { registrySignature: if-present, provenance: if-present }',
    '  continuity: release-line',
    '',
  ].join('\n')

type Place = 'own' | 'already' | 'new' | 'unwritable'

const placeOf = (source: Source, o: Observation): Place => {
  if ([o.name, idOf(o)].some(text => 'complaint' in parsePattern(text))) return 'unwritable'
  const governing = source.rules.find(({ rule }) => ruleMatches(rule, o))
  if (governing && !governing.learned) return 'own'
  // a rule put before somebody's own would take from it what it is about
  const behind = source.rules.slice(builtPlace(source))
  if (isBuilt(o) && behind.some(rule => !rule.learned && covers(rule, o.name))) return 'own'
  if (governing && (!isBuilt(o) || governing.identities)) return 'already'
  return 'new'
}

const agrees = (fields: PinnedFields, { identity, version }: Built) =>
  tryIdentity({ fields }, identity, version).matched

/** Pins of the publishers, those that the policy names already among them. */
const pinsFor = (source: Source, built: readonly Built[]) => {
  const learned = [...source.identities, ...source.inline].filter(({ learned }) => learned)
  const pins = new Map<Built, Pin>()
  for (const o of built) {
    const known = learned.find(
      ({ pattern }) => tryIdentity(pattern, o.identity, o.version).matched,
    )
    // of several values the one that this build has
    const fields = known && fieldsIn(known.pattern).find(one => agrees(one, o))
    if (fields === undefined) continue
    pins.set(o, { key: pinKey(fields), publisher: publisherKey(o.identity), fields })
  }
  return new Map([...pins, ...pinsOf(built.filter(o => !pins.has(o)))])
}

const scopesOf = (name: string): readonly string[] => {
  const scope = scopeOf(name)
  return scope === undefined ? [] : [scope]
}

/** Scopes of which some rule speaks: a pattern for all of them could take what that rule is about. */
const takenScopes = (source: Source, seen: ReadonlySet<string>): ReadonlySet<string> => {
  const scopes = new Set([...seen].flatMap(scopesOf))
  return new Set(
    [...scopes].filter(scope =>
      source.rules.some(({ rule }) =>
        rule.packages.some(p => p.kind === 'all' || p.text.startsWith(`${scope}/`)),
      ),
    ),
  )
}

/**
 * Versions without provenance, learned before, of packages that now have a publisher: a rule for
 * that publisher would refuse the newer ones of them.
 */
const bareAgain = (
  source: Source,
  already: readonly Observation[],
  fresh: readonly Observation[],
) => {
  const built = groupBy(fresh.filter(isBuilt), o => o.name)
  return already.filter(o => {
    const [lowest] = built.get(o.name) ?? []
    const governing = source.rules.find(({ rule }) => ruleMatches(rule, o))
    return (
      !isBuilt(o) &&
      lowest !== undefined &&
      compare(o.version, lowest.version) > 0 &&
      governing !== undefined &&
      !single(governing)
    )
  })
}

/** What no rule matches is let in without provenance. */
const isLenient = ({ policy: { defaults } }: Source): boolean =>
  defaults.outcome.kind === 'require' &&
  defaults.outcome.anyOf.every(
    ({ provenance: { want } }) => want === 'if-present' || want === 'ignore',
  )

/** Each pin once: those in force before those of earlier days, then those of most versions. */
const byUse = (
  drafts: readonly RuleDraft[],
  uses: ReadonlyMap<string, readonly Pin[]>,
): readonly Pin[] => {
  const count = (pin: Pin) => uses.get(pin.key)?.length ?? 0
  const pinsOf = (some: readonly RuleDraft[]) => some.flatMap(draft => draft.pins)
  const current = new Set(pinsOf(drafts.filter(d => d.kind === 'built')).map(pin => pin.key))
  const isPast = (pin: Pin) => Number(!current.has(pin.key))
  return [...new Map(pinsOf(drafts).map(pin => [pin.key, pin])).values()].sort(
    (a, b) => isPast(a) - isPast(b) || count(b) - count(a) || byText(a.key, b.key),
  )
}

/** Throws EPOLICY as `readSource` does. The same observations give the same text, in any order. */
export const learn = (request: LearnRequest): Lesson => {
  const source = request.source ?? readSource(newPolicy(request.heading), request.file)
  const observations = [...request.observations].sort((a, b) =>
    a.name === b.name ? compare(a.version, b.version) : a.name < b.name ? -1 : 1,
  )
  const places = groupBy(observations, o => placeOf(source, o))
  const already = places.get('already') ?? []
  const fresh = places.get('new') ?? []
  const pins = pinsFor(source, fresh.filter(isBuilt))
  const writable = fresh.filter(o => !isBuilt(o) || pins.has(o))
  const sorted = sortOut([...writable, ...bareAgain(source, already, writable)], pins)

  const namedBy = (identities: Source['identities']) =>
    identities.flatMap(({ pattern }): Named[] =>
      fieldsIn(pattern).map(fields => ({
        name: pattern.name ?? '',
        pin: { key: pinKey(fields), publisher: publisherKey(fields), fields },
      })),
    )
  const known = namedBy(source.identities)
  const knownNames = new Set(known.map(({ pin }) => pin.key))
  const all = groupBy([...known, ...namedBy(source.inline)], ({ pin }) => pin.key)
  const { joining, rest } = joinKnown(
    source,
    sorted,
    new Map([...all].map(([key, same]) => [key, same.map(({ name }) => name)])),
  )
  const seen = new Set([...observations.map(o => o.name), ...request.others])
  const drafts = rulesFor(rest, pins, {
    seen,
    taken: new Set([...takenScopes(source, seen), ...request.others.flatMap(scopesOf)]),
    lenient: isLenient(source),
  })

  const uses = groupBy([...pins.values()], pin => pin.key)
  const wanted = byUse(drafts, uses)
  const names = nameIdentities(
    wanted,
    known,
    source.identities.map(({ pattern: { name = '' } }) => name),
  )
  const nameOf = (pin: Pin) => names.get(pin.key) ?? ''
  const ruleNames = nameRules(
    drafts,
    source.policy.rules.map(rule => rule.name),
  )
  const lesson = {
    identities: wanted
      .filter(pin => !knownNames.has(pin.key))
      .map(pin => ({ name: nameOf(pin), pin }))
      .sort((a, b) => byText(a.name, b.name)),
    rules: drafts.map((draft, i) => ({
      name: ruleNames[i] ?? '',
      draft,
      identities: draft.pins.map(nameOf).sort(byText),
    })),
  }
  return {
    ...lesson,
    text: written(source, lesson, joining),
    joined: joining.map(({ rule, names }) => ({ rule: rule.rule.name, packages: names })),
    already,
    own: places.get('own') ?? [],
    unwritable: [
      ...(places.get('unwritable') ?? []),
      ...fresh.filter(o => !writable.includes(o)),
    ],
  }
}
