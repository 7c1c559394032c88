/** `attestry policy check`: errors and warnings about policy files, each at file:line:column. */
import { resolve } from 'node:path'
import type { Complaint } from '../../config/document.ts'
import { keyReader } from '../../config/key-file.ts'
import { readTextFile } from '../../config/text-file.ts'
import type { Settings } from '../../config/settings.ts'
import { isAttestryError } from '../../errors.ts'
import { policyDigest } from '../../policy/digest.ts'
import { lintPolicy, type LintOptions, type Warning } from '../../policy/lint.ts'
import { readPolicy } from '../../policy/parse.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { sessionJack, sessionSettings } from '../session.ts'
import { counted, paintFor, plain, wrap } from '../audit/paint.ts'
import { shownPath } from '../audit/reports.ts'
import { lockedPackages } from './locked.ts'

/** The shape of `--json`; `line` and `column` count from 1. */
type Finding = {
  readonly severity: 'error' | 'warning'
  /** Of warnings: which one. Of errors always `EPOLICY`. */
  readonly code: Warning['code'] | 'EPOLICY'
  readonly line: number
  readonly column: number
  readonly message: string
  readonly rule?: string
  readonly identity?: string
}
type FileReport = {
  readonly file: string
  /** sha256 over what the file says; none where it cannot be read as a policy. */
  readonly digest?: string
  readonly findings: readonly Finding[]
}

const options = () =>
  sessionJack(
    'attestry policy check [options] [file ...]',
    'Read policy files, by default those of the settings. Says what is wrong (exit code 1), and warns of rules that never govern, waivers at their end, identities nobody uses and what is wider than it looks.',
  )
    .opt({
      lockfile: {
        hint: 'file',
        description: 'Also warn of patterns that match nothing in this lockfile.',
      },
    })
    .flag({
      strict: { description: 'Warnings count as errors.' },
      json: { description: 'Print JSON.' },
    })

const complaintsOf = (error: unknown): readonly Complaint[] | undefined => {
  if (!isAttestryError(error)) return undefined
  const { complaints } = error.details
  return Array.isArray(complaints) ? (complaints as readonly Complaint[]) : undefined
}

const checkFile = async (
  file: string,
  upstreams: readonly string[] | undefined,
  lint: LintOptions,
): Promise<FileReport> => {
  const text = await readTextFile(file, 'EPOLICY')
  try {
    const located = readPolicy(text, {
      file,
      readKey: keyReader(file),
      ...(upstreams && { upstreams }),
    })
    return {
      file,
      digest: policyDigest([located.policy]),
      findings: lintPolicy(located, lint).map(({ file: _file, ...warning }) => ({
        severity: 'warning',
        ...warning,
      })),
    }
  } catch (error) {
    const complaints = complaintsOf(error)
    if (complaints === undefined) throw error
    return {
      file,
      findings: complaints.map(({ line, column, message }) => ({
        severity: 'error' as const,
        code: 'EPOLICY' as const,
        line,
        column,
        message,
      })),
    }
  }
}

const print = (reports: readonly FileReport[], { stdout, env, cwd }: Io) => {
  const paint = paintFor(stdout, env)
  const width = stdout.isTTY === true ? Math.max(40, stdout.columns ?? 80) : undefined
  for (const { file, findings } of reports) {
    for (const { severity, code, line, column, message } of findings) {
      const place = plain(`${shownPath(file, cwd)}:${line}:${column}:`)
      const colour = severity === 'error' ? 'red' : 'magenta'
      const head = `${paint('bold', place)} ${paint(colour, severity)}:`
      const said = plain(code === 'EPOLICY' ? message : `${message} (${code})`)
      // one line for each where a program may read it
      const text =
        width === undefined
          ? `${head} ${said}\n`
          : [head, ...wrap(said, width - 2).map(part => `  ${part}`), ''].join('\n')
      stdout.write(text)
    }
  }
  const all = reports.flatMap(report => report.findings)
  const count = (severity: Finding['severity']) =>
    counted(all.filter(finding => finding.severity === severity).length, severity)
  const summary = `${counted(reports.length, 'policy file')}: ${count('error')}, ${count('warning')}`
  stdout.write(`${all.length > 0 ? '\n' : ''}${summary}\n`)
}

/** Upstreams are only known where somebody configured them. */
const configured = (settings: Settings): readonly string[] | undefined =>
  settings.file === undefined ? undefined : settings.upstreams.map(({ name }) => name)

export const check: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const settings = await sessionSettings(values, io)
  const files =
    positionals.length > 0
      ? positionals.map(file => resolve(io.cwd, file))
      : [...settings.policies]
  const lint: LintOptions = {
    now: new Date(),
    ...(values.lockfile !== undefined && {
      packages: await lockedPackages(values.lockfile, io.cwd),
    }),
  }
  const reports: FileReport[] = []
  for (const file of files) reports.push(await checkFile(file, configured(settings), lint))
  const found = reports.flatMap(report => report.findings)
  const counts = values.strict ? found : found.filter(({ severity }) => severity === 'error')
  const ok = counts.length === 0
  if (values.json)
    io.stdout.write(
      `${JSON.stringify({ ok, strict: values.strict === true, files: reports }, undefined, 2)}\n`,
    )
  else if (reports.length === 0)
    io.stdout.write('No policy file is configured: the built-in baseline judges.\n')
  else print(reports, io)
  return ok ? 0 : 1
}
