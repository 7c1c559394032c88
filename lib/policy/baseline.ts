/** What holds where nothing is written: the built-in values, and the policy made of them alone. */
import type { Continuity, Policy, Requirement } from './policy.ts'

export const builtInRequirement: Requirement = {
  registrySignature: 'if-present',
  publishAttestation: 'if-present',
  provenance: { want: 'if-present' },
  manifest: 'if-present',
}

export const builtInContinuity: Continuity = {
  level: 'release-line',
  settledAfter: 90 * 86_400_000,
}

/**
 * In force when no policy file is: it breaks nobody who is honest, and stops forged signatures and
 * dropped provenance. config/baseline.policy.yaml says the same.
 */
export const baselinePolicy: Policy = {
  name: 'baseline',
  mode: 'enforce',
  identities: {},
  rules: [],
  defaults: {
    name: 'defaults',
    mode: 'enforce',
    outcome: { kind: 'require', anyOf: [builtInRequirement] },
    continuity: builtInContinuity,
    minimumAge: 0,
  },
}

/** The policies that judge: without any, the baseline. */
export const inForce = (policies: readonly Policy[]): readonly Policy[] =>
  policies.length > 0 ? policies : [baselinePolicy]
