/** Text for people: colours where they are wanted, lines broken where there is a width. */
import { isAbsolute, relative } from 'node:path'
import { styleText } from 'node:util'
import type { Io, Output } from '../io.ts'

type Format = Parameters<typeof styleText>[0]
export type Paint = (format: Format, text: string) => string

/** Colours only on a terminal, and never against NO_COLOR. */
export const painter = (output: Output, { env }: Pick<Io, 'env'>): Paint =>
  output.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
    ? (format, text) => styleText(format, text, { validateStream: false })
    : (_, text) => text

/** Characters to a line; Infinity where it goes to a file or a pipe. */
export const widthOf = (output: Output): number =>
  output.isTTY === true ? Math.max(40, output.columns ?? 80) : Number.POSITIVE_INFINITY

/** Breaks at spaces; every line begins with `indent`. A word longer than a line stays whole. */
export const wrap = (text: string, width: number, indent: string): string => {
  const lines: string[] = []
  let line = indent
  for (const word of text.split(' ')) {
    const joined = line === indent ? `${indent}${word}` : `${line} ${word}`
    if (joined.length > width && line !== indent) {
      lines.push(line)
      line = `${indent}${word}`
    } else line = joined
  }
  return [...lines, line].join('\n')
}

/** A path as one would type it: relative where it lies below the working directory. */
export const shownPath = (file: string, cwd: string): string => {
  const short = relative(cwd, file)
  return short === '' || short.startsWith('..') || isAbsolute(short) ? file : short
}

export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`
