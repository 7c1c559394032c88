/** Where the reports go: stdout, files, and the places GitHub Actions reads. */
import { appendFile, writeFile } from 'node:fs/promises'
import { isAbsolute, relative, resolve, sep } from 'node:path'
import { AttestryError, messageOf } from '../../errors.ts'
import type { Io } from '../io.ts'
import { annotations } from './annotations.ts'
import { jsonReport } from './json.ts'
import { junitReport } from './junit.ts'
import { fitting } from './markdown.ts'
import type { AuditOptions, Format } from './options.ts'
import { paintFor } from './paint.ts'
import type { Report } from './result.ts'
import { sarifReport } from './sarif.ts'
import { tableReport } from './table.ts'

/** Rows of each reason shown to people when not all are wanted. */
const ROWS = 10
/** Rows of a Markdown table, and annotations. */
const SUMMARY_ROWS = 100
const ANNOTATIONS = 50

/** Wider than this, lines are hard to follow; where nobody knows the width, as in a pipe, 100. */
const WIDEST = 140
const USUAL = 100

const most = (rows: number, all: boolean) => (all ? Number.MAX_SAFE_INTEGER : rows)

/**
 * A file as reports name it: below `from` by its path there with slashes, else absolute.
 */
export const shownPath = (file: string, from: string): string => {
  const path = relative(from, file)
  const below = path !== '' && !isAbsolute(path) && path.split(sep)[0] !== '..'
  return below ? path.split(sep).join('/') : file
}

const textOf = (format: Format, report: Report, all: boolean): string => {
  switch (format) {
    case 'json':
      return jsonReport(report)
    case 'sarif':
      return sarifReport(report)
    case 'junit':
      return junitReport(report)
    case 'markdown':
      return fitting(report, most(SUMMARY_ROWS, all))
  }
}

const attempt = async (file: string, write: () => Promise<void>): Promise<void> => {
  try {
    await write()
  } catch (cause) {
    const message = `${file}: the report cannot be written: ${messageOf(cause)}`
    throw new AttestryError('EUSAGE', message, { cause })
  }
}

/** `file` is the lockfile's absolute path. Throws EUSAGE when a report cannot be written. */
export const writeReports = async (
  report: Report,
  file: string,
  { destinations, annotations: annotated, all }: AuditOptions,
  io: Io,
): Promise<void> => {
  const { stdout, stderr, env, cwd } = io
  // code scanning and annotations go by the repository, wherever in it we run
  const root = env.GITHUB_ACTIONS === 'true' ? env.GITHUB_WORKSPACE : undefined
  const rooted = { ...report, file: shownPath(file, root ?? cwd) }
  const printed = destinations.find(destination => destination.file === '-')
  if (printed) {
    const from = printed.format === 'sarif' ? rooted : report
    stdout.write(textOf(printed.format, from, all))
  } else {
    const columns = Math.max(40, Math.min(stdout.columns ?? USUAL, WIDEST))
    const paint = paintFor(stdout, env)
    stdout.write(tableReport(report, { columns, paint, most: most(ROWS, all) }))
  }
  if (annotated) {
    // a machine reads what is printed: these go where GitHub finds them as well
    const output = printed ? stderr : stdout
    output.write(annotations(rooted, most(ANNOTATIONS, all)))
  }
  for (const destination of destinations.filter(({ file }) => file !== '-')) {
    const to = resolve(cwd, destination.file)
    const from = destination.format === 'sarif' ? rooted : report
    await attempt(to, () => writeFile(to, textOf(destination.format, from, all)))
  }
  const summary = env.GITHUB_STEP_SUMMARY
  if (env.GITHUB_ACTIONS === 'true' && summary !== undefined && summary !== '') {
    const text = `${fitting(report, most(SUMMARY_ROWS, all))}\n`
    await attempt(summary, () => appendFile(summary, text))
  }
}
