/**
 * Measures Attestry beside the upstream itself and the proxies on this machine, round by round in
 * turns, on loopback only, and prints Markdown. It stops by itself, and everything it started with it.
 *
 *     npm run bench -- --suites verification,replay --rounds 3
 */
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { svgOf } from './chart.ts'
import { openLoadGenerator } from './load.ts'
import { largeOnes, loopSuite } from './loop.ts'
import { npmSuite } from './npm.ts'
import { peerNames } from './peers.ts'
import { profileSuite } from './profile.ts'
import { replaySuite } from './replay.ts'
import { markdown } from './report.ts'
import { packumentSuite, tarballSuite } from './requests.ts'
import { startUpstream, type RunningUpstream } from './start-upstream.ts'
import { startupSuite } from './startup.ts'
import { show } from './statistics.ts'
import type { Bench, Chart, Suite } from './suite.ts'
import { aloneTarget, openTargets, type Target } from './targets.ts'
import { verdictSuite } from './verdicts.ts'
import { verificationSuite } from './verification.ts'

const suites: Readonly<Record<string, Suite>> = {
  startup: startupSuite,
  verification: verificationSuite,
  verdicts: verdictSuite,
  loop: loopSuite,
  replay: replaySuite,
  packuments: packumentSuite,
  tarballs: tarballSuite,
  npm: npmSuite,
  profile: profileSuite,
}
/** Here Attestry is measured in one process as well, as it runs when nothing is set. */
const alsoAlone = new Set(['startup', 'replay', 'npm'])
/** These need no proxy beside Attestry. */
const alone = new Set(['verification', 'verdicts', 'loop', 'profile'])

/** What follows it in a document is made by this program. */
const marker = '<!-- Measured by npm run bench; everything below is its output. -->'

const usage = `npm run bench -- [options]

  --suites LIST    of ${Object.keys(suites).join(', ')}; default all
                   but npm and profile; "all" for these as well
  --rounds N       default 3
  --peers LIST     of ${peerNames.join(', ')}; default all that are here, - for none
  --seconds N      of load in each round, default 3
  --packages N     of the application, default 835
  --patience N     seconds to wait for other work to pause before each measurement, default 0
  --out FILE       writes the report there, and charts as FILE.NAME.svg
  --into FILE      writes it in place of what follows the line
                   "${marker}" in FILE, and charts beside it
`

const say = (line: string): void => {
  const time = new Date().toISOString().slice(11, 19)
  process.stderr.write(`${time} ${line}\n`)
}

