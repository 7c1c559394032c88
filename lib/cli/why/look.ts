/** How trees look on an output: its width, its colours, and the marks in front of what is checked. */
import { paintFor, type Style } from '../audit/paint.ts'
import type { Io } from '../io.ts'
import { takesUnicode, type Look, type Span } from './tree.ts'

/** Where nobody knows the width, as in a pipe. */
const USUAL = 80
const WIDEST = 140

export const lookOf = ({ stdout, env }: Io): Look => ({
  width: Math.max(40, Math.min(stdout.columns ?? USUAL, WIDEST)),
  unicode: takesUnicode(env),
  paint: paintFor(stdout, env),
})

export type Mark = 'good' | 'bad' | 'none' | 'unsure'

const marks: Readonly<Record<Mark, readonly [unicode: string, ascii: string, style: Style]>> = {
  good: ['✓', '[ok]', 'green'],
  bad: ['✗', '[x]', 'red'],
  none: ['–', '[-]', 'dim'],
  unsure: ['?', '[?]', 'magenta'],
}

export const markSpan = (mark: Mark, { unicode }: Look): Span => {
  const [box, ascii, style] = marks[mark]
  return { text: unicode ? box : ascii, style }
}

export const markOfState = (state: string): Mark =>
  state === 'verified'
    ? 'good'
    : state === 'invalid'
      ? 'bad'
      : state === 'unavailable' || state === 'unknown'
        ? 'unsure'
        : 'none'

export const bold = (text: string): Span => ({ text, style: 'bold' })
export const dim = (text: string): Span => ({ text, style: 'dim' })
