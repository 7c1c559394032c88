/** `attestry policy test`: runs the cases beside a policy as unit tests of it. */
import { stat } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { complaintText } from '../../config/document.ts'
import { readTextFile } from '../../config/text-file.ts'
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import type { Gate } from '../../gate/gate.ts'
import { misses, readCases, type Expectation, type PolicyCase } from '../../policy/cases.ts'
import { policyDigest } from '../../policy/digest.ts'
import { judge } from '../../policy/evaluate.ts'
import type { Policy } from '../../policy/policy.ts'
import type { Verdict } from '../../types.ts'
import { loadPolicies } from '../../open-policies.ts'
import { counted, paintFor, plain, wrap } from '../audit/paint.ts'
import { shownPath } from '../audit/reports.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { openSession, sessionJack, sessionSettings, type Session } from '../session.ts'
import { standingOf, type Standing } from './changes.ts'

/** The shape of `--json`, one for each case; `line` and `column` are those of `expect`. */
type CaseReport = {
  readonly name: string
  readonly package: string
  readonly line: number
  readonly column: number
  /** `unknown`: the package could not be looked up. */
  readonly result: 'ok' | 'failed' | 'unknown'
  readonly expected: Expectation
  /** None where nothing was judged. */
  readonly found?: Standing
  /** What is other than expected, or why nothing was judged. */
  readonly messages: readonly string[]
}

type FileReport = {
  readonly file: string
  /** The layers that judged, by name. */
  readonly policies: readonly string[]
  readonly digest: string
  readonly cases: readonly CaseReport[]
}

const options = () =>
  sessionJack(
    'attestry policy test [options] [file ...]',
    'Run the cases of test files, by default NAME.test.yaml beside each configured policy NAME.yaml. Facts are given in the cases, or looked up where a case says so.',
  ).flag({ json: { description: 'Print JSON.' } })

const isFile = async (file: string) =>
  (await stat(file).catch(() => undefined))?.isFile() === true

/** `p.policy.test.yaml` ↔ `p.policy.yaml`. */
const testOf = (policy: string) => policy.replace(/(\.ya?ml)$/, '.test$1')
const policyOf = (test: string) => test.replace(/\.test(\.ya?ml)$/, '$1')

const policiesFor = async (
  file: string,
  written: readonly string[] | undefined,
): Promise<readonly Policy[]> => {
  const beside = policyOf(file)
  if (written === undefined && beside === file)
    throw new AttestryError(
      'EPOLICY',
      `${file}:1:1: which policy? wanted policies: in this file, or a name that ends in .test.yaml`,
    )
  return loadPolicies(written?.map(name => resolve(dirname(file), name)) ?? [beside])
}

const reportOf = (
  one: PolicyCase,
  rest: Pick<CaseReport, 'result' | 'messages'> & { readonly found?: Standing },
): CaseReport => ({
  name: one.name,
  package: `${one.package.name}@${one.package.version}`,
  line: one.place.line,
  column: one.place.column,
  expected: one.expect,
  ...rest,
})

const judged = (one: PolicyCase, verdict: Verdict): CaseReport => {
  const found = misses(one.expect, verdict)
  const standing = standingOf(verdict)
  const why = standing.reasons.map(({ code, message }) => `${code}: ${message}`)
  return reportOf(one, {
    result: found.length === 0 ? 'ok' : 'failed',
    found: standing,
    messages: found.length === 0 ? [] : [...found, `by ${standing.rule}`, ...why],
  })
}

type Lookup = () => Promise<Pick<Gate, 'assess' | 'adopt'>>

const runCase = async (
  one: PolicyCase,
  policies: readonly Policy[],
  lookup: Lookup,
): Promise<CaseReport> => {
  if (one.input) return judged(one, judge(policies, one.input, one.now))
  const gate = await lookup()
  gate.adopt(policies)
  try {
    const { input } = await gate.assess(one.package)
    return judged(one, judge(policies, input, one.now))
  } catch (error) {
    if (!isAttestryError(error)) throw error
    return reportOf(one, {
      result: 'unknown',
      messages: [`it could not be looked up: ${error.code}: ${messageOf(error)}`],
    })
  }
}