const readOptions = () => {
  const { values } = parseArgs({
    options: {
      suites: {
        type: 'string',
        default: Object.keys(suites)
          .filter(name => name !== 'profile' && name !== 'npm')
          .join(','),
      },
      rounds: { type: 'string', default: '3' },
      peers: { type: 'string', default: peerNames.join(',') },
      seconds: { type: 'string', default: '3' },
      packages: { type: 'string', default: '835' },
      patience: { type: 'string', default: '0' },
      out: { type: 'string' },
      into: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const fail = (text: string): never => {
    process.stderr.write(`${text}\n\n${usage}`)
    process.exit(1)
  }
  const number = (name: 'rounds' | 'seconds' | 'packages' | 'patience', least: number) => {
    const value = Number(values[name])
    const whole = Number.isInteger(value) && value >= least && value <= 10_000
    return whole ? value : fail(`--${name}: found ${values[name]}, wanted ${least} to 10000`)
  }
  const list = (name: 'suites' | 'peers', known: readonly string[]) => {
    const text = values[name] === 'all' ? known.join(',') : values[name]
    const all = text.split(',').filter(each => each !== '' && each !== '-')
    const unknown = all.find(each => !known.includes(each))
    return unknown === undefined
      ? all
      : fail(`--${name}: found ${unknown}, wanted ${known.join(', ')}`)
  }
  if (values.help === true) {
    process.stdout.write(usage)
    process.exit(0)
  }
  return {
    suites: list('suites', Object.keys(suites)),
    peers: list('peers', peerNames),
    rounds: number('rounds', 1),
    seconds: number('seconds', 1),
    packages: number('packages', 1),
    patience: number('patience', 0),
    out: values.out,
    into: values.into,
  }
}

const machine = () => {
  const [first] = cpus()
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  return `${cpus().length} processors (${first?.model.trim() ?? 'unknown'}), ${memory}, Node ${process.versions.node}`
}

const memorySection = (targets: readonly Target[]): string =>
  markdown({
    title: 'Memory',
    text: 'Resident memory, MB: of the largest process when it had done the last of the above, its peak over all of the above, and the sum of the peaks of all processes.',
    columns: ['target', 'in the end', 'peak', 'all peaks'],
    rows: targets
      .filter(({ restart }) => restart !== undefined)
      .map(({ name, peak }) => {
        const { last, largest, sum } = peak()
        return [name, show(last), show(largest), show(sum)]
      }),
  })

const options = readOptions()
const folder = await mkdtemp(join(tmpdir(), 'attestry-bench-run-'))
const begun = new Date()
const parts: string[] = []
const charts: [string, Chart][] = []
let stopped = false
let targets: readonly Target[] = []
let upstream: RunningUpstream | undefined
const stopAll = async (): Promise<void> => {
  if (stopped) return
  stopped = true
  for (const target of targets) await target.stop()
  upstream?.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
}
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void stopAll().finally(() => process.exit(130)))

const needsPeers = options.suites.some(name => !alone.has(name))
/** What is known so far; kept after each suite, so that an end in between loses one suite only. */
const keepReport = async (loadName: string): Promise<string> => {
  const minutes = (Date.now() - begun.getTime()) / 60_000
  const head = [
    `Taken on ${begun.toISOString().slice(0, 10)} in ${show(minutes)} minutes: ${machine()}; load by ${loadName}; ${options.rounds} rounds${needsPeers ? ` of ${options.seconds} s` : ''}.`,
    '',
    ...targets.map(({ name, note }) => `- **${name}**: ${note}`),
    '',
  ]
  const report = [...head, ...parts].join('\n')
  if (options.into !== undefined) {
    const { into } = options
    const [before = '', after] = (await readFile(into, 'utf8')).split(marker)
    if (after === undefined) throw new Error(`${into} has no line ${marker}`)
    const plain = basename(into).replace(/\.md$/, '')
    const images = charts.map(([name]) => `![${name}](${plain}.${name}.svg)\n`)
    await writeFile(into, `${before}${marker}\n\n${[...images, report].join('\n')}`)
    for (const [name, chart] of charts)
      await writeFile(join(dirname(into), `${plain}.${name}.svg`), svgOf(chart))
  }
  if (options.out !== undefined) {
    await mkdir(dirname(options.out), { recursive: true })
    await writeFile(options.out, report)
    for (const [name, chart] of charts)
      await writeFile(`${options.out}.${name}.svg`, svgOf(chart))
  }
  return report
}

say('making packages')
upstream = await startUpstream({
  packages: options.packages,
  large: options.suites.includes('loop') ? largeOnes : 0,
})
try {
  targets = await openTargets(upstream, needsPeers ? options.peers : [], folder, say)
  const single = aloneTarget(upstream, folder)
  const load = openLoadGenerator(folder)
  const bench: Bench = { ...options, upstream, targets, load, folder, say }
  if (needsPeers) for (const target of targets) await target.restart?.(true)
  for (const name of options.suites) {
    say(`suite ${name}`)
    const both = alsoAlone.has(name) ? { targets: [...targets, single] } : {}
    const result = await suites[name]?.({ ...bench, ...both })
    await single.stop()
    for (const section of result?.sections ?? []) parts.push(markdown(section))
    if (result?.chart) charts.push([name, result.chart])
    await keepReport(load.name)
  }
  for (const target of targets) await target.stop()
  if (needsPeers) parts.push(memorySection([...targets, single]))
  process.stdout.write(await keepReport(load.name))
} finally {
  await stopAll()
}
