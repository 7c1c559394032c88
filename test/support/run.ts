/** Other programs, run to their end. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

export type Run = {
  /** `null` when it was ended for taking too long. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Both, as a terminal would have mixed them, without colours. */
  readonly output: string
}

export type RunOptions = {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** Milliseconds. */
  readonly timeout: number
  /** What is typed when the output so far ends like this, in this order. */
  readonly answers?: readonly (readonly [prompt: RegExp, text: string])[]
  /**
   * Milliseconds that whoever types takes to begin. A program that has shown its prompt then tells
   * its terminal not to echo, and what was typed in between is lost.
   */
  readonly hesitation?: number
}

/** Output beyond this many characters is dropped. */
const maxOutput = 1_000_000

// eslint-disable-next-line no-control-regex
const colours = /\u001b\[[0-9;?]*[A-Za-z]/g

/** Runs a command to its end; it is killed when time is up or this process ends. */
export const runCommand = (
  command: string,
  args: readonly string[],
  { cwd, env, timeout, answers, hesitation }: RunOptions,
): Promise<Run> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: [answers ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    }) as ChildProcessByStdio<Writable | null, Readable, Readable>
    // a program that ends without reading is no concern of ours
    child.stdin?.on('error', () => undefined)
    const waiting = [...(answers ?? [])]
    const said = { stdout: '', stderr: '', output: '' }
    const listen = (stream: 'stdout' | 'stderr') => {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        if (said.output.length > maxOutput) return
        said[stream] += text
        said.output += text
        const [next] = waiting
        if (next?.[0].test(said.output.trimEnd())) {
          waiting.shift()
          const type = () => void child.stdin?.write(`${next[1]}\n`)
          if (hesitation === undefined) type()
          else setTimeout(type, hesitation)
        }
      })
    }
    listen('stdout')
    listen('stderr')
    const end = () => void child.kill('SIGKILL')
    const timer = setTimeout(end, timeout)
    process.once('exit', end)
    const over = () => {
      clearTimeout(timer)
      process.off('exit', end)
    }
    child.once('error', error => {
      over()
      reject(error)
    })
    child.once('close', code => {
      over()
      resolve({
        code,
        stdout: said.stdout.replace(colours, ''),
        stderr: said.stderr.replace(colours, ''),
        output: said.output.replace(colours, ''),
      })
    })
  })

/** Only what a program needs to run: none of this process's npm_config_, CI or proxy settings. */
export const bareEnv = (home: string): NodeJS.ProcessEnv => ({
  PATH: [dirname(process.execPath), process.env.PATH].filter(Boolean).join(delimiter),
  HOME: home,
  USERPROFILE: home,
  XDG_CACHE_HOME: join(home, 'cache'),
  XDG_CONFIG_HOME: join(home, 'config'),
  XDG_DATA_HOME: join(home, 'data'),
  XDG_STATE_HOME: join(home, 'state'),
  TMPDIR: tmpdir(),
  NO_COLOR: '1',
})