const runFile = async (file: string, now: Date, lookup: Lookup): Promise<FileReport> => {
  const { policies: written, cases } = readCases(await readTextFile(file, 'EPOLICY'), {
    file,
    now,
  })
  const policies = await policiesFor(file, written)
  const reports: CaseReport[] = []
  for (const one of cases) reports.push(await runCase(one, policies, lookup))
  return {
    file,
    policies: policies.map(({ name }) => name),
    digest: policyDigest(policies),
    cases: reports,
  }
}

const print = (files: readonly FileReport[], { stdout, env, cwd }: Io) => {
  const paint = paintFor(stdout, env)
  const columns = Math.max(40, Math.min(stdout.columns ?? 100, 140))
  const marks = {
    ok: paint('green', 'ok  '),
    failed: paint(['red', 'bold'], 'FAIL'),
    unknown: paint(['magenta', 'bold'], '?   '),
  }
  for (const { file, policies, cases } of files) {
    const shown = shownPath(file, cwd)
    stdout.write(`${paint('bold', plain(`${shown}: ${policies.join(', ')}`))}\n`)
    for (const { name, line, column, result, messages } of cases) {
      const [head = '', ...more] = wrap(plain(name), columns - 7)
      stdout.write(`  ${marks[result]} ${head}\n`)
      for (const part of more) stdout.write(`       ${part}\n`)
      if (result === 'ok') continue
      const [first = '', ...rest] = messages
      const placed = complaintText({ file: shown, line, column, message: first })
      for (const text of [placed, ...rest])
        stdout.write(
          wrap(plain(text), columns - 7)
            .map(part => `       ${part}\n`)
            .join(''),
        )
    }
    stdout.write('\n')
  }
  const all = files.flatMap(({ cases }) => cases)
  const count = (result: CaseReport['result']) =>
    all.filter(one => one.result === result).length
  const [failed, unknown] = [count('failed'), count('unknown')]
  const parts = [
    `${count('ok')} passed`,
    failed > 0 ? paint(['red', 'bold'], `${failed} failed`) : `${failed} failed`,
    ...(unknown > 0 ? [paint(['magenta', 'bold'], `${unknown} could not be judged`)] : []),
  ]
  stdout.write(`${counted(all.length, 'case')}: ${parts.join(', ')}\n`)
}

const filesOf = async (
  positionals: readonly string[],
  configured: readonly string[],
  cwd: string,
): Promise<readonly string[]> => {
  if (positionals.length > 0) return positionals.map(file => resolve(cwd, file))
  const beside = configured.map(testOf)
  const present: string[] = []
  for (const file of beside) if (await isFile(file)) present.push(file)
  if (present.length > 0) return present
  const where =
    configured.length === 0
      ? 'no policy is configured'
      : `there is no ${beside.map(file => basename(file)).join(' or ')} beside the policy`
  throw new AttestryError('EUSAGE', `policy test: wanted a test file; ${where}`)
}

export const runCases: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { policies } = await sessionSettings(values, io)
  const files = await filesOf(positionals, policies, io.cwd)
  // most tests look up nothing, and need neither store nor network
  let session: Session | undefined
  const lookup = async () => {
    session ??= await openSession(values, io)
    return session.gate
  }
  const reports: FileReport[] = []
  try {
    const now = new Date()
    for (const file of files) reports.push(await runFile(file, now, lookup))
  } finally {
    await session?.close()
  }
  const results = new Set(reports.flatMap(({ cases }) => cases.map(({ result }) => result)))
  const ok = !results.has('failed') && !results.has('unknown')
  if (values.json) io.stdout.write(`${JSON.stringify({ ok, files: reports }, undefined, 2)}\n`)
  else print(reports, io)
  return results.has('failed') ? 1 : ok ? 0 : 2
}
