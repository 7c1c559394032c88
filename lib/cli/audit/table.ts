/** The audit for people: what is wrong first, then how much is proven, then one line to remember. */
import { whyCommand } from './findings.ts'
import { counted, duration, plain, wrap, type Paint, type Style } from './paint.ts'
import {
  byReason,
  coverageOf,
  idOf,
  summaryOf,
  type Judged,
  type PastProxy,
  type Report,
} from './result.ts'

export type TableOptions = {
  /** Characters; lines are never longer, but for names and addresses that cannot be broken. */
  readonly columns: number
  readonly paint: Paint
  /** Rows shown of each kind. */
  readonly most: number
}

type Row = { readonly what: string; readonly where: string; readonly why: readonly string[] }

/** From this many characters on the reason stands beside the package, not below it. */
const ROOM = 44

const placeOf = (file: string, lines: readonly number[]): string => {
  const more = lines.length > 1 ? ` +${lines.length - 1}` : ''
  return `${plain(file)}:${lines[0] ?? 1}${more}`
}

const rowsText = (rows: readonly Row[], { columns, paint }: TableOptions): string => {
  const width = (pick: (row: Row) => string) => Math.max(...rows.map(row => pick(row).length))
  const [first, second] = [width(row => row.what), width(row => row.where)]
  const left = columns - 2 - first - 2 - second - 2
  const [indent, room] = left >= ROOM ? [columns - left, left] : [4, columns - 4]
  const lines = rows.flatMap(({ what, where, why }) => {
    const head = `  ${paint('bold', what.padEnd(first))}  ${paint('dim', where)}`
    const texts = why.flatMap((text, i) => {
      const last = i === why.length - 1 && why.length > 1
      return wrap(text, room).map(line => (last ? paint('dim', line) : line))
    })
    const below = texts.map(line => ' '.repeat(indent) + line)
    if (left < ROOM) return [head, ...below]
    const gap = ' '.repeat(second - where.length + 2)
    return [`${head}${gap}${texts[0] ?? ''}`, ...below.slice(1)]
  })
  return `${lines.join('\n')}\n`
}

const cutNote = (rest: number, options: TableOptions): string =>
  rest > 0 ? `  ${options.paint('dim', `... and ${rest} more; --all shows them`)}\n` : ''

/** Groups of one reason code after the other, `most` rows altogether. */
const judgedSection = (
  file: string,
  judged: readonly Judged[],
  options: TableOptions,
  style: Style,
): string => {
  let left = options.most
  const parts: string[] = []
  for (const [code, group] of byReason(judged)) {
    if (left <= 0) break
    const shown = group.slice(0, left)
    left -= shown.length
    const rows = shown.map(one => ({
      what: plain(idOf(one)),
      where: placeOf(file, one.lines),
      why: [
        ...one.reasons.map(reason =>
          plain(reason.code === code ? reason.message : `${reason.code}: ${reason.message}`),
        ),
        plain(whyCommand(one)),
      ],
    }))
    const title = `${options.paint([style, 'bold'], code)} ${group.length}`
    parts.push(`${title}\n${rowsText(rows, options)}`)
  }
  const rest = Math.max(0, judged.length - options.most)
  return parts.join('\n') + cutNote(rest, options)
}

const pastSection = (
  file: string,
  entries: readonly PastProxy[],
  options: TableOptions,
): string => {
  const groups = new Map<string, PastProxy[]>()
  for (const entry of entries) {
    const group = groups.get(entry.message)
    if (group) group.push(entry)
    else groups.set(entry.message, [entry])
  }
  let left = options.most
  const parts: string[] = []
  for (const [message, group] of groups) {
    if (left <= 0) break
    const shown = group.slice(0, left)
    left -= shown.length
    const told = wrap(plain(message), options.columns - 2).map(line => `  ${line}\n`)
    const width = Math.max(...shown.map(entry => plain(idOf(entry)).length))
    const rows = shown.map(entry => {
      const marks = [
        ...(entry.fixable ? ['fixable'] : []),
        ...(entry.covered ? [] : ['unproven']),
      ]
      const name = options.paint('bold', plain(idOf(entry)).padEnd(width))
      const place = options.paint('dim', placeOf(file, [entry.line]))
      return `    ${name}  ${place}${marks.length > 0 ? `  ${marks.join(', ')}` : ''}\n`
    })
    parts.push(told.join('') + rows.join(''))
  }
  return parts.join('') + cutNote(Math.max(0, entries.length - options.most), options)
}

