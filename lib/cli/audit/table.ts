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
  /** Rows shown of each reason. */
  readonly most: number
}

type Row = { readonly what: string; readonly where: string; readonly why: readonly string[] }

/** From this many characters on the reason stands beside the package, not below it. */
const ROOM = 44

const placeOf = (file: string, lines: readonly number[]): string => {
  const more = lines.length > 1 ? ` +${lines.length - 1}` : ''
  return `${plain(file)}:${lines[0] ?? 1}${more}`
}

/** The last of several sentences is the command that tells more. */
const rowsText = (
  rows: readonly Row[],
  { columns, paint }: TableOptions,
  margin = 2,
): string => {
  const width = (pick: (row: Row) => string) => Math.max(...rows.map(row => pick(row).length))
  const [widest, second] = [width(row => row.what), width(row => row.where)]
  // one long name must not push what is beside the others off the screen
  const fits = Math.max(0, columns - margin - 2 - second)
  const first = Math.min(widest, fits)
  const left = columns - margin - first - 2 - second - 2
  const short = rows.every(({ why }) => why.every(text => text.length <= left))
  const beside = widest <= fits && (left >= ROOM || short)
  const [indent, room] = beside ? [columns - left, left] : [margin + 2, columns - margin - 2]
  const lines = rows.flatMap(({ what, where, why }) => {
    const name = paint('bold', beside ? what.padEnd(first) : what)
    const apart = what.length > first ? `\n${' '.repeat(margin + 2)}` : '  '
    const head = `${' '.repeat(margin)}${name}${apart}${paint('dim', where)}`
    const texts = why.flatMap((text, i) =>
      wrap(text, room).map(line => (i === why.length - 1 ? paint('dim', line) : line)),
    )
    const below = texts.map(line => ' '.repeat(indent) + line)
    if (beside) {
      const gap = ' '.repeat(second - where.length + 2)
      return [`${head}${gap}${texts[0] ?? ''}`, ...below.slice(1)]
    }
    const [only = '', ...more] = why
    const used = what.length > first ? margin + 2 : margin + what.length + 2
    return more.length === 0 && used + where.length + 2 + only.length <= columns
      ? [[head, ...texts].join('  ')]
      : [head, ...below]
  })
  return lines.map(line => `${line}\n`).join('')
}

const cutNote = (rest: number, { paint }: TableOptions): string =>
  rest > 0 ? `  ${paint('dim', `... and ${rest} more; --all shows them`)}\n` : ''

const paragraph = (text: string, columns: number): string =>
  wrap(plain(text), columns - 2)
    .map(line => `  ${line}\n`)
    .join('')

/** One code: what several share is said once above them. */
const codeGroup = (
  file: string,
  code: string,
  group: readonly Judged[],
  options: TableOptions,
): string => {
  const said = ({ reasons }: Judged) =>
    reasons.map(reason =>
      reason.code === code ? reason.message : `${reason.code}: ${reason.message}`,
    )
  const row = (one: Judged, why: readonly string[]): Row => ({
    what: plain(idOf(one)),
    where: placeOf(file, one.lines),
    why: [...why.map(plain), plain(whyCommand(one))],
  })
  const shown = group.slice(0, options.most)
  const alike = [...Map.groupBy(shown, one => said(one).join('\n')).values()]
  const single = alike.filter(some => some.length === 1).flat()
  const shared = alike.filter(some => some.length > 1)
  const parts = [
    ...(single.length > 0
      ? [
          rowsText(
            single.map(one => row(one, said(one))),
            options,
          ),
        ]
      : []),
    ...shared.map(some => {
      const [first] = some
      const above = first ? said(first).map(text => paragraph(text, options.columns)) : []
      return (
        above.join('') +
        rowsText(
          some.map(one => row(one, [])),
          options,
        )
      )
    }),
  ]
  return parts.join('\n') + cutNote(group.length - shown.length, options)
}

const judgedSection = (
  file: string,
  judged: readonly Judged[],
  options: TableOptions,
  style: Style,
): string =>
  byReason(judged)
    .map(([code, group]) => {
      const title = `${options.paint([style, 'bold'], code)} ${group.length}`
      return `${title}\n${codeGroup(file, code, group, options)}`
    })
    .join('\n')

/** What has not been judged at all comes first. */
const pastSection = (
  file: string,
  entries: readonly PastProxy[],
  options: TableOptions,
): string => {
  const groups = Map.groupBy(entries, ({ message, covered }) => `${covered} ${message}`)
  const sorted = [...groups.values()].sort(
    ([a], [b]) => Number(a?.covered ?? true) - Number(b?.covered ?? true),
  )
  const parts = sorted.map(group => {
    const shown = group.slice(0, options.most)
    const rows = shown.map((entry): Row => {
      const marks = [
        ...(entry.covered ? [] : ['not judged']),
        ...(entry.fixable ? ['fixable'] : []),
      ]
      return {
        what: plain(idOf(entry)),
        where: placeOf(file, [entry.line]),
        why: marks.length > 0 ? [marks.join(', ')] : [],
      }
    })
    const above = paragraph(group[0]?.message ?? '', options.columns)
    return above + rowsText(rows, options, 4) + cutNote(group.length - shown.length, options)
  })
  return parts.join('\n')
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
      const percent = `${share > 0 && share < 0.01 ? '<1' : Math.round(share * 100)} %`
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
  const uncovered = report.pastProxy.filter(({ covered }) => !covered).length
  const parts = [
    n(refused, 'red', 'refused'),
    n(unknown, 'magenta', 'could not be judged'),
    ...(past > 0
      ? [
          n(past, report.strict ? 'red' : 'magenta', 'past the proxy') +
            (uncovered > 0 ? ` (${uncovered} not judged)` : ''),
        ]
      : []),
    `${allowed} allowed`,
    ...(waived > 0 ? [`${waived} of them by waiver`] : []),
    ...(observed > 0 ? [`${observed} of them only because the policy observes`] : []),
  ]
  const clean = outcome === 'clean' ? `${paint(['green', 'bold'], 'clean')}: ` : ''
  return clean + parts.join(', ')
}

const fixHint = ({ registry, registryGiven }: Report, fixable: number): string =>
  registryGiven
    ? `  attestry audit --fix points ${fixable} of them at ${registry}\n`
    : `  attestry audit --fix --registry URL points ${fixable} of them at the proxy\n`

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
    const hint = fixable > 0 ? `\n${fixHint(report, fixable)}` : ''
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
  return `${parts.join('')}${wrap(last, columns).join('\n')}\n`
}
