/** `attestry policy diff`: whose verdict another policy would change, before it is in force. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Settings } from '../../config/settings.ts'
import { AttestryError } from '../../errors.ts'
import { policyDigest } from '../../policy/digest.ts'
import { inForce } from '../../policy/baseline.ts'
import type { Policy } from '../../policy/policy.ts'
import { loadPolicies } from '../../open-policies.ts'
import { paintFor } from '../audit/paint.ts'
import { openProgress } from '../audit/progress.ts'
import { shownPath } from '../audit/reports.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { openSession, sessionJack } from '../session.ts'
import { comparePolicies } from './compare.ts'
import { diffJson, diffText, exitCode, type Diff, type Side } from './diff-report.ts'
import { lockedPackages } from './locked.ts'
import { recordedPackages } from './recorded.ts'

const DAY = 86_400_000
const ROWS = 20

const options = () =>
  sessionJack(
    'attestry policy diff [options] OLD NEW',
    'Judge the package versions of a lockfile, or those that were asked for lately, by two policy files, and tell whose verdict changes. OLD may be the word baseline. Where OLD is one of the configured policies, NEW takes its place among the others.',
  )
    .opt({
      lockfile: {
        hint: 'file',
        description: 'Judge what this lockfile names; a folder stands for its lockfile.',
      },
    })
    .num({
      days: {
        hint: 'days',
        description: 'Judge what was asked for in so many days; default 30.',
        validate: value =>
          Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 3650,
      },
    })
    .flag({
      all: { description: `Show all changes, not ${ROWS} of each kind.` },
      json: { description: 'Print JSON.' },
    })

/** The layers with `file` in the place of the old one; alone where that is not configured. */
const layersWith = (settings: Settings, old: string, file: string): readonly string[] =>
  settings.policies.includes(old)
    ? settings.policies.map(layer => (layer === old ? file : layer))
    : [file]

const isFile = async (file: string) =>
  (await stat(file).catch(() => undefined))?.isFile() === true

const sideOf = (policies: readonly Policy[]): Side => ({
  policies: inForce(policies).map(({ name }) => name),
  digest: policyDigest(policies),
})

type Values = ReturnType<ReturnType<typeof options>['parse']>['values']

const compareWith = async (
  values: Values,
  [oldName, newName]: readonly [string, string],
  io: Io,
): Promise<Diff> => {
  const session = await openSession(values, io)
  const { settings, rooms, gate } = session
  try {
    const upstreams = settings.upstreams.map(({ name }) => name)
    const [oldFile, newFile] = [resolve(io.cwd, oldName), resolve(io.cwd, newName)]
    const load = async (name: string, file: string) =>
      name === 'baseline' && !(await isFile(file))
        ? []
        : loadPolicies(layersWith(settings, oldFile, file), upstreams)
    const [old, next] = [await load(oldName, oldFile), await load(newName, newFile)]
    const now = new Date()
    const since = new Date(now.getTime() - (values.days ?? 30) * DAY)
    const subjects =
      values.lockfile === undefined
        ? await recordedPackages(rooms.store.audit, since)
        : await lockedPackages(values.lockfile, io.cwd)
    const progress = openProgress({
      output: io.stderr,
      paint: paintFor(io.stderr, io.env),
      title: 'comparing',
      total: subjects.length,
    })
    try {
      const comparison = await comparePolicies({
        gate,
        old,
        next,
        subjects,
        now,
        onStart: progress.at,
        onJudged: progress.step,
      })
      return {
        ...comparison,
        old: sideOf(old),
        new: sideOf(next),
        source:
          values.lockfile === undefined
            ? { kind: 'record', since: since.toISOString() }
            : { kind: 'lockfile', file: shownPath(resolve(io.cwd, values.lockfile), io.cwd) },
      }
    } finally {
      progress.end()
    }
  } finally {
    await session.close()
  }
}

export const diff: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [old, next, ...more] = positionals
  if (old === undefined || next === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'policy diff: wanted two policy files, OLD and NEW')
  if (values.lockfile !== undefined && values.days !== undefined)
    throw new AttestryError('EUSAGE', 'policy diff: wanted --lockfile or --days, not both')
  const found = await compareWith(values, [old, next], io)
  const columns = Math.max(40, Math.min(io.stdout.columns ?? 100, 140))
  const paint = paintFor(io.stdout, io.env)
  const most = values.all ? Number.MAX_SAFE_INTEGER : ROWS
  io.stdout.write(values.json ? diffJson(found) : diffText(found, { columns, paint, most }))
  return exitCode(found)
}
