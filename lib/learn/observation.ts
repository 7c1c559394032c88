/** What was seen of one package version: all that learning rests on. */
import type { Identity, JudgeInput, PackageId, State } from '../types.ts'

export type Observation = PackageId & {
  readonly states: {
    readonly registrySignature: State
    readonly publishAttestation: State
    readonly provenance: State
  }
  /** Who signed the provenance, where it verified. */
  readonly identity?: Identity
  /** Other versions of the package that do not even claim provenance. */
  readonly without: readonly string[]
}

/** An observation with a publisher to pin. */
export type Built = Observation & { readonly identity: Identity }

export const isBuilt = (o: Observation): o is Built => o.identity !== undefined

export const idOf = ({ name, version }: PackageId): string => `${name}@${version}`

export const observationOf = ({
  package: id,
  evidence,
  history,
}: Pick<JudgeInput, 'package' | 'evidence' | 'history'>): Observation => {
  const { registrySignature, publishAttestation, provenance } = evidence
  return {
    ...id,
    states: {
      registrySignature: registrySignature.state,
      publishAttestation: publishAttestation.state,
      provenance: provenance.state,
    },
    ...(provenance.state === 'verified' && { identity: provenance.identity }),
    without: history
      .filter(r => !r.claimsProvenance && r.version !== id.version)
      .map(r => r.version),
  }
}

export const scopeOf = (name: string): string | undefined =>
  name.startsWith('@') ? name.slice(0, name.indexOf('/')) : undefined

export const groupBy = <T, K>(items: Iterable<T>, key: (item: T) => K): Map<K, T[]> => {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const at = key(item)
    const group = groups.get(at)
    if (group) group.push(item)
    else groups.set(at, [item])
  }
  return groups
}

/** By character code: the same order on every machine. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
