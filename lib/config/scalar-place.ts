/** Where in a YAML text the characters of a scalar's value stand: values are not written as they are. */
import type { Scalar } from 'yaml'

const escapes: Readonly<Record<string, number>> = { x: 4, u: 6, U: 10 }

const isSpace = (character: string | undefined) =>
  character === ' ' || character === '\n' || character === '\t' || character === '\r'

/** Characters that a double-quoted escape takes, and whether it stands for any. */
const escapeAt = (
  raw: string,
  at: number,
): { readonly length: number; readonly empty: boolean } => {
  const kind = raw[at + 1] ?? ''
  return { length: escapes[kind] ?? 2, empty: kind === '\n' || kind === '\r' }
}

/**
 * Offset in `text` of the character at `index` of the value of `node`; its beginning where that
 * cannot be told. Folded lines and indents are followed, so that lines are right; within lines that
 * begin with spaces of their own a column may be off.
 */
export const offsetInScalar = (text: string, node: Scalar, index: number): number => {
  const [start = 0, end = 0] = node.range ?? []
  const { type, value } = node
  if (typeof value !== 'string') return start
  const raw = text.slice(start, end)
  const isBlock = type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED'
  const isQuoted = type === 'QUOTE_SINGLE' || type === 'QUOTE_DOUBLE'
  let at = isBlock ? raw.indexOf('\n') + 1 : isQuoted ? 1 : 0
  if (isBlock) while (raw[at] === ' ') at++
  for (let done = 0; done < index && at < raw.length;) {
    const wanted = value[done]
    const here = raw[at]
    if (type === 'QUOTE_DOUBLE' && here === '\\') {
      const { length, empty } = escapeAt(raw, at)
      at += length
      if (!empty) done++
    } else if (here === wanted) {
      at += type === 'QUOTE_SINGLE' && here === "'" ? 2 : 1
      done++
    } else if (isSpace(here)) {
      // a folded line break, with the indent behind it, stands for one space or break
      while (isSpace(raw[at])) at++
      while (done < index && isSpace(value[done])) done++
    } else return start
  }
  while (isSpace(raw[at]) && !isSpace(value[index])) at++
  return start + at
}