const coverageText = (report: Report, { paint, columns }: TableOptions): string => {
  const { judged } = report
  const { provenance, signature, unsigned, other } = coverageOf(judged)
  const rows = [
    ['provenance', provenance],
    ['registry signature only', signature],
    ['unsigned', unsigned],
    ['invalid or unchecked', other],
  ] as const
  const size = Math.max(0, Math.min(40, columns - 44))
  const width = String(judged.length).length
  return rows
    .filter(([, n]) => n > 0)
    .map(([what, n]) => {
      const share = n / judged.length
      const percent = `${share > 0 && share < 0.01 ? '<1' : Math.floor(share * 100)} %`
      const bar = paint('dim', '▪'.repeat(Math.max(1, Math.round(share * size))))
      return `  ${what.padEnd(24)} ${String(n).padStart(width)}  ${percent.padStart(5)}  ${bar}\n`
    })
    .join('')
}

const notJudgedText = ({ notJudged }: Report): string => {
  const kinds = new Map<string, number>()
  for (const { kind } of notJudged) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  return [...kinds].map(([kind, n]) => `${n} ${kind}`).join(', ')
}

const lastLine = (report: Report, paint: Paint): string => {
  const { outcome, allowed, refused, unknown, observed, waived } = summaryOf(report)
  const n = (count: number, style: Style, text: string) =>
    count > 0 ? paint([style, 'bold'], `${count} ${text}`) : `${count} ${text}`
  const past = report.pastProxy.length
  const parts = [
    n(refused, 'red', 'refused'),
    n(unknown, 'magenta', 'could not be judged'),
    ...(past > 0 ? [`${past} past the proxy`] : []),
    `${allowed} allowed`,
    ...(waived > 0 ? [`${waived} of them by waiver`] : []),
    ...(observed > 0 ? [`${observed} of them only because the policy observes`] : []),
  ]
  const marks = {
    clean: paint(['green', 'bold'], 'clean'),
    refused: paint(['red', 'bold'], 'refused'),
    'could-not-tell': paint(['magenta', 'bold'], 'could not tell'),
  }
  return `${marks[outcome]}: ${parts.join(', ')}`
}

export const tableReport = (report: Report, options: TableOptions): string => {
  const { file, judged, pastProxy, notJudged, notes } = report
  const { paint, columns } = options
  const of = (which: (one: Judged) => boolean) => judged.filter(which)
  const section = (title: string, style: Style, body: string) =>
    `${paint(['bold', style], title)}\n\n${body}\n`
  const refused = of(one => one.outcome === 'refused')
  const unknown = of(one => one.outcome === 'unknown')
  const observed = of(one => one.outcome === 'allowed' && one.reasons.length > 0)
  const fixable = pastProxy.filter(entry => entry.fixable).length
  const parts: string[] = []
  if (refused.length > 0)
    parts.push(section('Refused', 'red', judgedSection(file, refused, options, 'red')))
  if (unknown.length > 0)
    parts.push(
      section('Could not tell', 'magenta', judgedSection(file, unknown, options, 'magenta')),
    )
  if (pastProxy.length > 0) {
    const hint =
      fixable > 0
        ? `\n  attestry audit --fix points ${fixable} of them at ${report.registry}\n`
        : ''
    parts.push(
      section('Past the proxy', 'magenta', pastSection(file, pastProxy, options) + hint),
    )
  }
  if (observed.length > 0)
    parts.push(
      section('Would be refused', 'magenta', judgedSection(file, observed, options, 'magenta')),
    )
  const what = `${counted(judged.length, 'package version')} of ${plain(file)}`
  const asides = [
    ...(notJudged.length > 0 ? [`not judged: ${notJudgedText(report)}`] : []),
    ...(report.filtered > 0
      ? [`left out: ${counted(report.filtered, 'entry', 'entries')}`]
      : []),
  ]
  parts.push(
    `${paint('bold', 'Proven')} of ${what}\n\n${coverageText(report, options)}\n`,
    ...asides.map(aside => `${aside}\n`),
    ...notes.flatMap(note => wrap(`note: ${plain(note)}`, columns).map(line => `${line}\n`)),
    asides.length + notes.length > 0 ? '\n' : '',
  )
  const last = `${lastLine(report, paint)} ${paint('dim', `(${duration(report.milliseconds)})`)}`
  return `${parts.join('')}${last}\n`
}
