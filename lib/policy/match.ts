/** Which package versions a rule is about. Name patterns are anchored and cover what they read like. */
// one by one here and where a server starts with: the index of semver loads twice as many files
import parse from 'semver/functions/parse.js'
import satisfies from 'semver/functions/satisfies.js'
import type { PackageId } from '../types.ts'
import type { PackagePattern, Policy, Rule, Terms } from './policy.ts'

const WORD = "[A-Za-z0-9._~!'()-]+"
const nameForm = new RegExp(`^(?:@${WORD}/)?${WORD}$`)
const globForm = new RegExp(`^(@${WORD}/)?([A-Za-z0-9._~-]*)\\*([A-Za-z0-9._~-]*)$`)

const splitVersion = (text: string): [name: string, version?: string] => {
  const at = text.indexOf('@', 1)
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}

const exactVersion = (text: string) => /^[0-9]/.test(text) && parse(text)?.raw === text

/** What to write in the place of a pattern that is not taken. */
const advice = (text: string): string => {
  if (/^\*+$/.test(text) || text === '*/*') return 'write "*" for every package'
  const scopeOnly = /^(@[^*/]+)\/?\*+$/.exec(text)?.[1]
  if (scopeOnly !== undefined) return `write "${scopeOnly}/*" for the whole scope`
  if (/^@[^/]*\*[^/]*\//.test(text) || (!text.startsWith('@') && text.includes('/')))
    return 'a scope cannot be a pattern: write a line "@scope/*" for each scope'
  if (/\*[^*]*\*/.test(text)) return 'only one "*" is taken: write one line for each'
  const [, scope = '', head = ''] = globForm.exec(text) ?? []
  if (/[A-Za-z0-9~]$/.test(head))
    return `write "${scope}${head}" for that name and "${scope}${head}-*" for those it begins`
  return 'wanted a name, name@1.2.3, "@scope/*", "name-*" or "*"'
}

/** The pattern, or why it is not taken and what to write. */
export const parsePattern = (text: string): PackagePattern | { readonly complaint: string } => {
  if (text === '*') return { kind: 'all', text }
  if (!text.includes('*')) {
    const [name, version] = splitVersion(text)
    if (!nameForm.test(name))
      return { complaint: 'is no package name; wanted a name as in left-pad or @scope/name' }
    if (version === undefined) return { kind: 'exact', text, name }
    if (!exactVersion(version))
      return {
        complaint: `names no exact version; write "${name}" and use versions for a range`,
      }
    return { kind: 'exact', text, name, version }
  }
  if (text.indexOf('@', 1) !== -1 && nameForm.test(text.slice(0, text.indexOf('@', 1))))
    return { complaint: `takes no pattern after the @; write "${splitVersion(text)[0]}"` }
  const glob = globForm.exec(text)
  const [, scope = '', head = '', tail = ''] = glob ?? []
  // the star stands for whole words: "react*" would take reactive as well
  const worded = (head === '' || /[-._]$/.test(head)) && (tail === '' || /^[-._]/.test(tail))
  if (!glob || !worded || (scope === '' && head === '' && tail === ''))
    return { complaint: `could match more than it reads like; ${advice(text)}` }
  return { kind: 'glob', text, head: scope + head, tail }
}

export const patternMatches = (pattern: PackagePattern, id: PackageId): boolean => {
  if (pattern.kind === 'all') return true
  if (pattern.kind === 'exact')
    return (
      pattern.name === id.name &&
      (pattern.version === undefined || pattern.version === id.version)
    )
  const { head, tail } = pattern
  const { name } = id
  return (
    name.length > head.length + tail.length &&
    name.startsWith(head) &&
    name.endsWith(tail) &&
    !name.slice(head.length, name.length - tail.length).includes('/')
  )
}

/** Does the pattern cover the name, in whatever version? */
export const coversName = (pattern: PackagePattern, name: string): boolean =>
  pattern.kind === 'exact'
    ? pattern.name === name
    : patternMatches(pattern, { name, version: '' })

/**
 * Prereleases belong to the range they lie in: `>=2.0.0` takes 2.1.0-beta.1. Versions are read as
 * loosely as clients read them, which install 2.1.0beta.
 */
export const inRange = (version: string, range: string): boolean =>
  satisfies(version, range, { includePrerelease: true, loose: true })

/**
 * Whether a rule is about this version. One that is none at all lies in no range, and is installed
 * where a dist-tag names it: it is under every rule that asks or denies something.
 */
export const coversVersion = ({ versions, outcome }: Rule, version: string): boolean =>
  versions === undefined ||
  inRange(version, versions) ||
  (outcome.kind !== 'allow' && parse(version, { loose: true }) === null)

export const ruleMatches = (rule: Rule, id: PackageId): boolean =>
  rule.packages.some(pattern => patternMatches(pattern, id)) && coversVersion(rule, id.version)

/** The first rule that matches, else the defaults. */
export const governing = (policy: Policy, id: PackageId): Terms =>
  policy.rules.find(rule => ruleMatches(rule, id)) ?? policy.defaults
