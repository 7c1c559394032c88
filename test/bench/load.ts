/**
 * Load on one address for some seconds: by wrk where it is installed, else by undici in this
 * process, which costs the machine several times as much and measures itself along.
 */
import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Pool } from 'undici'
import { percentile } from './statistics.ts'

export type Load = {
  /** Without a slash at its end. */
  readonly url: string
  /** With its slash. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly seconds: number
  readonly connections: number
}

export type LoadResult = {
  readonly requests: number
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly megabytesPerSecond: number
  /** Answers of 400 and above, and broken connections. */
  readonly failed: number
}

export type LoadGenerator = {
  readonly name: string
  readonly run: (load: Load) => Promise<LoadResult>
}

const script = `done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('\\nfigures {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%f,"p99":%f,"failed":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`

type Figures = Readonly<
  Record<'requests' | 'microseconds' | 'bytes' | 'p50' | 'p99' | 'failed', number>
>

const resultOf = (figures: Figures): LoadResult => {
  const seconds = figures.microseconds / 1e6
  return {
    requests: figures.requests,
    perSecond: figures.requests / seconds,
    p50: figures.p50 / 1000,
    p99: figures.p99 / 1000,
    megabytesPerSecond: figures.bytes / 1e6 / seconds,
    failed: figures.failed,
  }
}

const openWrk = (folder: string): LoadGenerator => {
  const file = join(folder, 'figures.lua')
  writeFileSync(file, script)
  return {
    name: 'wrk',
    run: ({ url, path, headers, seconds, connections }) =>
      new Promise((resolve, reject) => {
        const given = Object.entries(headers).flatMap(([name, value]) => [
          '-H',
          `${name}: ${value}`,
        ])
        const shape = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s']
        const child = spawn('wrk', [...shape, '-s', file, ...given, `${url}${path}`], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const end = () => void child.kill('SIGKILL')
        const timer = setTimeout(end, seconds * 1000 + 60_000)
        process.once('exit', end)
        let output = ''
        child.stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString()
        })
        child.once('error', reject)
        child.once('close', code => {
          clearTimeout(timer)
          process.off('exit', end)
          const found = /^figures (.+)$/m.exec(output)?.[1]
          if (found === undefined) reject(new Error(`wrk ended with ${code}: ${output}`))
          else resolve(resultOf(JSON.parse(found) as Figures))
        })
      }),
  }
}

export const undiciLoad: LoadGenerator = {
  name: 'undici',
  run: async ({ url, path, headers, seconds, connections }) => {
    const pool = new Pool(url, { connections })
    const latencies: number[] = []
    let bytes = 0
    let failed = 0
    const begun = performance.now()
    const one = async () => {
      const started = performance.now()
      try {
        const { statusCode, body } = await pool.request({ method: 'GET', path, headers })
        for await (const chunk of body) bytes += (chunk as Buffer).length
        if (statusCode >= 400) failed++
      } catch {
        failed++
      }
      latencies.push((performance.now() - started) * 1000)
    }
    const client = async () => {
      while (performance.now() - begun < seconds * 1000) await one()
    }
    await Promise.all(Array.from({ length: connections }, client))
    const microseconds = (performance.now() - begun) * 1000
    await pool.close()
    return resultOf({
      requests: latencies.length,
      microseconds,
      bytes,
      p50: percentile(latencies, 0.5),
      p99: percentile(latencies, 0.99),
      failed,
    })
  },
}

/** `folder` for the script that wrk prints its figures by. */
export const openLoadGenerator = (folder: string): LoadGenerator => {
  try {
    // prints its usage and ends with 1
    execFileSync('wrk', ['-v'], { stdio: 'ignore' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undiciLoad
  }
  return openWrk(folder)
}
