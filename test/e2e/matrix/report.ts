/** The matrix as docs/clients.md has it: a table of outcomes, and below it what is seen. */
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { format } from 'prettier'
import { clientNames, type ClientName } from '../../support/clients.ts'
import { expected } from './expected.ts'
import type { Seen } from './journey.ts'
import { scenarioNames, scenarios, type Scenario } from './scenarios.ts'

/** By scenario and client; those that have no such command are not in it. */
export type Results = ReadonlyMap<string, Seen>

export const keyOf = (scenario: Scenario, client: ClientName): string => `${scenario} ${client}`

const titles: Readonly<Record<ClientName, string>> = {
  npm11: 'npm 11',
  npm12: 'npm 12',
  pnpm10: 'pnpm 10',
  pnpm11: 'pnpm 11',
  pnpm12: 'pnpm 12',
  yarn1: 'Yarn 1',
  yarn4: 'Yarn 4',
  bun: 'Bun',
  deno: 'Deno',
}

const MAX_LINE = 300
const FENCE = '````'

/** The lines in which the expected texts stand, each once, as printed. */
export const excerpt = (output: string, shows: readonly RegExp[]): string => {
  const lines = output.split('\n')
  const starts = lines.map((_, i) => lines.slice(0, i).join('\n').length + (i > 0 ? 1 : 0))
  const wanted = new Set<number>()
  for (const pattern of shows) {
    const match = pattern.exec(output)
    if (!match) continue
    const end = match.index + match[0].length
    lines.forEach((line, i) => {
      const start = starts[i] ?? 0
      if (start + line.length > match.index && start < end) wanted.add(i)
    })
  }
  return [...wanted]
    .toSorted((a, b) => a - b)
    .map(i => (lines[i] ?? '').trimEnd())
    .map(line => (line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)} …` : line))
    .join('\n')
}

/** How much of a refusal its user is told. */
const told = (output: string): string =>
  /\b(NO_PROVENANCE|WRONG_SUBJECT|DENIED)\b/.test(output)
    ? 'reason'
    : /\b403\b/.test(output)
      ? '403'
      : 'no reason'

const word = (scenario: Scenario, client: ClientName, results: Results): string => {
  const cell = expected(scenario, client)
  if ('why' in cell) return '–'
  const seen = results.get(keyOf(scenario, client))
  if (!seen) throw new Error(`${client} has no result for: ${scenario}`)
  return cell.word ?? (cell.ends === 'well' ? 'yes' : told(seen.output))
}

const block = (scenario: Scenario, results: Results): string => {
  const groups = new Map<string, ClientName[]>()
  for (const client of clientNames) {
    const cell = expected(scenario, client)
    const note = 'why' in cell ? cell.why : cell.note
    const shown =
      'why' in cell || !cell.shows
        ? ''
        : (cell.told ??
          `${FENCE}text\n${excerpt(results.get(keyOf(scenario, client))?.output ?? '', cell.shows)}\n${FENCE}`)
    const text = [note, shown].filter(Boolean).join(cell && 'told' in cell ? '. ' : '\n\n')
    if (text !== '') groups.set(text, [...(groups.get(text) ?? []), client])
  }
  if (groups.size === 0) return ''
  const parts = [...groups].map(([text, clients]) => {
    const [first = '', ...others] = text.split('\n\n')
    const names = `**${clients.map(client => titles[client]).join(', ')}**`
    return first.startsWith(FENCE)
      ? [`${names}:`, text].join('\n\n')
      : [`${names}: ${first}.`, ...others].join('\n\n')
  })
  return [`#### ${scenarios[scenario].replace(/^./, c => c.toUpperCase())}`, ...parts].join(
    '\n\n',
  )
}

export const matrixText = (results: Results): string => {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const table = [
    row(['', ...clientNames.map(client => titles[client])]),
    row(['---', ...clientNames.map(() => '---')]),
    ...scenarioNames.map(scenario =>
      row([scenarios[scenario], ...clientNames.map(client => word(scenario, client, results))]),
    ),
  ]
  const blocks = scenarioNames.map(scenario => block(scenario, results)).filter(Boolean)
  return [table.join('\n'), '### What is seen', ...blocks].join('\n\n')
}

const file = resolve(import.meta.dirname, '../../../docs/clients.md')
const [begin, end] = ['<!-- matrix: npm run matrix:write -->', '<!-- end of the matrix -->']

/** The page with the matrix of this run in it, and as it is. */
export const clientsPage = async (results: Results) => {
  const now = await readFile(file, 'utf8')
  const [from, to] = [now.indexOf(begin), now.indexOf(end)]
  if (from < 0 || to < from) throw new Error('docs/clients.md has no place for the matrix')
  const text = `${now.slice(0, from + begin.length)}\n\n${matrixText(results)}\n\n${now.slice(to)}`
  const wanted = await format(text, { parser: 'markdown', printWidth: 96 })
  return { now, wanted, write: () => writeFile(file, wanted) }
}
