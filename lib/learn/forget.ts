/** Takes what was learned before out of a policy, to learn it anew; what people wrote stays. */
import { coversName } from '../policy/match.ts'
import { readSource, type Source } from './source.ts'
import { applyEdits, removeLines } from './splice.ts'

const keyLine = (text: string, start: number) => {
  const end = text.indexOf('\n', start)
  return { start, end: end === -1 ? text.length : end }
}

/** Identities that a rule which stays asks for, and those written by people. */
const removableIdentities = (
  source: Source,
  kept: readonly { identities?: readonly string[] }[],
) => {
  const wanted = new Set(kept.flatMap(rule => rule.identities ?? []))
  // a list may hold identities written in place beside names
  const inUse = (name: string) =>
    wanted.has(name) ||
    source.policy.rules.some(
      (rule, i) =>
        !source.rules[i]?.learned &&
        rule.outcome.kind === 'require' &&
        rule.outcome.anyOf.some(
          ({ provenance }) =>
            provenance.want === 'identity' && provenance.identities.some(p => p.name === name),
        ),
    )
  return source.identities.filter(
    ({ learned, pattern }) => learned && !inUse(pattern.name ?? ''),
  )
}

/**
 * The source without its learned parts. Rules that speak of one of `keep` stay: those packages were
 * seen and could not be learned, and must not lose what guards them.
 */
export const forget = (source: Source, keep: ReadonlySet<string>): Source => {
  const { text, sections } = source
  const removed = source.rules.filter(
    ({ learned, rule }) =>
      learned && ![...keep].some(name => rule.packages.some(p => coversName(p, name))),
  )
  const kept = source.rules.filter(rule => !removed.includes(rule))
  // a rule of no publishers is no rule: it goes with its last entry
  const emptied = removed.map(rule =>
    rule.block && !kept.some(other => other.block === rule.block) ? rule.block : rule,
  )
  const identities = removableIdentities(source, kept)
  // a section of nothing is no list: its key goes as well
  const keys = [
    ...(kept.length === 0 ? [sections.rules] : []),
    ...(identities.length === source.identities.length ? [sections.identities] : []),
  ].flatMap(section => (section && !section.empty ? [keyLine(text, section.start)] : []))
  const edits = removeLines(text, [...new Set(emptied), ...identities, ...keys])
  return edits.length === 0 ? source : readSource(applyEdits(text, edits), source.file)
}
