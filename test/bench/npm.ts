/**
 * The real npm, installing the application: by its lockfile and without one, with nothing in the
 * proxy's store and once more with everything. Its own cache is empty each time.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fetch } from 'undici'
import { installClients, runCommand } from '../support/clients.ts'
import { bareEnv } from '../support/run.ts'
import { cpuOf, hasProc, quiet, watchOthers } from './machine.ts'
import { median, ratios, show, showSpread } from './statistics.ts'
import { baseOf, restartCold, rotated, type Bench, type SuiteResult } from './suite.ts'
import type { Target } from './targets.ts'

const kinds = ['ci cold', 'ci warm', 'install cold', 'install warm'] as const
type Kind = (typeof kinds)[number]
/** An install takes npm tens of seconds whatever serves it. */
const mostRounds = 1
const longest = 180_000

type Sample = { readonly seconds: number; readonly cpu: number; readonly failed: boolean }

type Locked = { readonly version: string; readonly integrity: string }

/** Newest versions with their integrity, as the upstream's packuments give them. */
const lockedOf = async (bench: Bench): Promise<ReadonlyMap<string, Locked>> => {
  const { url, tarballs } = bench.upstream
  const found = new Map<string, Locked>()
  for (const path of tarballs) {
    const [name = '', file = ''] = path.split('/-/')
    const version = file.slice(name.slice(name.indexOf('/') + 1).length + 1, -'.tgz'.length)
    const answer = await fetch(`${url}/${name.replace('/', '%2f')}`)
    const { versions } = (await answer.json()) as {
      versions: Record<string, { dist: { integrity: string } }>
    }
    found.set(name, { version, integrity: versions[version]?.dist.integrity ?? '' })
  }
  return found
}

const writeProject = async (
  folder: string,
  locked: ReadonlyMap<string, Locked>,
  lock: boolean,
): Promise<void> => {
  const dependencies = Object.fromEntries(
    [...locked].map(([name, { version }]) => [name, version]),
  )
  const about = { name: 'application', version: '1.0.0' }
  await mkdir(folder, { recursive: true })
  const manifest = { ...about, private: true, dependencies }
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest))
  if (!lock) return
  const packages = Object.fromEntries(
    [...locked].map(([name, entry]) => [`node_modules/${name}`, entry]),
  )
  const root = { '': { ...about, dependencies } }
  await writeFile(
    join(folder, 'package-lock.json'),
    JSON.stringify({ ...about, lockfileVersion: 3, packages: { ...root, ...packages } }),
  )
}

export const npmSuite = async (bench: Bench): Promise<SuiteResult> => {
  const clients = await installClients()
  const columns = ['run', 'target', 'seconds', 'ratio (spread)', "proxy's CPU s", 'failed']
  const title = 'The real npm'
  if (clients.kind === 'missing')
    return { sections: [{ title, text: clients.reason, columns, rows: [] }] }
  const program = join(clients.folder, 'node_modules', 'npm11', 'bin', 'npm-cli.js')
  const locked = await lockedOf(bench)
  const samples = new Map<string, Sample[]>()

  const once = async (target: Target, kind: Kind): Promise<void> => {
    const folder = await mkdtemp(join(bench.folder, 'npm-'))
    const [command = 'ci'] = kind.split(' ')
    const project = join(folder, 'project')
    await writeProject(project, locked, command === 'ci')
    await quiet(bench.patience)
    const others = watchOthers()
    const before = hasProc ? cpuOf(target.pid()) : Number.NaN
    const begun = performance.now()
    const flags = '--ignore-scripts --no-audit --no-fund --no-progress --loglevel=error'
    const run = await runCommand(
      process.execPath,
      [program, command, ...flags.split(' '), `--cache=${join(folder, 'cache')}`],
      {
        cwd: project,
        env: { ...bareEnv(folder), npm_config_registry: `${target.url()}/` },
        timeout: longest,
      },
    )
    const seconds = (performance.now() - begun) / 1000
    const cpu = (hasProc ? cpuOf(target.pid()) : Number.NaN) - before
    const key = `${kind} ${target.name}`
    const failed = run.code !== 0
    samples.set(key, [...(samples.get(key) ?? []), { seconds, cpu, failed }])
    bench.say(
      `npm ${key}: ${show(seconds)} s, ${show(cpu)} s of the proxy, others ${show(others() * 100)} %${failed ? `: ${run.stderr.slice(0, 300)}` : ''}`,
    )
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }

  for (let round = 0; round < Math.min(bench.rounds, mostRounds); round++)
    for (const target of rotated(bench.targets, round))
      for (const kind of kinds) {
        const cold = kind.endsWith('cold')
        if (cold && !target.restart) continue
        if (cold) await restartCold(target)
        await once(target, kind)
      }

  const names = bench.targets.map(({ name }) => name)
  const base = baseOf(names)
  const rows = kinds.flatMap(kind =>
    names.flatMap(name => {
      const all = samples.get(`${kind} ${name}`)
      if (!all) return []
      const seconds = all.map(one => one.seconds)
      const compared = samples.get(`${kind} ${base}`)?.map(one => one.seconds) ?? []
      const cells = [
        show(median(seconds)),
        name === base ? '1' : showSpread(ratios(seconds, compared)),
        show(median(all.map(one => one.cpu))),
        `${all.filter(one => one.failed).length}`,
      ]
      return [[kind, name, ...cells]]
    }),
  )
  const text = `${locked.size} packages, npm's cache empty. Ratios of seconds to ${base}: less is better. Nearly all of the time is npm's own.`
  return { sections: [{ title, text, columns, rows }] }
}
