/** Words on a terminal of 80 columns. Colours only where the terminal takes them (NO_COLOR). */
import { styleText } from 'node:util'

export const width = 80

export type Style = Parameters<typeof styleText>[0]

/** Breaks at spaces; a word too long for a line is broken where the line ends. */
export const wrap = (text: string, room: number): readonly string[] => {
  const lines: string[] = []
  let line = ''
  for (let word of text.split(/\s+/).filter(Boolean)) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = ''
    }
    while (word.length > room) {
      lines.push(word.slice(0, room))
      word = word.slice(room)
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return line === '' ? lines : [...lines, line]
}

export type Printer = {
  /** A paragraph; `mark` stands before its first line, the others are aligned with it. */
  say(text: string, options?: { indent?: number; mark?: string; style?: Style }): void
  gap(): void
}

export const printTo = (stream: NodeJS.WriteStream): Printer => ({
  say: (text, { indent = 0, mark = '', style } = {}) => {
    const head = ' '.repeat(indent) + mark
    for (const [i, line] of wrap(text, width - head.length).entries()) {
      const start = i === 0 ? head : ' '.repeat(head.length)
      const shown = style === undefined ? line : styleText(style, line, { stream })
      stream.write(`${start}${shown}\n`)
    }
  },
  gap: () => void stream.write('\n'),
})
