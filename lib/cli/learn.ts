/** `attestry learn`: verifies what is there, and writes a policy that pins the publishers found. */
import { resolve } from 'node:path'
import type { Settings } from '../config/settings.ts'
import { AttestryError } from '../errors.ts'
import { forget } from '../learn/forget.ts'
import { learn as learnFrom, type Lesson } from '../learn/learn.ts'
import { moved } from '../learn/moved.ts'
import { idOf, isBuilt } from '../learn/observation.ts'
import { objections } from '../learn/prove.ts'
import { readSource, type Source } from '../learn/source.ts'
import { unifiedDiff } from '../learn/unified-diff.ts'
import { upstreamFor } from '../policy/namespace.ts'
import type { Policy } from '../policy/policy.ts'
import { openRooms, type Rooms } from '../rooms.ts'
import type { JudgeInput } from '../types.ts'
import { paintFor, type Paint } from './audit/paint.ts'
import { judgeAll } from './audit/pool.ts'
import { openProgress } from './audit/progress.ts'
import type { Io, Run } from './io.ts'
import { readOptions, type LearnOptions } from './learn/options.ts'
import { exitCode, jsonReport, summaryText, type Outcome } from './learn/report.ts'
import { sift, withoutMoved, type Sifted } from './learn/sift.ts'
import { lockedSubjects, recordedSubjects, type Found } from './learn/subjects.ts'
import { openTarget, writeTarget, type Target } from './learn/target.ts'
import { sessionSettings } from './session.ts'

const DAY = 86_400_000
/** Each package is looked at once, so that little has to be at hand for a second look. */
const MEMORY = 64 * 1024 * 1024

const lean = (settings: Settings): Settings => ({
  ...settings,
  storage: { ...settings.storage, memory: Math.min(settings.storage.memory, MEMORY) },
})

/** The layers with a policy in the place of the target, or behind them where it is not among them. */
const layersAround =
  (policies: readonly Policy[], { file }: Target) =>
  (policy: Policy): readonly Policy[] => {
    const isTarget = (layer: Policy) => layer.file !== undefined && resolve(layer.file) === file
    return policies.some(isTarget)
      ? policies.map(layer => (isTarget(layer) ? policy : layer))
      : [...policies, policy]
  }

const heading = (found: Found, now: Date): readonly string[] => {
  const day = now.toISOString().slice(0, 10)
  const what =
    found.origin.kind === 'lockfile'
      ? `Who builds what is in ${found.origin.file}, as it was verified on ${day}.`
      : `Who builds what was admitted since ${found.origin.since.slice(0, 10)}, as it was verified on ${day}.`
  return [
    what.replaceAll(/\s+/g, ' '),
    'What is marked "learned" may be learned afresh; without the mark it is kept.',
  ]
}

const gather = async (
  found: Found,
  rooms: Rooms,
  settings: Settings,
  policies: readonly Policy[],
  { offline }: LearnOptions,
  io: Io,
): Promise<{ readonly sifted: Sifted; readonly inputs: ReadonlyMap<string, JudgeInput> }> => {
  const gate = rooms.openGate(settings.publicUrl)
  gate.adopt(policies)
  const inputs = new Map<string, JudgeInput>()
  const progress = openProgress({
    output: io.stderr,
    paint: paintFor(io.stderr, io.env),
    title: 'verifying',
    total: found.subjects.length,
  })
  try {
    const judged = await judgeAll(found.subjects, {
      assess: async (id, integrity) => {
        const assessment = await gate.assess(id, integrity)
        inputs.set(idOf(id), assessment.input)
        return assessment
      },
      upstreamOf: name => upstreamFor(policies, name) ?? '',
      ...(offline && { patience: Number.POSITIVE_INFINITY }),
      onStart: progress.at,
      onJudged: progress.step,
    })
    return { sifted: sift(judged, inputs), inputs }
  } finally {
    progress.end()
  }
}

