/** `attestry audit`: a lockfile in, a verdict on every package version in it out. */
import type { Settings } from '../config/settings.ts'
import { AttestryError } from '../errors.ts'
import { loadLockfileText, lockfileAt } from '../lockfile/find.ts'
import type { Lockfile } from '../lockfile/lockfile.ts'
import { readLockfile } from '../lockfile/read.ts'
import { upstreamFor } from '../policy/namespace.ts'
import { openRooms } from '../rooms.ts'
import { npmRegistry } from '../upstream/default-registry.ts'
import { changedLines, fixedLine, fixText, replaceFile } from './audit/fix.ts'
import { readOptions, type AuditOptions } from './audit/options.ts'
import { paintFor } from './audit/paint.ts'
import { judgeAll } from './audit/pool.ts'
import { openProgress } from './audit/progress.ts'
import { shownPath, writeReports } from './audit/reports.ts'
import { summaryOf, type Judged, type Report } from './audit/result.ts'
import { filtered, subjectsOf } from './audit/subjects.ts'
import { openCollector, writeSummaries } from './audit/vsa.ts'
import { waiverNotes } from './audit/waivers.ts'
import type { Io, Run } from './io.ts'
import { sessionSettings } from './session.ts'

/** Each package is looked at once, so that little has to be at hand for a second look. */
const MEMORY = 16 * 1024 * 1024

const lean = (settings: Settings): Settings => ({
  ...settings,
  // nobody comes back for what would be fetched behind
  cache: { ...settings.cache, staleWhileRevalidate: 0 },
  storage: { ...settings.storage, memory: Math.min(settings.storage.memory, MEMORY) },
})

type Target = {
  /** Absolute. */
  readonly file: string
  /** As people know it. */
  readonly shown: string
  readonly lockfile: Lockfile
  readonly fixed: number
}

/** Reads the lockfile and, where that is wanted, puts it right first. */
const openTarget = async (
  options: AuditOptions,
  registry: string,
  isRegistryKnown: boolean,
  io: Io,
): Promise<Target> => {
  const { cwd } = io
  const file = await lockfileAt(options.lockfile, cwd)
  const shown = shownPath(file, cwd)
  const text = await loadLockfileText(file)
  const lockfile = readLockfile(text, { file: shown })
  if (options.fix === 'no') return { file, shown, lockfile, fixed: 0 }
  if (!isRegistryKnown)
    throw new AttestryError(
      'EUSAGE',
      '--fix must be told where clients reach the proxy: --registry URL, or publicUrl in the settings',
    )
  const wanted = filtered(lockfile, options.filter)
  const after = fixText(text, wanted, { registry, npmRegistry })
  const output = options.destinations.some(to => to.file === '-') ? io.stderr : io.stdout
  const line = fixedLine(shown, after.fixed, registry, options.fix)
  if (options.fix === 'show') {
    const changes = changedLines(shown, text, after.text, paintFor(output, io.env))
    output.write(`${changes}${line}\n`)
    return { file, shown, lockfile, fixed: after.fixed }
  }
  const next = readLockfile(after.text, { file: shown })
  if (after.fixed > 0) await replaceFile(file, after.text)
  output.write(`${line}\n`)
  return { file, shown, lockfile: next, fixed: after.fixed }
}

const notesOf = (
  judged: readonly Judged[],
  stale: ReadonlySet<string>,
  { filter }: AuditOptions,
  { format }: Lockfile,
  offline: boolean,
): readonly string[] => {
  const looked = judged.filter(({ facts }) => facts !== undefined)
  const isStripped = looked.every(({ facts }) => facts?.registrySignature === 'absent')
  return [
    ...(format.startsWith('yarn') && filter.omit.length > 0
      ? [
          `yarn.lock does not tell what is for development or optional: --omit ${filter.omit.join(' ')} left nothing out.`,
        ]
      : []),
    ...(offline ? ['No registry was asked: all is as it was when it was last fetched.'] : []),
    ...Array.from(
      stale,
      name =>
        `The upstream ${name} could not be reached; for some packages its last word stood in.`,
    ),
    ...waiverNotes(judged, new Date()),
    ...(looked.length > 1 && isStripped
      ? [
          `None of ${looked.length} package versions has a registry signature: the upstream strips them or does not sign, so that nothing can be proven.`,
        ]
      : []),
  ]
}

const auditWith = async (options: AuditOptions, io: Io): Promise<number> => {
  const settings = lean(await sessionSettings(options.session, io))
  const registry = options.registry ?? settings.publicUrl
  const isKnown = options.registry !== undefined || settings.publicUrlGiven
  const { file, shown, lockfile, fixed } = await openTarget(options, registry, isKnown, io)
  const origins = [npmRegistry, ...settings.upstreams.map(({ url }) => url)]
  const found = subjectsOf(lockfile, {
    registry,
    npmRegistry,
    filter: options.filter,
    origins: origins.map(url => new URL(url).origin),
  })
  const stale = new Set<string>()
  const observer = { onStale: (_name: string, upstream: string) => void stale.add(upstream) }
  const started = performance.now()
  const offline = options.offline || settings.cache.offline
  if (options.vsa !== undefined && settings.summaries === undefined)
    throw new AttestryError('EUSAGE', '--vsa: the settings have no summaries to sign with')
  const rooms = await openRooms({ settings, observer, offline })
  const progress = openProgress({
    output: io.stderr,
    paint: paintFor(io.stderr, io.env),
    title: 'auditing',
    total: found.subjects.length,
  })
  let judged: readonly Judged[]
  let policyDigest: string
  try {
    const gate = rooms.openGate(settings.publicUrl)
    policyDigest = gate.policyDigest
    const collector = options.vsa === undefined ? undefined : openCollector(gate)
    judged = await judgeAll(found.subjects, {
      assess: collector?.assess ?? gate.assess,
      upstreamOf: name => upstreamFor(rooms.policies, name) ?? '',
      onStart: progress.at,
      onJudged: progress.step,
    })
    if (collector && options.vsa !== undefined)
      await writeSummaries(collector.collected, options.vsa, io.cwd)
  } finally {
    progress.end()
    await rooms.close()
  }
  const names = rooms.policies.map(policy => `${policy.name} (${policy.mode})`)
  const report: Report = {
    file: shown,
    format: lockfile.format,
    formatVersion: lockfile.formatVersion,
    at: new Date().toISOString(),
    milliseconds: Math.round(performance.now() - started),
    registry,
    registryGiven: isKnown,
    policies: names.length > 0 ? names : ['baseline (enforce)'],
    policyDigest,
    judged,
    notJudged: found.notJudged,
    pastProxy: found.pastProxy(judged),
    filtered: found.filtered,
    fixed,
    strict: options.strict,
    notes: notesOf(judged, stale, options, lockfile, offline),
  }
  await writeReports(report, file, options, io)
  return summaryOf(report).exitCode
}

export const audit: Run = async (args, io) => {
  const options = readOptions(args, io.env)
  if (!('help' in options)) return auditWith(options, io)
  io.stdout.write(options.help)
  return 0
}
