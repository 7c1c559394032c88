/** Requests for what is cached, one kind at a time, by 32 connections. */
import { cpuOf, hasProc, quiet, watchOthers } from './machine.ts'
import type { Section } from './report.ts'
import { median, ratios, show, showSpread } from './statistics.ts'
import { baseOf, rotated, type Bench, type Chart, type SuiteResult } from './suite.ts'
import type { Target } from './targets.ts'

type Case = {
  readonly title: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Asks with the validator it was given before. */
  readonly conditional?: boolean
}

const abbreviated = {
  accept: 'application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*',
}
const gzip = { 'accept-encoding': 'gzip' }

const packuments: readonly Case[] = ['small', 'medium', 'large'].flatMap(size => [
  { title: `${size} packument, gzip`, path: `/${size}`, headers: { ...abbreviated, ...gzip } },
  {
    title: `${size} packument, identity`,
    path: `/${size}`,
    headers: { ...abbreviated, 'accept-encoding': 'identity' },
  },
])

const conditional: readonly Case[] = [
  ...['medium', 'large'].map(size => ({
    title: `${size} packument, not modified`,
    path: `/${size}`,
    headers: { ...abbreviated, ...gzip },
    conditional: true,
  })),
  {
    title: '1 MB tarball, not modified',
    path: '/tar-1m/-/tar-1m-0.0.2.tgz',
    headers: {},
    conditional: true,
  },
]

const tarballs: readonly Case[] = Object.entries({
  'tar-10k': '10 KB',
  'tar-1m': '1 MB',
  'tar-4m': '4 MB',
  'tar-30m': '30 MB',
}).map(([name, size]) => ({
  title: `${size} tarball`,
  path: `/${name}/-/${name}-0.0.2.tgz`,
  headers: {},
}))

type Facts = {
  readonly status: number
  readonly bytes: number
  readonly headers: Readonly<Record<string, string>>
}

/** Asks twice, so that what is measured is cached, and adds the validator where there is one. */
const warm = async (target: Target, { path, headers, conditional }: Case): Promise<Facts> => {
  const ask = async (sent: Readonly<Record<string, string>>) => {
    // fetch undoes the encoding, so sizes are taken from the header where there is one
    const response = await fetch(`${target.url()}${path}`, {
      headers: { 'accept-encoding': 'identity', ...sent },
      signal: AbortSignal.timeout(60_000),
    })
    const { byteLength } = await response.arrayBuffer()
    return { response, bytes: Number(response.headers.get('content-length') ?? byteLength) }
  }
  await ask(headers)
  const { response, bytes } = await ask(headers)
  const etag = response.headers.get('etag')
  if (conditional !== true || etag === null) return { status: response.status, bytes, headers }
  const sent = { ...headers, 'if-none-match': etag }
  const again = await ask(sent)
  const empty = again.response.status === 304
  return { status: again.response.status, bytes: empty ? 0 : again.bytes, headers: sent }
}

type Sample = {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly megabytes: number
  /** Microseconds of processor time for each request. */
  readonly cpu: number
  readonly others: number
  readonly failed: number
}

const sample = async (
  { load, seconds, patience }: Bench,
  target: Target,
  { path }: Case,
  { headers }: Facts,
): Promise<Sample> => {
  await quiet(patience)
  const others = watchOthers()
  const before = hasProc ? cpuOf(target.pid()) : Number.NaN
  const result = await load.run({
    url: target.url(),
    path,
    headers,
    seconds,
    connections: 32,
  })
  const spent = (hasProc ? cpuOf(target.pid()) : Number.NaN) - before
  return {
    perSecond: result.perSecond,
    p50: result.p50,
    p99: result.p99,
    megabytes: result.megabytesPerSecond,
    cpu: (spent / result.requests) * 1e6,
    others: others(),
    failed: result.failed,
  }
}

const columns = [
  'target',
  'requests/s',
  'ratio (spread)',
  'p50 ms',
  'p99 ms',
  'CPU µs/request',
  'MB/s',
  'status',
  'bytes',
  'failed',
]

const runCase = async (
  bench: Bench,
  one: Case,
): Promise<{ section: Section; factors: ReadonlyMap<string, number> }> => {
  const samples = new Map<string, Sample[]>()
  const facts = new Map<string, Facts>()
  for (let round = 0; round < bench.rounds; round++)
    for (const target of rotated(bench.targets, round)) {
      const known = facts.get(target.name) ?? (await warm(target, one))
      facts.set(target.name, known)
      const taken = await sample(bench, target, one, known)
      samples.set(target.name, [...(samples.get(target.name) ?? []), taken])
    }
  const of = (name: string, field: keyof Sample) =>
    (samples.get(name) ?? []).map(each => each[field])
  const base = baseOf(bench.targets.map(({ name }) => name))
  const factors = new Map<string, number>()
  const rows = bench.targets.map(({ name }) => {
    const ratio = ratios(of(name, 'perSecond'), of(base, 'perSecond'))
    if (ratio) factors.set(name, ratio.median)
    const { status, bytes } = facts.get(name) ?? { status: 0, bytes: 0 }
    const middle = (field: keyof Sample) => show(median(of(name, field)))
    const failed = of(name, 'failed').reduce((sum, each) => sum + each, 0)
    const ratioCell = name === base ? '1' : showSpread(ratio)
    const times = [middle('p50'), middle('p99'), middle('cpu'), middle('megabytes')]
    return [
      name,
      middle('perSecond'),
      ratioCell,
      ...times,
      `${status}`,
      `${bytes}`,
      `${failed}`,
    ]
  })
  const others = [...samples.values()].flat().map(each => each.others)
  bench.say(`${one.title}: ${[...factors].map(([n, f]) => `${n} ${show(f)}`).join(', ')}`)
  const text = `Ratios of requests per second to ${base}. Other work took ${show(median(others) * 100)} % of the machine (median; most ${show(Math.max(...others) * 100)} %).`
  return { section: { title: one.title, text, columns, rows }, factors }
}

const suite =
  (title: string, cases: readonly Case[]) =>
  async (bench: Bench): Promise<SuiteResult> => {
    const sections: Section[] = []
    const bars: Chart['bars'][number][] = []
    for (const one of cases) {
      const { section, factors } = await runCase(bench, one)
      sections.push(section)
      bars.push({ label: one.title, values: factors })
    }
    const base = baseOf(bench.targets.map(({ name }) => name))
    return { sections, chart: { title, base, bars } }
  }

export const packumentSuite = suite('Cached packuments', [...packuments, ...conditional])
export const tarballSuite = suite('Cached tarballs', tarballs)
