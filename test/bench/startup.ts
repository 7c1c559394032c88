/** From the start of the process to the first answered /-/ping, and memory before any work. */
import { hasProc, memoryOf, quiet } from './machine.ts'
import { show, showSpread, spreadOf } from './statistics.ts'
import { rotated, type Bench, type SuiteResult } from './suite.ts'

export const startupSuite = async (bench: Bench): Promise<SuiteResult> => {
  const times = new Map<string, number[]>()
  const idle = new Map<string, number>()
  // the first start fills caches of compiled code and is not counted
  for (let round = -1; round < Math.max(3, bench.rounds); round++)
    for (const target of rotated(bench.targets, round + 1)) {
      if (!target.restart) continue
      await quiet(bench.patience)
      const ms = await target.restart(round === -1)
      if (round >= 0) times.set(target.name, [...(times.get(target.name) ?? []), ms])
      if (hasProc) idle.set(target.name, memoryOf(target.pid()).rss)
    }
  const rows = [...times].map(([name, all]) => [
    name,
    showSpread(spreadOf(all)),
    show(idle.get(name)),
  ])
  bench.say(`startup: ${rows.map(row => row.join(' ')).join('; ')}`)
  return {
    sections: [
      {
        title: 'Start to first answer',
        columns: ['target', 'ms (spread)', 'idle RSS MB'],
        rows,
      },
    ],
  }
}
