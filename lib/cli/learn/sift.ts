/** Which of what was judged may be learned: only what is clean by the policy in force. */
import type { Moved } from '../../learn/moved.ts'
import { observationOf, idOf, type Observation } from '../../learn/observation.ts'
import type { JudgeInput, State } from '../../types.ts'
import type { AuditReason, Judged } from '../audit/result.ts'

export type Left = {
  readonly name: string
  readonly version: string
  readonly reasons: readonly AuditReason[]
}

export type Sifted = {
  readonly observations: readonly Observation[]
  readonly refused: readonly Left[]
  /** It could not be checked, or is not there. */
  readonly unknown: readonly Left[]
  /** Let in by a waiver in spite of what was found: nothing to learn from. */
  readonly waived: readonly Left[]
}

/** A fact that does not verify is a finding even where a policy does not care. */
const findingsIn = ({ evidence }: JudgeInput, state: State): readonly AuditReason[] => {
  const { registrySignature, publishAttestation, provenance } = evidence
  return [registrySignature, publishAttestation, provenance].flatMap((fact): AuditReason[] => {
    if (fact.state !== state) return []
    if (fact.state === 'invalid') return [{ code: fact.code, message: fact.detail }]
    return fact.state === 'unavailable'
      ? [{ code: 'EVIDENCE_UNAVAILABLE', message: fact.detail }]
      : []
  })
}

const sortOf = (judged: Judged, input: JudgeInput | undefined): keyof Sifted => {
  // what a policy that only observes would refuse is refused here
  if (judged.outcome === 'refused') return 'refused'
  if (judged.outcome === 'unknown' || input === undefined) return 'unknown'
  if (judged.reasons.some(({ code }) => code !== 'EVIDENCE_UNAVAILABLE')) return 'refused'
  const isInvalid = findingsIn(input, 'invalid').length > 0
  const isUntold = judged.reasons.length + findingsIn(input, 'unavailable').length > 0
  if (judged.waiver !== undefined && (isInvalid || isUntold)) return 'waived'
  return isInvalid ? 'refused' : isUntold ? 'unknown' : 'observations'
}

/** `inputs` by `name@version`. A version is learned when all entries of it are clean. */
export const sift = (
  judged: readonly Judged[],
  inputs: ReadonlyMap<string, JudgeInput>,
): Sifted => {
  const sorted = judged.map(one => {
    const input = inputs.get(idOf(one))
    return { one, input, sort: sortOf(one, input) }
  })
  const left = (sort: 'refused' | 'unknown' | 'waived'): readonly Left[] =>
    sorted
      .filter(entry => entry.sort === sort)
      .map(({ one: { name, version, reasons }, input }) => {
        const state = sort === 'unknown' ? 'unavailable' : 'invalid'
        const found = reasons.length > 0 || !input ? reasons : findingsIn(input, state)
        return { name, version, reasons: found }
      })
  const unclean = new Set(sorted.filter(e => e.sort !== 'observations').map(e => idOf(e.one)))
  const clean = new Map(
    sorted.flatMap(({ one, input }) =>
      input && !unclean.has(idOf(one)) ? [[idOf(one), observationOf(input)] as const] : [],
    ),
  )
  return {
    observations: [...clean.values()],
    refused: left('refused'),
    unknown: left('unknown'),
    waived: left('waived'),
  }
}

/** What was learned of another publisher before is refused, as continuity would. */
export const withoutMoved = (sifted: Sifted, gone: readonly Moved[]): Sifted => {
  const found = new Set<Observation>(gone.map(({ observation }) => observation))
  const refused = gone.map(({ observation: { name, version }, wanted, found }): Left => {
    const message = `learned before was ${wanted}; this version was published by ${found}`
    const reason = { code: 'PUBLISHER_CHANGED' as const, message, wanted, found }
    return { name, version, reasons: [reason] }
  })
  return {
    ...sifted,
    observations: sifted.observations.filter(o => !found.has(o)),
    refused: [...sifted.refused, ...refused],
  }
}
