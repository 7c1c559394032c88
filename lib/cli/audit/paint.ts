/** Colours where they are wanted, and text that cannot disturb a terminal. */
import { stripVTControlCharacters, styleText } from 'node:util'
import type { Io, Output } from '../io.ts'

/**
 * Only such as are readable on dark and on light ground: terminals show yellow and cyan too pale
 * on white, and blue too dark on black.
 */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'magenta'

export type Paint = (style: Style | readonly Style[], text: string) => string

/** Colours on a terminal, unless NO_COLOR (no-color.org) or TERM=dumb says otherwise. */
export const paintFor = (output: Output, env: Io['env']): Paint => {
  const wanted = output.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
  if (!wanted) return (_style, text) => text
  return (style, text) =>
    styleText(typeof style === 'string' ? style : [...style], text, { validateStream: false })
}

/**
 * Lockfiles and upstreams are not trusted with a terminal: control characters and those that
 * turn the direction of writing are shown by their number.
 */
export const plain = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    c => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  )

const lengthOf = (text: string) => stripVTControlCharacters(text).length

/** Lines of at most `width` characters, colours not counted; a longer word stays whole. */
export const wrap = (text: string, width: number): readonly string[] => {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && lengthOf(line) + 1 + lengthOf(word) > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

export const counted = (n: number, one: string, many = `${one}s`): string =>
  `${n} ${n === 1 ? one : many}`

/** `0.4 s`, `12 s`, `3 min 5 s` */
export const duration = (milliseconds: number): string => {
  const seconds = milliseconds / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
}
