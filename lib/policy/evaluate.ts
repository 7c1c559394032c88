/** From evidence to a verdict. Pure: what it rests on is handed in, the time too. */
import type { Decision, Verdict } from '../types.ts'
import { inForce } from './baseline.ts'
import { policyDigest } from './digest.ts'
import { judgeLayer, type LayerJudgement } from './layer.ts'
import type { Judge } from './policy.ts'
import { isDefinite, merged, neverBends } from './reason.ts'

/** Reasons that count against a version: those of enforcing layers, and those no mode lets through. */
const enforced = (layers: readonly LayerJudgement[]) =>
  merged(
    layers.flatMap(({ verdict }) =>
      verdict.mode === 'enforce' ? verdict.reasons : verdict.reasons.filter(neverBends),
    ),
  )

/** Every layer must allow. The decision with what it rests on, layer by layer. */
export const judgeLayers = (
  ...[policies, input, now]: Parameters<Judge>
): { readonly verdict: Verdict; readonly layers: readonly LayerJudgement[] } => {
  const layers = inForce(policies).map(policy => judgeLayer(policy, input, now))
  const against = enforced(layers)
  const decision: Decision = against.some(isDefinite)
    ? 'refuse'
    : against.length > 0
      ? 'unavailable'
      : 'allow'
  const changes = layers.flatMap(l => l.changes)
  const next = changes.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY)
  return {
    layers,
    verdict: {
      package: input.package,
      integrity: input.evidence.integrity,
      decision,
      reasons: decision === 'allow' ? merged(layers.flatMap(l => l.verdict.reasons)) : against,
      layers: layers.map(l => l.verdict),
      policyDigest: policyDigest(policies),
      ...(changes.length > 0 && { changesAt: new Date(next).toISOString() }),
    },
  }
}

/**
 * `refuse` when an enforcing layer has a reason that is certain; `unavailable` when all it has is
 * EVIDENCE_UNAVAILABLE; else `allow`, with what observing layers would have refused as reasons.
 */
export const judge: Judge = (policies, input, now) => judgeLayers(policies, input, now).verdict
