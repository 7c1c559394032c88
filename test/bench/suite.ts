/** What every suite is given, and how it takes turns. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoadGenerator } from './load.ts'
import type { Section } from './report.ts'
import type { RunningUpstream } from './start-upstream.ts'
import type { Target } from './targets.ts'

export type Bench = {
  readonly upstream: RunningUpstream
  /** The first is the upstream itself, the second Attestry. */
  readonly targets: readonly Target[]
  readonly load: LoadGenerator
  readonly rounds: number
  /** Of load on one case of one target in one round. */
  readonly seconds: number
  /** Seconds to wait for others on the machine to pause, before each measurement. */
  readonly patience: number
  /** A folder that is removed in the end. */
  readonly folder: string
  readonly say: (line: string) => void
}

/** A bar chart of how much faster than another, on a logarithmic scale. */
export type Chart = {
  readonly title: string
  readonly base: string
  readonly bars: readonly {
    readonly label: string
    readonly values: ReadonlyMap<string, number>
  }[]
}

export type SuiteResult = {
  readonly sections: readonly Section[]
  readonly chart?: Chart
}

export type Suite = (bench: Bench) => Promise<SuiteResult>

/** Another one begins each round. */
export const rotated = <T>(list: readonly T[], round: number): readonly T[] => [
  ...list.slice(round % list.length),
  ...list.slice(0, round % list.length),
]

/** What the others are compared with: nginx where it is measured, else the upstream itself. */
export const baseOf = (names: readonly string[]): string =>
  names.includes('nginx') ? 'nginx' : (names[0] ?? '')

/** Starts it with nothing stored, and leaves it alone until all its processes are up: starting is measured elsewhere. */
export const restartCold = async (target: Target): Promise<void> => {
  if (!target.restart) return
  await target.restart(true)
  await sleep(2_000)
}
