/** What another policy changes about one package version. Pure. */
import { tellingReasons } from '../../gate/reasons.ts'
import type { Decision, PackageId, Reason, Verdict } from '../../types.ts'

/** What one set of policies says of a version. */
export type Standing = {
  readonly decision: Decision
  /** `policy#rule` that decided. */
  readonly rule: string
  /** With `allow`: what observe mode lets through. */
  readonly reasons: readonly Pick<Reason, 'code' | 'message'>[]
}

export const changeKinds = ['refused', 'admitted', 'unchecked', 'reasons'] as const
/**
 * `refused`, `admitted`: newly so. `unchecked`: it is not served for now, because what the new
 * policy asks for could not be looked at. `reasons`: decided as before, for other reasons.
 */
export type ChangeKind = (typeof changeKinds)[number]

export type Change = {
  readonly package: PackageId
  readonly kind: ChangeKind
  readonly old: Standing
  readonly new: Standing
}

export const standingOf = (verdict: Verdict): Standing => {
  const layer = verdict.layers.find(({ reasons }) => reasons.length > 0) ?? verdict.layers[0]
  return {
    decision: verdict.decision,
    rule: layer ? `${layer.policy}#${layer.rule}` : 'none',
    reasons: tellingReasons(verdict).map(({ code, message }) => ({ code, message })),
  }
}

const codesOf = ({ reasons }: Standing): string =>
  [...new Set(reasons.map(({ code }) => code))].sort().join()

const kinds: Readonly<Record<Decision, ChangeKind>> = {
  refuse: 'refused',
  allow: 'admitted',
  unavailable: 'unchecked',
}

/** Undefined when it is decided as before and for the same reasons, whichever rule says so. */
export const changeOf = (id: PackageId, old: Standing, next: Standing): Change | undefined => {
  const { name, version } = id
  const changed = { package: { name, version }, old, new: next }
  if (old.decision !== next.decision) return { ...changed, kind: kinds[next.decision] }
  return codesOf(old) === codesOf(next) ? undefined : { ...changed, kind: 'reasons' }
}
