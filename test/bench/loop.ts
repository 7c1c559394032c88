/** How long the server's event loop is held up while large packuments arrive, all at once. */
import { quiet, watchOthers } from './machine.ts'
import type { LoopDelay } from './probe.ts'
import { askServer } from './servers.ts'
import { median, show } from './statistics.ts'
import { restartCold, type Bench, type SuiteResult } from './suite.ts'
import { aloneTarget } from './targets.ts'

export const largeOnes = 10

const headers = { accept: 'application/vnd.npm.install-v1+json', 'accept-encoding': 'gzip' }

export const loopSuite = async (bench: Bench): Promise<SuiteResult> => {
  const target = aloneTarget(bench.upstream, bench.folder)
  if (!target.restart) throw new Error('there is no attestry to look into')
  const rows: string[][] = []
  const delays: LoopDelay[] = []
  for (let round = 0; round < bench.rounds; round++) {
    await restartCold(target)
    await quiet(bench.patience)
    const server = target.server()
    if (server === undefined) throw new Error('attestry does not run')
    await askServer(server, 'watch')
    const others = watchOthers()
    const begun = performance.now()
    const answers = await Promise.all(
      Array.from({ length: largeOnes }, async (_, i) => {
        const response = await fetch(`${target.url()}/large-${i}`, { headers })
        await response.arrayBuffer()
        return response.status
      }),
    )
    const seconds = (performance.now() - begun) / 1000
    const delay = (await askServer(server, 'tell')) as LoopDelay
    delays.push(delay)
    const bad = answers.filter(status => status !== 200).length
    const figures = [delay.p50, delay.p99, delay.most, seconds, others() * 100].map(show)
    rows.push([`${round + 1}`, ...figures, `${bad}`])
  }
  await target.stop()
  bench.say(`loop: p99 ${show(median(delays.map(({ p99 }) => p99)))} ms`)
  return {
    sections: [
      {
        title: 'Event loop while ten large packuments are cold',
        text: 'Delay of the serving thread beyond the millisecond between two looks at it.',
        columns: ['round', 'p50 ms', 'p99 ms', 'most ms', 'seconds', 'others %', 'failed'],
        rows,
      },
    ],
  }
}
