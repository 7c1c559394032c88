/**
 * Judges many package versions a few at a time. Versions of one package follow each other, so that
 * they share its packument; what fails is told as such and never passes for a verdict.
 */
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import type { Assessment } from '../../gate/assessments.ts'
import type { Integrity, PackageId } from '../../types.ts'
import { idOf, judgedBy, type Judged, type Subject } from './result.ts'

export type PoolOptions = {
  readonly assess: (id: PackageId, integrity?: Integrity) => Promise<Assessment>
  /** Packages judged at a time. */
  readonly concurrency?: number
  /** After so many failures of an upstream in a row it is not asked any more. */
  readonly patience?: number
  /** Which upstream a package is asked of. */
  readonly upstreamOf?: (name: string) => string
  readonly onStart?: (subject: Subject) => void
  readonly onJudged?: (judged: Judged) => void
}

/** It did not answer, or not in time; a strange answer to one question says nothing about others. */
const isUpstreamFailure = (error: unknown) =>
  isAttestryError(error) && (error.code === 'EUPSTREAM' || error.code === 'EUPSTREAMTIMEOUT')

const failed = (subject: Subject, error: unknown, milliseconds: number): Judged => ({
  ...subject,
  outcome: 'unknown',
  reasons: [
    { code: isAttestryError(error) ? error.code : 'EINTERNAL', message: messageOf(error) },
  ],
  pinned: false,
  milliseconds,
})

/** By name, those with most versions first, so that none is begun late and waited for alone. */
const groupsOf = (subjects: readonly Subject[]): readonly (readonly Subject[])[] => {
  const groups = new Map<string, Subject[]>()
  for (const subject of subjects) {
    const group = groups.get(subject.name)
    if (group) group.push(subject)
    else groups.set(subject.name, [subject])
  }
  return [...groups.values()].sort((a, b) => b.length - a.length)
}

/** By name, then as versions are read. */
export const byName = (a: PackageId, b: PackageId): number =>
  a.name === b.name
    ? idOf(a).localeCompare(idOf(b), 'en', { numeric: true })
    : a.name < b.name
      ? -1
      : 1

/** Never rejects for a package's sake; the result has one entry for each subject, by name. */
export const judgeAll = async (
  subjects: readonly Subject[],
  options: PoolOptions,
): Promise<readonly Judged[]> => {
  const { assess, concurrency = 16, patience = 32, onStart, onJudged } = options
  const judged: Judged[] = []
  const failures = new Map<string, number>()

  const judge = async (subject: Subject): Promise<Judged> => {
    const { name, version, integrity } = subject
    const upstream = options.upstreamOf?.(name) ?? ''
    const before = failures.get(upstream) ?? 0
    if (before >= patience) {
      const message = `It was not asked for: the upstream had failed ${before} times in a row.`
      return failed(subject, new AttestryError('EUPSTREAM', message), 0)
    }
    const started = performance.now()
    const elapsed = () => Math.round(performance.now() - started)
    try {
      const assessment = await assess({ name, version }, integrity)
      failures.set(upstream, 0)
      return judgedBy(subject, assessment, elapsed())
    } catch (error) {
      // a package that is not there is an answer of the upstream as well
      const inARow = (failures.get(upstream) ?? 0) + 1
      failures.set(upstream, isUpstreamFailure(error) ? inARow : 0)
      return failed(subject, error, elapsed())
    }
  }

  const waiting = groupsOf(subjects).values()
  const work = async () => {
    for (const group of waiting) {
      for (const subject of group) {
        onStart?.(subject)
        const one = await judge(subject)
        judged.push(one)
        onJudged?.(one)
      }
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  return judged.sort(byName)
}
