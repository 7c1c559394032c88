/** The difference between two texts as `diff -u` writes it, for people and for `patch`. */
import { diff } from 'node:util'

/** Lines of context around a change. */
const CONTEXT = 3
/** Lines beyond which the changed part is told as one replacement: comparing costs their square. */
const MOST = 4000

type Line = { readonly kind: ' ' | '-' | '+'; readonly text: string }

const compared = (before: readonly string[], after: readonly string[]): readonly Line[] => {
  const removed = (text: string): Line => ({ kind: '-', text })
  const added = (text: string): Line => ({ kind: '+', text })
  if (before.length === 0 || after.length === 0 || before.length + after.length > MOST)
    return [...before.map(removed), ...after.map(added)]
  // in what util.diff gives, 1 is only in the first, -1 only in the second
  return diff(before, after).map(([kind, text]) =>
    kind === 0 ? { kind: ' ', text } : kind === 1 ? removed(text) : added(text),
  )
}

/** Removed lines before added ones, wherever nothing that stays is between them. */
const tidied = (lines: readonly Line[]): readonly Line[] => {
  const out: Line[] = []
  let added: Line[] = []
  for (const line of lines) {
    if (line.kind === '+') added.push(line)
    else if (line.kind === '-') out.push(line)
    else {
      out.push(...added, line)
      added = []
    }
  }
  return [...out, ...added]
}

const linesOf = (text: string): string[] => {
  const lines = text.split('\n')
  // what is after the last line break is a line only when there is something
  const last = lines.pop() ?? ''
  return last === '' ? lines : [...lines, `${last}\n\\ No newline at end of file`]
}

const commonHead = (a: readonly string[], b: readonly string[]): number => {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}

const range = (start: number, length: number) =>
  length === 1 ? `${start}` : `${length === 0 ? start - 1 : start},${length}`

/** Empty when the texts are the same. */
export const unifiedDiff = (
  before: string,
  after: string,
  names: { readonly before: string; readonly after: string },
): string => {
  if (before === after) return ''
  const [a, b] = [linesOf(before), linesOf(after)]
  const head = commonHead(a, b)
  const tail = commonHead(a.slice(head).toReversed(), b.slice(head).toReversed())
  const same = (text: string): Line => ({ kind: ' ', text })
  const lines = [
    ...a.slice(0, head).map(same),
    ...tidied(compared(a.slice(head, a.length - tail), b.slice(head, b.length - tail))),
    ...a.slice(a.length - tail).map(same),
  ]
  const out = [`--- ${names.before}`, `+++ ${names.after}`]
  let [oldLine, newLine, at] = [1, 1, 0]
  while (at < lines.length) {
    const first = lines.findIndex((line, i) => i >= at && line.kind !== ' ')
    if (first === -1) break
    const start = Math.max(at, first - CONTEXT)
    let end = first
    for (let i = first; i < lines.length && i <= end + 2 * CONTEXT + 1; i++)
      if (lines[i]?.kind !== ' ') end = i
    const hunk = lines.slice(start, end + 1 + CONTEXT)
    oldLine += start - at
    newLine += start - at
    const olds = hunk.filter(line => line.kind !== '+').length
    const news = hunk.filter(line => line.kind !== '-').length
    out.push(`@@ -${range(oldLine, olds)} +${range(newLine, news)} @@`)
    out.push(...hunk.map(({ kind, text }) => kind + text))
    oldLine += olds
    newLine += news
    at = start + hunk.length
  }
  return `${out.join('\n')}\n`
}
