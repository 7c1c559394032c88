/** The audit as Markdown, for the summary page of a CI run. */
import { codeText, PAST_PROXY, whyCommand } from './findings.ts'
import { counted, duration, plain } from './paint.ts'
import { byReason, coverageOf, idOf, summaryOf, type Judged, type Report } from './result.ts'

/** Text that stays text: nothing in it starts markup, a link, a mention or another cell. */
const text = (value: string) =>
  plain(value)
    .replace(/[&<>]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c] ?? c)
    .replace(/[\\`*_{}[\]()#+!|~$]/g, String.raw`\$&`)
    .replaceAll('@', '&#64;')
    // an address would become a link without any markup
    .replaceAll('://', ':&#47;&#47;')
    .replaceAll('www.', 'www&#46;')

/** A code span in a table's cell: as many backticks around it as it needs. */
const code = (value: string) => {
  const shown = plain(value).replaceAll('|', String.raw`\|`)
  const longest = Math.max(0, ...Array.from(shown.matchAll(/`+/g), ([run]) => run.length))
  const fence = '`'.repeat(longest + 1)
  return longest === 0 ? fence + shown + fence : `${fence} ${shown} ${fence}`
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |\n`).join('')

const judgedTable = (file: string, judged: readonly Judged[], most: number): string => {
  const all = byReason(judged).flatMap(([, group]) => group)
  const rows = all
    .slice(0, most)
    .map(one => [
      code(idOf(one)),
      code(`${file}:${one.lines[0] ?? 1}`),
      one.reasons.map(r => `${code(r.code)} ${text(r.message)}`).join('<br>'),
      code(whyCommand(one)),
    ])
  const rest = all.length - rows.length
  return `${table(['package', 'where', 'why', 'more'], rows)}${rest > 0 ? `\n… and ${rest} more.\n` : ''}`
}

const percent = (part: number, whole: number) =>
  whole === 0 ? '' : `${Math.round((100 * part) / whole)} %`

const words = {
  clean: 'clean',
  refused: 'refused',
  'could-not-tell': 'could not tell',
} as const

/** `most`: rows of each table. A summary page takes 1 MiB; see `fits`. */
export const markdownReport = (report: Report, most: number): string => {
  const { file, judged, pastProxy, notJudged, notes } = report
  const { outcome, refused, unknown, allowed, observed } = summaryOf(report)
  const coverage = coverageOf(judged)
  const of = (which: (one: Judged) => boolean) => judged.filter(which)
  const section = (title: string, body: string, wanted: number) =>
    wanted > 0 ? `\n### ${title}: ${wanted}\n\n${body}` : ''
  const past = pastProxy
    .slice(0, most)
    .map(e => [code(idOf(e)), code(`${file}:${e.line}`), text(e.message)])
  const pastRest = pastProxy.length - past.length
  return [
    `## Attestry audit of ${text(file)}: ${words[outcome]}\n\n`,
    `${counted(judged.length, 'package version')} judged in ${duration(report.milliseconds)}: `,
    `${refused} refused, ${unknown} could not be judged, ${allowed} allowed.\n`,
    section(
      'Refused',
      judgedTable(
        file,
        of(one => one.outcome === 'refused'),
        most,
      ),
      refused,
    ),
    section(
      'Could not tell',
      judgedTable(
        file,
        of(one => one.outcome === 'unknown'),
        most,
      ),
      unknown,
    ),
    section(
      'Past the proxy',
      `${codeText(PAST_PROXY)}\n\n${table(['package', 'where', 'why'], past)}${pastRest > 0 ? `\n… and ${pastRest} more.\n` : ''}`,
      pastProxy.length,
    ),
    section(
      'Let through while the policy observes',
      judgedTable(
        file,
        of(({ outcome, reasons }) => outcome === 'allowed' && reasons.length > 0),
        most,
      ),
      observed,
    ),
    '\n### Coverage\n\n',
    table(
      ['what is proven', 'package versions', ''],
      (
        [
          ['provenance', coverage.provenance],
          ['registry signature only', coverage.signature],
          ['nothing: unsigned', coverage.unsigned],
          ['nothing: does not verify, or could not be checked', coverage.other],
        ] as const
      ).map(([what, n]) => [what, String(n), percent(n, judged.length)]),
    ),
    notJudged.length > 0
      ? `\n${counted(notJudged.length, 'entry', 'entries')} not judged: ${[...new Set(notJudged.map(({ kind }) => kind))].join(', ')}.\n`
      : '',
    ...notes.map(note => `\n> ${text(note)}\n`),
  ].join('')
}

/** GitHub takes a step's summary up to 1 MiB and shows nothing of a longer one. */
const MOST_BYTES = 1_000_000

/** The report with as many rows as fit on a summary page. */
export const fitting = (report: Report, most: number): string => {
  const made = markdownReport(report, most)
  return Buffer.byteLength(made) <= MOST_BYTES || most <= 1
    ? made
    : fitting(report, Math.floor(Math.min(most, report.judged.length) / 2))
}
