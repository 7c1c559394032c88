/**
 * A number per package that changes whenever something its verdicts rest on changed: what was
 * remembered under an older number is judged again. Bounded: a name that is forgotten counts as
 * changed.
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'

export type Epochs = {
  readonly of: (name: string) => number
  readonly bump: (name: string) => void
  /** As if everything had changed. */
  readonly bumpAll: () => void
  /** How often everything has changed: what was begun before does not answer for what comes after. */
  readonly generation: () => number
}

export const openEpochs = (max = 100_000): Epochs => {
  let count = 0
  let floor = 0
  let generation = 0
  const epochs = new LRUCache<string, number>({
    ...atMost(max),
    dispose: (_value, _name, why) => {
      if (why === 'evict') floor = count
    },
  })
  return {
    of: name => epochs.get(name) ?? floor,
    bump: name => {
      count++
      epochs.set(name, count)
    },
    bumpAll: () => {
      count++
      floor = count
      generation++
      epochs.clear()
    },
    generation: () => generation,
  }
}
