/**
 * A counter for what happens thousands of times a second. prom-client checks and hashes the labels of
 * each; here what happened is counted in plain numbers, and told when the counter is read.
 */
import { Counter, type Registry } from './prom-client.ts'

export type TallyOptions<L extends string> = {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly L[]
  readonly registers: Registry[]
}

export type Tally<L extends string> = {
  /** With two of the labels, which have few values; `labels` gives all of them. */
  readonly add: (one: string, other: string | number) => void
  readonly inc: Counter<L>['inc']
}

export const openTally = <L extends string>(
  { labelNames, ...options }: TallyOptions<L>,
  labels: (one: string, other: string | number) => Record<L, string | number>,
): Tally<L> => {
  const tallies = new Map<string, Map<string | number, { times: number }>>()
  const counter = new Counter<L>({
    ...options,
    labelNames: [...labelNames],
    collect() {
      for (const [one, others] of tallies)
        for (const [other, tally] of others) {
          if (tally.times > 0) this.inc(labels(one, other), tally.times)
          tally.times = 0
        }
    },
  })
  const tallyOf = (one: string, other: string | number) => {
    const others = tallies.get(one) ?? new Map<string | number, { times: number }>()
    const tally = others.get(other) ?? { times: 0 }
    tallies.set(one, others.set(other, tally))
    return tally
  }
  return {
    add: (one, other) => {
      const tally = tallies.get(one)?.get(other) ?? tallyOf(one, other)
      tally.times++
    },
    inc: counter.inc.bind(counter),
  }
}