/** Nothing is shown or written that would refuse what it was learned from. */
const proven = (
  lesson: Lesson,
  sifted: Sifted,
  inputs: ReadonlyMap<string, JudgeInput>,
  around: (policy: Policy) => readonly Policy[],
  { shown }: Target,
  now: Date,
): void => {
  const learned = sifted.observations.filter(o => !lesson.unwritable.includes(o))
  const objecting = objections(lesson.text, {
    file: shown,
    among: around,
    learned: learned.flatMap(o => inputs.get(idOf(o)) ?? []),
    pinned: new Set(learned.filter(o => isBuilt(o) && !lesson.own.includes(o)).map(idOf)),
    now,
  })
  if (objecting.length === 0) return
  const [first] = objecting
  throw new AttestryError(
    'EINTERNAL',
    `The policy that was made does not do what it should; nothing was written. ${first}${objecting.length > 1 ? `, and ${objecting.length - 1} more` : ''}`,
    { details: { objections: objecting } },
  )
}

/** As some editors write: a carriage return before each line break. */
const isCrlf = (text = ''): boolean => text.includes('\r\n') && !/(?<!\r)\n/.test(text)
const withLf = (text: string): string => (isCrlf(text) ? text.replaceAll('\r\n', '\n') : text)

const run = async (options: LearnOptions, io: Io): Promise<Outcome> => {
  const settings = lean(await sessionSettings(options.session, io))
  const target = await openTarget(options.output, settings, io.cwd)
  const source =
    target.text === undefined ? undefined : readSource(withLf(target.text), target.shown)
  const now = new Date()
  const { lockfile, days, offline, afresh } = options
  const locked =
    days === undefined ? await lockedSubjects(lockfile, io.cwd, settings.publicUrl) : undefined
  const rooms = await openRooms({ settings, offline })
  try {
    const since = new Date(now.getTime() - (days ?? 0) * DAY)
    const found = locked ?? (await recordedSubjects(rooms.store.audit, since))
    const around = layersAround(rooms.policies, target)
    const stays = (keep: ReadonlySet<string>): Source | undefined =>
      source && afresh ? forget(source, keep) : source
    const first = stays(new Set())
    const policies = first ? around(first.policy) : rooms.policies
    const { sifted: clean, inputs } = await gather(
      found,
      rooms,
      settings,
      policies,
      options,
      io,
    )
    const sifted =
      source && afresh ? withoutMoved(clean, moved(source, clean.observations)) : clean
    const left = [...sifted.refused, ...sifted.unknown, ...sifted.waived].map(l => l.name)
    const base = stays(new Set(left))
    const lesson = learnFrom({
      observations: sifted.observations,
      others: left,
      ...(base && { source: base }),
      file: target.shown,
      heading: heading(found, now),
    })
    proven(lesson, sifted, inputs, around, target, now)
    const names = { before: target.shown, after: target.shown }
    const text = isCrlf(target.text) ? lesson.text.replaceAll('\n', '\r\n') : lesson.text
    // a new policy that says nothing would only be taken for one that says something
    const isEmpty = lesson.identities.length + lesson.rules.length === 0
    const changed = text !== target.text && !(isEmpty && target.text === undefined)
    if (options.write && changed) await writeTarget(target, text)
    return {
      origin: found.origin,
      sifted,
      lesson,
      file: target.shown,
      isThere: target.text !== undefined,
      written: options.write && changed,
      elsewhere: found.elsewhere,
      diff: target.text === undefined ? '' : unifiedDiff(target.text, text, names),
      afresh,
    }
  } finally {
    await rooms.close()
  }
}

const coloured = (diff: string, paint: Paint): string =>
  diff.replaceAll(/^.*$/gm, line =>
    line.startsWith('+')
      ? paint('green', line)
      : line.startsWith('-')
        ? paint('red', line)
        : line.startsWith('@')
          ? paint('dim', line)
          : line,
  )

export const learn: Run = async (args, io) => {
  const options = readOptions(args)
  if ('help' in options) {
    io.stdout.write(options.help)
    return 0
  }
  const outcome = await run(options, io)
  if (options.json) io.stdout.write(jsonReport(outcome))
  else {
    if (outcome.isThere) io.stdout.write(coloured(outcome.diff, paintFor(io.stdout, io.env)))
    else if (!outcome.written) io.stdout.write(outcome.lesson.text)
    // on a terminal the two follow each other
    if (!outcome.written && io.stdout.isTTY === true) io.stderr.write('\n')
    const columns = Math.max(40, Math.min(io.stderr.columns ?? 100, 100))
    io.stderr.write(summaryText(outcome, { columns, paint: paintFor(io.stderr, io.env) }))
  }
  return exitCode(outcome)
}
