/** Markdown out of figures. */

export type Section = {
  readonly title: string
  readonly text?: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`

export const markdown = ({ title, text, columns, rows }: Section): string =>
  [
    `### ${title}`,
    '',
    ...(text === undefined ? [] : [text, '']),
    line(columns),
    line(columns.map(() => '---')),
    ...rows.map(line),
    '',
  ].join('\n')
