/** Names reserved for an upstream: they are asked for nowhere else, and come from nowhere else. */
import type { JudgeInput, Reason } from '../types.ts'
import { coversName } from './match.ts'
import type { Policy, UpstreamFor } from './policy.ts'
import { reason } from './reason.ts'

const reservation = (policy: Policy, name: string) =>
  policy.rules.find(
    rule => rule.upstream !== undefined && rule.packages.some(p => coversName(p, name)),
  )

/** The upstream that the first rule with `upstream` reserves this name for, layer by layer. */
export const upstreamFor: UpstreamFor = (policies, name) => {
  for (const policy of policies) {
    const upstream = reservation(policy, name)?.upstream
    if (upstream !== undefined) return upstream
  }
  return undefined
}

/**
 * Whatever rule governs: a waiver above the reserving rule does not let somebody else's package
 * stand in for a private one.
 */
export const namespaceReasons = (policy: Policy, input: JudgeInput): readonly Reason[] => {
  const rule = reservation(policy, input.package.name)
  const wanted = rule?.upstream
  if (rule === undefined || wanted === undefined || wanted === input.upstream) return []
  const found = input.upstream
  const message = `rule ${rule.name} reserves this name for upstream ${wanted}; it came from ${found}`
  return [reason('OUT_OF_NAMESPACE', message, { field: 'upstream', wanted, found })]
}
