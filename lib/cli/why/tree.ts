/** A tree as text: box characters or ASCII, wrapped to the width of the terminal. Pure. */
import { plain, type Paint, type Style } from '../audit/paint.ts'

/** Text, and how it is to look where there are colours. */
export type Span = string | { readonly text: string; readonly style: Style }

export type Branch = { readonly spans: readonly Span[]; readonly branches?: readonly Branch[] }

export type Look = {
  /** Characters in a line. */
  readonly width: number
  /** Box characters and marks outside ASCII. */
  readonly unicode: boolean
  readonly paint: Paint
}

export const branch = (
  spans: Span | readonly Span[],
  branches: readonly Branch[] = [],
): Branch => ({
  spans: typeof spans === 'object' && 'length' in spans ? spans : [spans],
  branches,
})

type Word = { readonly text: string; readonly style: Style | undefined }

const wordsOf = (spans: readonly Span[]): readonly Word[] =>
  spans.flatMap(span => {
    const { text, style } = typeof span === 'string' ? { text: span, style: undefined } : span
    return text
      .split(/\s+/)
      .filter(word => word !== '')
      .map(word => ({ text: plain(word), style }))
  })

/** A word longer than a line is broken where the line ends. */
const linesOf = (words: readonly Word[], room: number): readonly (readonly Word[])[] => {
  const lines: Word[][] = []
  let line: Word[] = []
  let used = 0
  const end = () => {
    if (line.length > 0) lines.push(line)
    line = []
    used = 0
  }
  for (const { text, style } of words) {
    // a long word begins where the line is if a good part of it fits there
    if (used > 0 && used + 1 + text.length > room && (text.length <= room || room - used < 24))
      end()
    let rest = text
    while (rest !== '') {
      const space = used === 0 ? 0 : 1
      const part = rest.slice(0, Math.max(1, room - used - space))
      line.push({ text: part, style })
      used += space + part.length
      rest = rest.slice(part.length)
      if (rest !== '') end()
    }
  }
  end()
  return lines.length > 0 ? lines : [[]]
}

/** Neighbours of one style are painted together, the space between them too. */
const paintLine = (line: readonly Word[], paint: Paint): string => {
  const parts: { text: string; style: Style | undefined }[] = []
  for (const { text, style } of line) {
    const last = parts.at(-1)
    if (last && last.style === style) last.text += ` ${text}`
    else parts.push({ text, style })
  }
  return parts
    .map(({ text, style }) => (style === undefined ? text : paint(style, text)))
    .join(' ')
}

/** A paragraph, indented. */
export const paragraph = (
  spans: Span | readonly Span[],
  { width, paint }: Look,
  indent = '',
): string => {
  const lines = linesOf(wordsOf(branch(spans).spans), Math.max(20, width - indent.length))
  return lines.map(line => `${indent}${paintLine(line, paint)}\n`).join('')
}

const boxes = { tee: '├─ ', corner: '└─ ', bar: '│  ', gap: '   ' }
const ascii = { tee: '|- ', corner: '`- ', bar: '|  ', gap: '   ' }

/** The root stands at the margin; every line ends with a line feed. */
export const renderTree = (root: Branch, look: Look): string => {
  const { width, unicode, paint } = look
  const { tee, corner, bar, gap } = unicode ? boxes : ascii
  const lines: string[] = []
  const visit = ({ spans, branches = [] }: Branch, first: string, next: string) => {
    const under = branches.length > 0 ? bar : ''
    const room = Math.max(20, width - Math.max(first.length, next.length + under.length))
    for (const [i, line] of linesOf(wordsOf(spans), room).entries()) {
      const prefix = i === 0 ? first : `${next}${under}`
      lines.push(`${prefix && paint('dim', prefix)}${paintLine(line, paint)}`.trimEnd())
    }
    for (const [i, child] of branches.entries()) {
      const last = i === branches.length - 1
      visit(child, next + (last ? corner : tee), next + (last ? gap : bar))
    }
  }
  visit(root, '', '')
  return `${lines.join('\n')}\n`
}

/** Does the locale of `env` take more than ASCII? (POSIX: LC_ALL over LC_CTYPE over LANG.) */
export const takesUnicode = (
  env: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform = process.platform,
): boolean => {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find(
    v => v !== undefined && v !== '',
  )
  return locale === undefined ? platform === 'win32' : /utf-?8/i.test(locale)
}
