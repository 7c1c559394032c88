/** Putting identities, rules and names of packages into a policy's text; the rest stays as it is. */
import { withCommentsAbove, type Section, type Source } from './source.ts'
import type { Span } from './source-rules.ts'

export type Edit = { readonly start: number; readonly end: number; readonly text: string }

/** Edits of one text; those at the same place in the order given. */
export const applyEdits = (text: string, edits: readonly Edit[]): string => {
  const ordered = edits
    .map((edit, i) => ({ ...edit, i }))
    .sort((a, b) => a.start - b.start || a.i - b.i)
  let at = 0
  const parts: string[] = []
  for (const edit of ordered) {
    parts.push(text.slice(at, edit.start), edit.text)
    at = Math.max(at, edit.end)
  }
  return [...parts, text.slice(at)].join('')
}

type Block = readonly string[]

const joined = (blocks: readonly Block[], gap: boolean) =>
  blocks.map(lines => lines.join('\n')).join(gap ? '\n\n' : '\n')

type Key = 'identities' | 'rules'

/** A section that is not there yet, between what is before and behind it. */
const newSection = (source: Source, key: Key, body: string): Edit => {
  const at = source.sectionAt[key]
  const before = source.text.slice(0, at)
  // where both are new, the identities come first and bring the empty line
  const follows = key === 'rules' && !source.sections.identities
  const isParted = before === '' || before.endsWith('\n\n') || follows
  const head = isParted ? '' : before.endsWith('\n') ? '\n' : '\n\n'
  const tail = at < source.text.length || key === 'identities' ? '\n\n' : '\n'
  return { start: at, end: at, text: `${head}${key}:\n${body}${tail}` }
}

/** Puts blocks behind all that is in the section. */
const append = (
  source: Source,
  key: Key,
  blocks: readonly Block[],
  gap: boolean,
): readonly Edit[] => {
  if (blocks.length === 0) return []
  const body = joined(blocks, gap)
  const section: Section | undefined = source.sections[key]
  if (section === undefined) return [newSection(source, key, body)]
  if (section.empty)
    return [{ start: section.start, end: section.end, text: `${key}:\n${body}` }]
  return [{ start: section.end, end: section.end, text: `${gap ? '\n\n' : '\n'}${body}` }]
}

export const addIdentities = (source: Source, blocks: readonly Block[]): readonly Edit[] =>
  append(source, 'identities', blocks, false)

/** Puts rules before the one with that index, or behind all. */
export const addRules = (
  source: Source,
  blocks: readonly Block[],
  before: number,
  gap: boolean,
): readonly Edit[] => {
  const rule = source.rules[before]
  if (rule === undefined) return append(source, 'rules', blocks, gap)
  if (blocks.length === 0) return []
  const at = withCommentsAbove(source.text, rule.start)
  return [{ start: at, end: at, text: `${joined(blocks, gap)}\n${gap ? '\n' : ''}` }]
}

/** Takes lines out, with the empty lines that parted them from what comes next. */
const removeOne = (text: string, { start, end }: Span): Edit => {
  const behind = /^\n?(?:[ \t]*\n)*/.exec(text.slice(end))?.[0].length ?? 0
  // the last item of a section: the empty line before the next section stays
  if (/^[ \t]/.test(text.slice(end + behind))) return { start, end: end + behind, text: '' }
  const above = /(?:\n[ \t]*)*\n$/.exec(text.slice(0, start))?.[0].length ?? 0
  return above > 0
    ? { start: start - above, end, text: '' }
    : { start, end: text.startsWith('\n', end) ? end + 1 : end, text: '' }
}

/** Takes out all of these lines; those that follow each other as one. */
export const removeLines = (text: string, spans: readonly Span[]): readonly Edit[] => {
  const runs: Span[] = []
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const last = runs.at(-1)
    if (last && text.slice(last.end, span.start).trim() === '')
      runs.splice(-1, 1, { start: last.start, end: span.end })
    else runs.push(span)
  }
  return runs.map(run => removeOne(text, run))
}
