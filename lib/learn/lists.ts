/** Putting names into a list of packages where they belong by the alphabet. */
import { scalar, widths } from './layout.ts'
import { byText, groupBy } from './observation.ts'
import type { ListPlace } from './source-rules.ts'
import type { Edit } from './splice.ts'

const lineOf = (text: string, at: number) => {
  const start = text.lastIndexOf('\n', at - 1) + 1
  const end = text.indexOf('\n', at)
  return {
    before: text.slice(start, at),
    behind: text.slice(at, end === -1 ? text.length : end),
  }
}

/** Where further lines of a list in brackets begin. */
const furtherIndent = (before: string): string => {
  const own = /^[ \t]*/.exec(before)?.[0] ?? ''
  const first = before.slice(own.length)
  if (first.startsWith('- {')) return `${own}      `
  if (first.startsWith('- ')) return `${own}    `
  return /^\w+:/.test(first) ? `${own}  ` : own
}

/** The widest line that this list may have: what it has already, or what is usual. */
const widthFor = (text: string, { items }: ListPlace): number => {
  const longest = Math.max(
    ...items.map(({ start }) => {
      const { before, behind } = lineOf(text, start)
      return before.length + behind.length
    }),
  )
  return [widths.plain, widths.dense].find(width => longest <= width) ?? widths.packed
}

/** Names in one line after another, between what is before and behind them. */
const fill = (
  names: readonly string[],
  { before, behind }: { readonly before: string; readonly behind: string },
  width: number,
  isFirst: boolean,
): string => {
  const indent = furtherIndent(before)
  let column = before.length
  const parts = names.map((name, i) => {
    const last = i === names.length - 1
    const room = last && !isFirst ? behind.length : 1
    const gap = isFirst && i === 0 ? 0 : isFirst ? 1 : 2
    const breaks = gap > 0 && column + gap + name.length + room > width
    column = breaks ? indent.length + name.length : column + gap + name.length
    if (isFirst) {
      column++
      return `${breaks ? `\n${indent}` : gap > 0 ? ' ' : ''}${name},`
    }
    return breaks ? `,\n${indent}${name}` : `, ${name}`
  })
  if (!isFirst) return parts.join('')
  return `${parts.join('')}${column + 1 + behind.length > width ? `\n${indent}` : ' '}`
}

/** The names that are not in the list yet; lines that grow too long are broken. */
export const addPackages = (
  text: string,
  place: ListPlace,
  names: readonly string[],
): readonly Edit[] => {
  const { flow, items } = place
  const fresh = names.filter(name => !items.some(item => item.text === name)).sort(byText)
  const lastBefore = (name: string) => items.findLast(item => byText(item.text, name) < 0)
  const width = widthFor(text, place)
  return [...groupBy(fresh, lastBefore)].map(([item, group]): Edit => {
    const written = group.map(name => scalar(name, flow))
    const at = item?.end ?? items[0]?.start ?? 0
    const line = lineOf(text, at)
    if (flow)
      return { start: at, end: at, text: fill(written, line, width, item === undefined) }
    const indent = line.before.slice(0, line.before.indexOf('-'))
    if (item === undefined)
      return { start: at, end: at, text: written.map(n => `${n}\n${indent}- `).join('') }
    const end = at + line.behind.length
    return { start: end, end, text: written.map(n => `\n${indent}- ${n}`).join('') }
  })
}
