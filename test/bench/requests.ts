/** Requests for what is cached, one kind at a time, by 32 connections. */
import { request } from 'undici'
import { cpuOf, hasProc, quiet, watchOthers } from './machine.ts'
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
    const timeouts = { headersTimeout: 60_000, bodyTimeout: 60_000 }
    const answer = await request(`${target.url()}${path}`, { headers: sent, ...timeouts })
    const { byteLength } = await answer.body.arrayBuffer()
    const { etag, 'last-modified': modified } = answer.headers
    return { status: answer.statusCode, bytes: byteLength, etag, modified }
  }
  await ask(headers)
  const { status, bytes, etag, modified } = await ask(headers)
  const validator =
    typeof etag === 'string'
      ? { 'if-none-match': etag }
      : typeof modified === 'string'
        ? { 'if-modified-since': modified }
        : undefined
  if (conditional !== true || validator === undefined) return { status, bytes, headers }
  const sent = { ...headers, ...validator }
  const again = await ask(sent)
  return { status: again.status, bytes: again.bytes, headers: sent }
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
    cpu: result.requests === 0 ? Number.NaN : (spent / result.requests) * 1e6,
    others: others(),
    failed: result.failed,
  }
}

const columns = [
  'what',
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
  'others %',
]

const runCase = async (bench: Bench, one: Case) => {
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
    // of large bodies hardly any is whole when time is up; bytes count parts as well
    const rate =
      one.path.endsWith('.tgz') && one.conditional !== true ? 'megabytes' : 'perSecond'
    const ratio = ratios(of(name, rate), of(base, rate))
    if (ratio) factors.set(name, ratio.median)
    const { status, bytes } = facts.get(name) ?? { status: 0, bytes: 0 }
    const middle = (field: keyof Sample) => show(median(of(name, field)))
    const failed = of(name, 'failed').reduce((sum, each) => sum + each, 0)
    return [
      one.title,
      name,
      middle('perSecond'),
      name === base ? '1' : showSpread(ratio),
      middle('p50'),
      middle('p99'),
      middle('cpu'),
      middle('megabytes'),
      ...[status, bytes, failed].map(String),
      show(median(of(name, 'others')) * 100),
    ]
  })
  bench.say(`${one.title}: ${[...factors].map(([n, f]) => `${n} ${show(f)}`).join(', ')}`)
  return { rows, factors }
}

const suite =
  (title: string, cases: readonly Case[]) =>
  async (bench: Bench): Promise<SuiteResult> => {
    const rows: string[][] = []
    const bars: Chart['bars'][number][] = []
    for (const one of cases) {
      const result = await runCase(bench, one)
      rows.push(...result.rows)
      bars.push({ label: one.title, values: result.factors })
    }
    const base = baseOf(bench.targets.map(({ name }) => name))
    const text = `32 connections. Medians of the rounds; ratios to ${base}, round by round, of requests per second, of MB/s where tarballs are sent. "Others" is the share of the machine that went to other work.`
    return { sections: [{ title, text, columns, rows }], chart: { title, base, bars } }
  }

export const packumentSuite = suite('Cached packuments', [...packuments, ...conditional])
export const tarballSuite = suite('Cached tarballs', tarballs)
