/** The policies in force: those of everybody, and what each view adds on top of them. */
import { AttestryError } from '../errors.ts'
import { inForce } from '../policy/baseline.ts'
import type { Policy } from '../policy/policy.ts'

type Layers = readonly Policy[]

export const openLayers = (
  policies: Layers,
  views: ReadonlyMap<string, Layers> = new Map(),
) => {
  let base = policies
  const added = new Map(views)
  /** Made once for each change: digests are remembered by the array. */
  let stacked = new Map<string, Layers>()
  let everything: Layers | undefined

  const stack = (view: string): Layers => {
    const known = stacked.get(view)
    if (known) return known
    // the baseline that holds when nothing is configured holds for views as well
    const layers = [...inForce(base), ...(added.get(view) ?? [])]
    stacked.set(view, layers)
    return layers
  }

  return {
    of: (view?: string): (() => Layers) => {
      if (view === undefined) return () => base
      if (added.has(view)) return () => stack(view)
      throw new AttestryError('ECONFIG', `There is no view ${view}.`)
    },
    /**
     * Of all views together: a name that any of them reserves for an upstream is asked of no other,
     * whoever asks, because what is fetched is shared.
     */
    all: (): Layers => (everything ??= [...base, ...[...added.values()].flat()]),
    adopt: (next: Layers, view?: string): void => {
      if (view === undefined) base = next
      else added.set(view, next)
      stacked = new Map()
      everything = undefined
    },
  }
}
