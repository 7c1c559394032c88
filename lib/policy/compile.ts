/**
 * From what a policy file says to what judges: names resolved, patterns read, everything inherited
 * written out. Whatever is wrong is complained about; the result counts only when nothing was.
 */
import minVersion from 'semver/ranges/min-version.js'
import validRange from 'semver/ranges/valid.js'
import { builtInContinuity } from './baseline.ts'
import { parseDuration, parseEnd, endWanted, durationWanted } from './duration.ts'
import { compileIdentity, type Desk } from './compile-identity.ts'
import { readCondition } from './condition-language.ts'
import { compileRequirements, inherited, reservedWords } from './compile-requirement.ts'
import { parsePattern } from './match.ts'
import type {
  Condition,
  Continuity,
  Outcome,
  PackagePattern,
  Policy,
  Rule,
  Terms,
  Waiver,
} from './policy.ts'
import { publisherFindings, writtenRules, type WrittenRule } from './publishers.ts'
import type { PolicyDocument } from './schema.ts'

type Path = readonly PropertyKey[]
type RuleDocument = WrittenRule['rule']

const compileIdentities = (document: PolicyDocument, desk: Desk) =>
  Object.fromEntries(
    Object.entries(document.identities ?? {}).map(([name, identity]) => {
      const path = ['identities', name]
      if (reservedWords.has(name))
        desk.complain({
          path,
          message: `${name} has a meaning of its own; choose another name`,
        })
      return [name, compileIdentity(identity, path, desk, name)]
    }),
  )

const compileDuration = (text: string, path: Path, desk: Desk): number => {
  const value = parseDuration(text)
  if (value !== undefined) return value
  desk.complain({ path, message: `${durationWanted}; found ${JSON.stringify(text)}` })
  return Number.POSITIVE_INFINITY
}

const compileContinuity = (
  said: RuleDocument['continuity'],
  otherwise: Continuity,
  path: Path,
  desk: Desk,
): Continuity => {
  if (said === undefined) return otherwise
  if (typeof said === 'string')
    return { level: said, settledAfter: builtInContinuity.settledAfter }
  const { level, settledAfter } = said
  if (settledAfter === undefined) return { level, settledAfter: builtInContinuity.settledAfter }
  if (settledAfter === 'never') return { level, settledAfter }
  return { level, settledAfter: compileDuration(settledAfter, [...path, 'settledAfter'], desk) }
}

const compileAge = (
  said: RuleDocument['minimumAge'],
  otherwise: number,
  path: Path,
  desk: Desk,
): number =>
  said === undefined ? otherwise : said === 'off' ? 0 : compileDuration(said, path, desk)

const compileWaiver = (
  { reason, by, until }: NonNullable<RuleDocument['allow']>,
  at: Path,
  desk: Desk,
): Waiver => {
  const end = until === undefined ? undefined : parseEnd(until)
  if (until !== undefined && end === undefined)
    desk.complain({
      path: [...at, 'until'],
      message: `until: ${endWanted}; found ${JSON.stringify(until)}`,
    })
  return {
    reason,
    ...(by !== undefined && { by }),
    ...(end !== undefined && { until: end }),
  }
}

const compileWhere = (
  said: string | undefined,
  otherwise: Condition | undefined,
  path: Path,
  desk: Desk,
): { readonly where?: Condition } => {
  if (said === undefined) return otherwise ? { where: otherwise } : {}
  const read = readCondition(said)
  if ('message' in read)
    desk.complain({ path, message: `where: ${read.message}`, index: read.offset })
  return { where: { text: said } }
}

const compilePackages = (rule: RuleDocument, at: Path, desk: Desk): readonly PackagePattern[] =>
  rule.packages.flatMap((text, i): PackagePattern[] => {
    const path = [...at, 'packages', i]
    const pattern = parsePattern(text)
    if (rule.packages.indexOf(text) < i)
      desk.complain({ path, message: `${JSON.stringify(text)} stands in the list twice` })
    if ('complaint' in pattern) {
      desk.complain({ path, message: `${JSON.stringify(text)} ${pattern.complaint}` })
      return []
    }
    if (pattern.kind === 'exact' && pattern.version !== undefined) {
      const clash = (['versions', 'upstream'] as const).find(key => rule[key] !== undefined)
      if (clash !== undefined)
        desk.complain({
          path,
          message: `${JSON.stringify(text)} names one version; write it without, or leave ${clash} out`,
        })
    }
    return [pattern]
  })

