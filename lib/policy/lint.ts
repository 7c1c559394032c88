/**
 * What is probably not meant in a policy that can be judged by: rules that never govern, patterns
 * that match nothing, waivers at their end, names nobody uses, and what is wider than it looks.
 */
import type { Place } from '../config/document.ts'
import type { PackageId } from '../types.ts'
import { shadowedPatterns } from './cover.ts'
import { identityWarnings, type IdentityWarning } from './lint-identity.ts'
import { inRange, patternMatches } from './match.ts'
import type { LocatedPolicy } from './parse.ts'
import { writtenRules } from './publishers.ts'
import type { IdentityDocument, RequirementDocument } from './schema.ts'
import { endingWaivers } from './waivers.ts'

export type WarningCode =
  | 'unreachable-rule'
  | 'unreachable-pattern'
  | 'unmatched-pattern'
  | 'waiver-ended'
  | 'waiver-ending'
  | 'wide-waiver'
  | 'unused-identity'
  | IdentityWarning['code']

export type Warning = Place & {
  readonly code: WarningCode
  readonly message: string
  /** The rule or identity it is about. */
  readonly rule?: string
  readonly identity?: string
}

export type LintOptions = {
  readonly now: Date
  /** What is installed somewhere, as a lockfile has it. */
  readonly packages?: readonly PackageId[]
}

type Path = readonly PropertyKey[]
type Finding = Omit<Warning, keyof Place> & { readonly path: Path }

/** Rules that only reserve names do so wherever they stand. */
const onlyReserves = (rule: object): boolean =>
  Object.entries(rule).every(
    ([key, value]) => value === undefined || ['name', 'packages', 'upstream'].includes(key),
  )

const unreachable = ({ policy, document }: LocatedPolicy): Finding[] => {
  const shadows = shadowedPatterns(policy)
  const all = writtenRules(document)
  return policy.rules.flatMap((rule, i): Finding[] => {
    const mine = shadows.filter(shadow => shadow.rule === i)
    const written = all[i]
    if (mine.length === 0 || !written || onlyReserves(written.rule)) return []
    const { at } = written
    const by = (shadow: (typeof mine)[number]) =>
      `rule ${JSON.stringify(shadow.by.name)} in line ${shadow.by.line ?? 1}`
    if (mine.length === rule.packages.length) {
      const takers = [...new Set(mine.map(by))].join(' and ')
      const reserves =
        rule.upstream === undefined ? '' : `; the names stay reserved for ${rule.upstream}`
      const message = `rule ${JSON.stringify(rule.name)} never governs: ${takers} ${takers.includes(' and ') ? 'come' : 'comes'} first and takes all it matches${reserves}`
      return [{ code: 'unreachable-rule', path: at, rule: rule.name, message }]
    }
    return mine.map(shadow => {
      const text = rule.packages[shadow.pattern]?.text ?? ''
      const message = `${JSON.stringify(text)} never counts here: ${by(shadow)} comes first and takes all it matches`
      const path = [...at, 'packages', shadow.pattern]
      return { code: 'unreachable-pattern', path, rule: rule.name, message }
    })
  })
}

/** A denial of something nobody has is doing its work. */
const unmatched = (
  { policy, document }: LocatedPolicy,
  packages: readonly PackageId[],
): Finding[] => {
  const all = writtenRules(document)
  return policy.rules.flatMap((rule, i) =>
    rule.outcome.kind === 'deny'
      ? []
      : rule.packages.flatMap((pattern, j): Finding[] => {
          const named = packages.filter(id => patternMatches(pattern, id))
          const { versions } = rule
          if (named.some(({ version }) => versions === undefined || inRange(version, versions)))
            return []
          const what = JSON.stringify(pattern.text)
          const message =
            named.length === 0
              ? `${what} matches nothing in the lockfile`
              : `${what} matches nothing in the lockfile within ${versions}`
          const path = [...(all[i]?.at ?? []), 'packages', j]
          return [{ code: 'unmatched-pattern', path, rule: rule.name, message }]
        }),
  )
}

