/**
 * Tells whether an upstream passes signatures on at all. A mirror that strips them makes every
 * package look unsigned; people should hear that once and plainly, not as a finding per package.
 */
import type { PackageIndex } from './package-index.ts'

export type SignatureWatch = {
  readonly saw: (index: PackageIndex) => void
  /** A sentence about the upstream, when there is something to say. */
  readonly note: (upstream: string) => string | undefined
}

type Tally = { packages: number; signed: number }

export const openSignatureWatch = (onStripping: (upstream: string) => void): SignatureWatch => {
  const tallies = new Map<string, Tally>()
  return {
    saw: ({ upstream, versions }) => {
      const tally = tallies.get(upstream) ?? { packages: 0, signed: 0 }
      tallies.set(upstream, tally)
      if (versions.size === 0) return
      tally.packages++
      if ([...versions.values()].some(claims => claims.signatures.length > 0)) tally.signed++
      else if (tally.packages === 1) onStripping(upstream)
    },
    note: upstream => {
      const tally = tallies.get(upstream)
      if (!tally || tally.packages === 0 || tally.signed > 0) return undefined
      return `The upstream ${upstream} has served no registry signature with ${tally.packages === 1 ? 'the one package' : `any of ${tally.packages} packages`} asked for since this server started: it strips them or does not sign, so nothing from it can be proven.`
    },
  }
}
