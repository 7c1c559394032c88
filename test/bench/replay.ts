/**
 * What a client asks for while it installs an application: every packument, then every tarball, 16
 * at a time; first with nothing cached, at once again, and once more when everybody had time to
 * finish what was begun behind the answers.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { cpuOf, hasProc, memoryOf, quiet, watchOthers } from './machine.ts'
import { median, ratios, show, showSpread } from './statistics.ts'
import { baseOf, restartCold, rotated, type Bench, type SuiteResult } from './suite.ts'
import type { Target } from './targets.ts'

const clients = 16
const kinds = ['cold', 'warm', 'settled'] as const

type Pass = { readonly seconds: number; readonly cpu: number; readonly bytes: number }
type Replay = {
  readonly packuments: Pass
  readonly tarballs: Pass
  readonly failed: number
  readonly others: number
  readonly rss: number
}

const headers = {
  accept: 'application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*',
  'accept-encoding': 'gzip',
}

/** Asks for everything once. */
export const replay = async (
  target: Target,
  names: readonly string[],
  tarballs: readonly string[],
): Promise<Replay> => {
  const others = watchOthers()
  const pool = new Pool(target.url(), { connections: clients, headersTimeout: 120_000 })
  let failed = 0
  const pass = async (paths: readonly string[]): Promise<Pass> => {
    const waiting = [...paths].toReversed()
    let bytes = 0
    const before = hasProc ? cpuOf(target.pid()) : Number.NaN
    const begun = performance.now()
    const client = async () => {
      for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
        try {
          const { statusCode, body } = await pool.request({ method: 'GET', path, headers })
          for await (const chunk of body) bytes += (chunk as Buffer).length
          if (statusCode !== 200) failed++
        } catch {
          failed++
        }
      }
    }
    await Promise.all(Array.from({ length: clients }, client))
    const seconds = (performance.now() - begun) / 1000
    const spent = (hasProc ? cpuOf(target.pid()) : Number.NaN) - before
    return { seconds, cpu: spent, bytes }
  }
  const asked = await pass(names.map(name => `/${name.replace('/', '%2f')}`))
  const fetched = await pass(tarballs.map(path => `/${path}`))
  await pool.close()
  const rss = hasProc ? memoryOf(target.pid()).rss : Number.NaN
  return { packuments: asked, tarballs: fetched, failed, others: others(), rss }
}

const columns = [
  'target',
  'packuments s',
  'ratio (spread)',
  'CPU s',
  'tarballs s',
  'ratio (spread)',
  'CPU s',
  'MB',
  'failed',
  'RSS MB',
]

export const replaySuite = async (bench: Bench): Promise<SuiteResult> => {
  const { upstream, targets, rounds, patience, say } = bench
  const { names, tarballs } = upstream
  const runs = new Map<string, Replay[]>()
  const keep = (kind: string, target: Target, one: Replay) => {
    const key = `${kind} ${target.name}`
    runs.set(key, [...(runs.get(key) ?? []), one])
    const { packuments, tarballs, failed } = one
    say(
      `replay ${key}: ${show(packuments.seconds)} s, ${show(tarballs.seconds)} s, ${failed} failed`,
    )
  }
  for (let round = 0; round < rounds; round++)
    for (const target of rotated(targets, round)) {
      await restartCold(target)
      for (const kind of target.restart ? kinds : kinds.slice(1)) {
        if (kind === 'settled') await sleep(3_000)
        await quiet(patience)
        keep(kind, target, await replay(target, names, tarballs))
      }
    }
  const base = baseOf(targets.map(({ name }) => name))
  const sections = kinds.map(kind => {
    const of = (name: string) => runs.get(`${kind} ${name}`) ?? []
    const rows = targets.flatMap(({ name }) => {
      const all = of(name)
      if (all.length === 0) return []
      const part = (which: 'packuments' | 'tarballs') => {
        const seconds = (list: readonly Replay[]) => list.map(one => one[which].seconds)
        const ratio = ratios(seconds(all), seconds(of(base)))
        const cpu = median(all.map(one => one[which].cpu))
        const cell = name === base ? '1' : showSpread(ratio)
        return [show(median(seconds(all))), cell, show(cpu)]
      }
      const bytes = all.map(({ packuments, tarballs }) => packuments.bytes + tarballs.bytes)
      const failed = all.reduce((sum, one) => sum + one.failed, 0)
      const ends = [
        show(median(bytes) / 1e6),
        `${failed}`,
        show(median(all.map(one => one.rss))),
      ]
      return [[name, ...part('packuments'), ...part('tarballs'), ...ends]]
    })
    const others = [...runs].filter(([key]) => key.startsWith(kind)).flatMap(([, list]) => list)
    const share = median(others.map(one => one.others)) * 100
    const text = `${names.length} packuments, ${tarballs.length} tarballs, ${clients} at a time. Ratios of seconds to ${base}: less is better. Other work took ${show(share)} % of the machine (median).`
    return { title: `An application, ${kind}`, text, columns, rows }
  })
  return { sections }
}