/** `in 4 days`. */
export const inDays = (milliseconds: number): string => {
  const count = Math.floor(milliseconds / 86_400_000)
  return count === 0 ? 'in less than a day' : count === 1 ? 'in a day' : `in ${count} days`
}

/** Where the rule of that number stands. */
const placeOf = ({ document }: LocatedPolicy, i: number): Path =>
  writtenRules(document)[i]?.at ?? ['rules']

const waivers = (located: LocatedPolicy, now: Date): Finding[] =>
  endingWaivers([located.policy], now).map(({ rule, waiver, ended, left }) => ({
    code: ended ? 'waiver-ended' : 'waiver-ending',
    path: [
      ...placeOf(
        located,
        located.policy.rules.findIndex(r => r.name === rule),
      ),
      'allow',
      'until',
    ],
    rule,
    message: ended
      ? `the waiver ended at ${waiver.until}, and the rule refuses since: renew or remove it`
      : `the waiver ends ${inDays(left)}, at ${waiver.until}: renew or remove it`,
  }))

const wideWaivers = (located: LocatedPolicy): Finding[] =>
  located.policy.rules.flatMap((rule, i) =>
    rule.outcome.kind !== 'allow'
      ? []
      : rule.packages.flatMap((pattern, j): Finding[] =>
          pattern.kind !== 'all'
            ? []
            : [
                {
                  code: 'wide-waiver',
                  path: [...placeOf(located, i), 'packages', j],
                  rule: rule.name,
                  message: '"*" with allow lets everything in, whatever the evidence',
                },
              ],
        ),
  )

type Said = { readonly path: Path; readonly value: string | IdentityDocument }

/** Every identity that a requirement names or writes out. */
const identitiesIn = (said: RequirementDocument | undefined, at: Path): Said[] => {
  const { anyOf = [] } = said ?? {}
  const own = (['provenance', 'vouch', 'signature'] as const).flatMap((key): Said[] => {
    const value = said?.[key]
    const path = [...at, key]
    if (value === undefined) return []
    return Array.isArray(value)
      ? value.map((one, i) => ({ path: [...path, i], value: one }))
      : [{ path, value }]
  })
  return [...own, ...anyOf.flatMap((inner, i) => identitiesIn(inner, [...at, 'anyOf', i]))]
}

const identities = ({ document }: LocatedPolicy): Finding[] => {
  const { identities: named = {}, defaults } = document
  const said = [
    ...writtenRules(document).flatMap(({ rule, at, identityAt }) =>
      identitiesIn(rule.require, [...at, 'require']).map(one =>
        identityAt === undefined ? one : { ...one, path: identityAt },
      ),
    ),
    ...identitiesIn(defaults?.require, ['defaults', 'require']),
  ]
  const used = new Set(said.map(({ value }) => value))
  const width = (value: IdentityDocument, path: Path, name?: string): Finding[] =>
    identityWarnings(value).map(({ code, field, message }) => ({
      code,
      path: field === undefined ? path : [...path, field],
      ...(name !== undefined && { identity: name }),
      message: name === undefined ? message : `${name}: ${message}`,
    }))
  return [
    ...Object.entries(named).flatMap(([name, value]): Finding[] => {
      const path = ['identities', name]
      return [
        ...(used.has(name)
          ? []
          : [
              {
                code: 'unused-identity' as const,
                path,
                identity: name,
                message: `no rule names the identity ${name}`,
              },
            ]),
        ...width(value, path, name),
      ]
    }),
    ...said.flatMap(({ value, path }) => (typeof value === 'string' ? [] : width(value, path))),
  ]
}

/** Warnings in the order of the file. */
export const lintPolicy = (
  located: LocatedPolicy,
  { now, packages }: LintOptions,
): readonly Warning[] =>
  [
    ...unreachable(located),
    ...(packages ? unmatched(located, packages) : []),
    ...waivers(located, now),
    ...wideWaivers(located),
    ...identities(located),
  ]
    .map(({ path, ...finding }): Warning => ({ ...finding, ...located.place(path) }))
    .sort((a, b) => a.line - b.line || a.column - b.column)
