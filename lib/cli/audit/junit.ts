/**
 * The audit as JUnit XML, as CI servers read it: a test case for each package version; refused is
 * a failure, could not tell an error, not judged skipped.
 */
import { codeText, PAST_PROXY } from './findings.ts'
import { idOf, summaryOf, type Judged, type PastProxy, type Report } from './result.ts'

/** What XML 1.0 (2.2) cannot hold even escaped, lone surrogates included. */
// eslint-disable-next-line no-control-regex
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]/g

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

/** For text and attributes alike. */
export const xml = (text: string): string =>
  text
    .toWellFormed()
    .replace(forbidden, '\ufffd')
    .replace(/[&<>"'\t\n\r]/g, c => escapes[c] ?? '')

const attributes = (values: Readonly<Record<string, string | number>>) =>
  Object.entries(values)
    .map(([name, value]) => ` ${name}="${xml(String(value))}"`)
    .join('')

const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(3)

type Case = {
  readonly name: string
  readonly classname: string
  readonly line: number
  readonly milliseconds: number
  readonly end?: 'failure' | 'error' | 'skipped'
  readonly type?: string
  readonly message?: string
  readonly detail?: string
}

const caseText = (file: string, one: Case): string => {
  const { name, classname, line, milliseconds, end, type, message = '', detail } = one
  const own = { name, classname, file, line, time: seconds(milliseconds) }
  if (end === undefined) return `    <testcase${attributes(own)}/>\n`
  const said = { message, ...(type !== undefined && end !== 'skipped' && { type }) }
  return `    <testcase${attributes(own)}><${end}${attributes(said)}>${xml(detail ?? '')}</${end}></testcase>\n`
}

const ends = { refused: 'failure', unknown: 'error', allowed: undefined } as const

const ofJudged = (file: string, judged: Judged): Case => {
  const { lines, outcome, reasons, milliseconds } = judged
  const end = ends[outcome]
  const own = { name: idOf(judged), classname: file, line: lines[0] ?? 1, milliseconds }
  if (end === undefined) return own
  const [first] = reasons
  return {
    ...own,
    end,
    ...(first && { type: first.code, message: `${first.code}: ${first.message}` }),
    detail: [
      ...reasons.map(({ code, message }) => `${code}: ${message}`),
      `${file}:${lines.join(', ')}`,
      `attestry why ${idOf(judged)}`,
    ].join('\n'),
  }
}

const ofPastProxy = (file: string, entry: PastProxy, strict: boolean): Case => ({
  name: idOf(entry),
  classname: `${file} past the proxy`,
  line: entry.line,
  milliseconds: 0,
  end: strict ? 'failure' : entry.covered ? 'skipped' : 'error',
  type: PAST_PROXY,
  message: entry.message,
  detail: `${codeText(PAST_PROXY)} ${file}:${entry.line}`,
})

const suite = (name: string, file: string, cases: readonly Case[]): string => {
  const ended = (end: Case['end']) => cases.filter(one => one.end === end).length
  const totals = {
    name,
    tests: cases.length,
    failures: ended('failure'),
    errors: ended('error'),
    skipped: ended('skipped'),
    time: seconds(cases.reduce((sum, { milliseconds }) => sum + milliseconds, 0)),
  }
  const body = cases.map(one => caseText(file, one)).join('')
  return `  <testsuite${attributes(totals)}>\n${body}  </testsuite>\n`
}

export const junitReport = (report: Report): string => {
  const { file, judged, pastProxy, notJudged, strict } = report
  const { outcome } = summaryOf(report)
  const unjudged = notJudged.map((entry): Case => ({
    name: idOf(entry),
    classname: file,
    line: entry.line,
    milliseconds: 0,
    end: 'skipped',
    message: `not judged: ${entry.kind}`,
  }))
  const cases = [...judged.map(one => ofJudged(file, one)), ...unjudged]
  const past = pastProxy.map(entry => ofPastProxy(file, entry, strict))
  const all = [...cases, ...past]
  const totals = {
    name: `attestry audit: ${outcome}`,
    tests: all.length,
    failures: all.filter(({ end }) => end === 'failure').length,
    errors: all.filter(({ end }) => end === 'error').length,
    time: seconds(report.milliseconds),
  }
  return [
    '<?xml version="1.0" encoding="UTF-8"?>\n',
    `<testsuites${attributes(totals)}>\n`,
    suite(file, file, cases),
    ...(past.length > 0 ? [suite(`${file} past the proxy`, file, past)] : []),
    '</testsuites>\n',
  ].join('')
}
