/**
 * Judges package versions by two sets of policies. Each is assessed once and its facts are judged
 * twice; only where the new policies ask for facts that the old ones do not, it is looked at again.
 */
import type { AttestryError } from '../../errors.ts'
import type { Assessment } from '../../gate/assessments.ts'
import type { Gate } from '../../gate/gate.ts'
import { publisherPredecessors } from '../../policy/continuity.ts'
import { judge } from '../../policy/evaluate.ts'
import { upstreamFor } from '../../policy/namespace.ts'
import type { Policy } from '../../policy/policy.ts'
import type { JudgeInput, PackageId } from '../../types.ts'
import { byName, judgeAll } from '../audit/pool.ts'
import type { Subject } from '../audit/result.ts'
import { changeOf, standingOf, type Change, type Standing } from './changes.ts'
import type { Pinned } from './locked.ts'

/** A version that nobody could judge, and under which policies that was. */
export type Unknown = {
  readonly package: PackageId
  readonly under: 'old' | 'new'
  readonly code: AttestryError['code']
  readonly message: string
}

export type Comparison = {
  /** By kind, then by name. */
  readonly changes: readonly Change[]
  readonly unknown: readonly Unknown[]
  /** Versions looked at. */
  readonly judged: number
}

export type CompareOptions = {
  /** Of a session of its own: other policies are put in force here. */
  readonly gate: Pick<Gate, 'assess' | 'adopt'>
  readonly old: readonly Policy[]
  readonly next: readonly Policy[]
  readonly subjects: readonly Pinned[]
  readonly now: Date
  readonly onStart?: (subject: Subject) => void
  readonly onJudged?: () => void
}

const keyOf = ({ name, version, integrity }: Pinned) =>
  JSON.stringify([name, version, integrity])

/** Do the new policies rest on facts that were not asked for under the old ones? */
const asksForMore = ({ old, next }: CompareOptions, input: JudgeInput): boolean =>
  upstreamFor(next, input.package.name) !== upstreamFor(old, input.package.name) ||
  publisherPredecessors(next, input).length > 0

export const comparePolicies = async (options: CompareOptions): Promise<Comparison> => {
  const { gate, old, next, now } = options
  const before = new Map<string, Standing>()
  const after = new Map<string, Standing>()
  const again = new Set<string>()
  const unknown: Unknown[] = []

  const pass = async (
    under: Unknown['under'],
    subjects: readonly Pinned[],
    each: (key: string, assessment: Assessment) => void,
  ) => {
    const judged = await judgeAll(
      subjects.map(subject => ({ ...subject, lines: [], dev: false, optional: false })),
      {
        assess: async (id, integrity) => {
          const assessment = await gate.assess(id, integrity)
          each(keyOf({ ...id, ...(integrity && { integrity }) }), assessment)
          return assessment
        },
        upstreamOf: name => upstreamFor(under === 'old' ? old : next, name) ?? '',
        ...(options.onStart && { onStart: options.onStart }),
        onJudged: () => options.onJudged?.(),
      },
    )
    for (const one of judged) {
      if ((under === 'old' ? before : after).has(keyOf(one)) || again.has(keyOf(one))) continue
      const [reason] = one.reasons
      unknown.push({
        package: { name: one.name, version: one.version },
        under,
        code: (reason?.code ?? 'EINTERNAL') as Unknown['code'],
        message: reason?.message ?? 'no verdict was reached',
      })
    }
  }

  gate.adopt(old)
  await pass('old', options.subjects, (key, { input }) => {
    before.set(key, standingOf(judge(old, input, now)))
    if (asksForMore(options, input)) again.add(key)
    else after.set(key, standingOf(judge(next, input, now)))
  })
  const more = options.subjects.filter(subject => again.has(keyOf(subject)))
  again.clear()
  if (more.length > 0) {
    gate.adopt(next)
    await pass('new', more, (key, { input }) => {
      after.set(key, standingOf(judge(next, input, now)))
    })
  }
  const changes = options.subjects.flatMap(subject => {
    const [was, is] = [before.get(keyOf(subject)), after.get(keyOf(subject))]
    return was && is ? (changeOf(subject, was, is) ?? []) : []
  })
  return {
    changes: changes.sort((a, b) => byName(a.package, b.package)),
    unknown: unknown.sort((a, b) => byName(a.package, b.package)),
    judged: options.subjects.length,
  }
}
