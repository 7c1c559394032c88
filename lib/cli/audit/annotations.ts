/** The audit as workflow commands, which GitHub shows beside the lines of the lockfile. */
import { findingsOf, type Finding } from './findings.ts'
import type { Report } from './result.ts'

const commands = { error: 'error', warning: 'warning', note: 'notice' } as const

/** As the toolkit escapes data: what ends the line, and the escape itself. */
const data = (text: string) =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')

/** Properties end at a comma or a colon as well. */
const property = (text: string) => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')

const lineOf = (file: string, finding: Finding): string => {
  const { level, lines, title, reasons, hint } = finding
  const codes = [...new Set(reasons.map(({ code }) => code))].join(' ')
  const place = `file=${property(file)},line=${lines[0] ?? 1},title=${property(`${title} (${codes})`)}`
  const said = [...reasons.map(r => r.message), ...(hint ? [hint] : [])].join('\n')
  return `::${commands[level]} ${place}::${data(said)}\n`
}

/** A step shows ten of each kind; more than `most` altogether are told of in one line. */
export const annotations = (report: Report, most: number): string => {
  const findings = findingsOf(report)
  const shown = findings.slice(0, most).map(finding => lineOf(report.file, finding))
  const rest = findings.length - shown.length
  const more = `::notice file=${property(report.file)}::${rest} more findings are not shown here\n`
  return shown.join('') + (rest > 0 ? more : '')
}