const checkVersions = (rule: RuleDocument, at: Path, desk: Desk): void => {
  const { versions, upstream } = rule
  if (versions === undefined) return
  const path = [...at, 'versions']
  if (validRange(versions) === null)
    desk.complain({
      path,
      message: `versions: wanted a semver range as in ">=2.0.0"; found ${JSON.stringify(versions)}`,
    })
  else if (minVersion(versions) === null)
    desk.complain({ path, message: `no version lies in ${JSON.stringify(versions)}` })
  if (upstream !== undefined)
    desk.complain({
      path,
      message: 'upstream reserves names in all their versions; take versions out',
    })
}

const checkSays = (rule: RuleDocument, at: Path, desk: Desk): void => {
  const said = (keys: readonly (keyof RuleDocument)[]) =>
    keys.filter(key => rule[key] !== undefined)
  const outcomes = said(['require', 'allow', 'deny'])
  const terms = said(['continuity', 'minimumAge', 'where'])
  if (outcomes.length > 1)
    desk.complain({
      path: [...at, outcomes[1] ?? ''],
      message: `a rule says one of require, allow and deny; this one says ${outcomes.join(' and ')}`,
    })
  for (const key of outcomes.includes('require') || outcomes.length === 0 ? [] : terms)
    desk.complain({
      path: [...at, key],
      message: `${key} has no meaning beside ${outcomes[0]}`,
    })
  if (outcomes.length + terms.length + said(['upstream', 'mode']).length === 0)
    desk.complain({
      path: at,
      message:
        'the rule says nothing: wanted require, allow, deny, upstream, continuity, minimumAge, where or mode',
    })
}

export const compile = (document: PolicyDocument, desk: Desk): Policy => {
  const mode = document.mode ?? 'enforce'
  const identities = compileIdentities(document, desk)
  const said = document.defaults ?? {}
  const base = { require: said.require ?? {}, at: ['defaults', 'require'] }
  const requirement = compileRequirements({}, [], base, identities, desk)
  const defaults: Terms = {
    name: 'defaults',
    ...(document.defaults && { line: desk.lineOf(['defaults']) }),
    mode,
    outcome: said.deny
      ? { kind: 'deny', reason: said.deny.reason }
      : { kind: 'require', anyOf: requirement },
    continuity: compileContinuity(
      said.continuity,
      builtInContinuity,
      ['defaults', 'continuity'],
      desk,
    ),
    minimumAge: compileAge(said.minimumAge, 0, ['defaults', 'minimumAge'], desk),
    ...compileWhere(said.where, undefined, ['defaults', 'where'], desk),
  }

  const outcomeOf = (rule: RuleDocument, at: Path): Outcome => {
    if (rule.deny) return { kind: 'deny', reason: rule.deny.reason }
    if (rule.allow)
      return { kind: 'allow', waiver: compileWaiver(rule.allow, [...at, 'allow'], desk) }
    const path = [...at, 'require']
    const anyOf = compileRequirements(
      rule.require ?? {},
      path,
      inherited(base),
      identities,
      desk,
    )
    if (rule.continuity !== undefined && anyOf.every(r => r.provenance.want === 'ignore'))
      desk.complain({
        path: [...at, 'continuity'],
        message: 'continuity has nothing to compare where provenance is ignored',
      })
    return { kind: 'require', anyOf }
  }

  const names = new Map<string, number>()
  const compileRule = ({ rule, at }: WrittenRule, i: number): Rule => {
    const name = rule.name ?? `rule ${i + 1}`
    const line = desk.lineOf(at)
    const before = names.get(name)
    if (before !== undefined || name === 'defaults')
      desk.complain({
        path: rule.name === undefined ? at : [...at, 'name'],
        message:
          before === undefined
            ? '"defaults" is what no rule matched; choose another name'
            : `the rule in line ${before} is called ${JSON.stringify(name)} too`,
      })
    names.set(name, line)
    checkVersions(rule, at, desk)
    checkSays(rule, at, desk)
    return {
      name,
      line,
      packages: compilePackages(rule, at, desk),
      ...(rule.versions !== undefined && { versions: rule.versions }),
      ...(rule.upstream !== undefined && { upstream: rule.upstream }),
      mode: rule.mode ?? mode,
      outcome: outcomeOf(rule, at),
      continuity: compileContinuity(
        rule.continuity,
        defaults.continuity,
        [...at, 'continuity'],
        desk,
      ),
      minimumAge: compileAge(rule.minimumAge, defaults.minimumAge, [...at, 'minimumAge'], desk),
      ...compileWhere(rule.where, defaults.where, [...at, 'where'], desk),
    }
  }
  for (const finding of publisherFindings(document)) desk.complain(finding)
  const rules = writtenRules(document).map(compileRule)
  return { name: desk.name, file: desk.file, mode, identities, rules, defaults }
}
