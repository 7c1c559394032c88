/** Putting identities, rules and names of packages into a policy's text; the rest stays as it is. */
import { byText, groupBy } from './observation.ts'
import { scalar, WIDTH } from './layout.ts'
import {
  withCommentsAbove,
  type ListPlace,
  type Section,
  type Source,
  type Span,
} from './source.ts'

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

/** A section that is not there yet, between what is before and behind it. */
const newSection = (text: string, at: number, key: string, body: string): Edit => {
  const before = text.slice(0, at)
  const head =
    before === '' || before.endsWith('\n\n') ? '' : before.endsWith('\n') ? '\n' : '\n\n'
  const tail = at < text.length ? '\n\n' : '\n'
  return { start: at, end: at, text: `${head}${key}:\n${body}${tail}` }
}

/** Puts blocks behind all that is in the section. */
const append = (
  source: Source,
  key: 'identities' | 'rules',
  blocks: readonly Block[],
  gap: boolean,
): readonly Edit[] => {
  if (blocks.length === 0) return []
  const body = joined(blocks, gap)
  const section: Section | undefined = source.sections[key]
  if (section === undefined) return [newSection(source.text, source.sectionAt[key], key, body)]
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

const indentAt = (text: string, at: number): string =>
  /^[ \t]*/.exec(text.slice(text.lastIndexOf('\n', at - 1) + 1, at))?.[0] ?? ''

const lineLength = (text: string, at: number): number => {
  const end = text.indexOf('\n', at)
  return (end === -1 ? text.length : end) - (text.lastIndexOf('\n', at - 1) + 1)
}

/** Puts names into a list where they belong by the alphabet, breaking lines that grow too long. */
export const addPackages = (
  text: string,
  { flow, items }: ListPlace,
  names: readonly string[],
): readonly Edit[] => {
  const fresh = names.filter(name => !items.some(item => item.text === name)).sort(byText)
  const lastBefore = (name: string) => items.findLast(item => byText(item.text, name) < 0)
  return [...groupBy(fresh, lastBefore)].map(([item, group]): Edit => {
    const written = group.map(name => scalar(name, flow))
    const [first] = items
    if (item === undefined) {
      const at = first?.start ?? 0
      const indent = indentAt(text, at)
      const own = flow
        ? `${written.join(', ')}, `
        : written.map(n => `${n}\n${indent}- `).join('')
      return { start: at, end: at, text: own }
    }
    const at = item.end
    const line = text.slice(text.lastIndexOf('\n', at - 1) + 1, at)
    if (!flow) {
      const stop = text.indexOf('\n', at)
      const end = stop === -1 ? text.length : stop
      const indent = line.slice(0, line.indexOf('-'))
      return { start: end, end, text: written.map(n => `\n${indent}- ${n}`).join('') }
    }
    // behind the key on its first line, below the other names on the next
    const indent = /^\s*(?:- )?[\w]+: /.test(line)
      ? `${indentAt(text, at)}${line.trimStart().startsWith('- ') ? '  ' : ''}  `
      : indentAt(text, at)
    let column = line.length
    const rest = lineLength(text, at) - column
    const parts = written.map((name, i) => {
      const behind = i === written.length - 1 ? rest : 1
      const breaks = column + 2 + name.length + behind > WIDTH
      column = breaks ? indent.length + name.length : column + 2 + name.length
      return breaks ? `,\n${indent}${name}` : `, ${name}`
    })
    return { start: at, end: at, text: parts.join('') }
  })
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
