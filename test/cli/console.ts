/** Runs a command as `main` does, and collects what it says. */
import { commands } from '../../lib/cli/commands.ts'
import type { Io } from '../../lib/cli/io.ts'
import { main } from '../../lib/cli/main.ts'

export type Said = { readonly code: number; readonly stdout: string; readonly stderr: string }

export type ConsoleOptions = {
  readonly cwd: string
  readonly env?: Io['env']
  /** A terminal so wide; without it the output goes to a pipe. */
  readonly columns?: number
  /** A person at the terminal. */
  readonly ask?: Io['ask']
  /** Told what is written to stderr as it is written. */
  readonly hears?: (text: string) => void
}

const collector = (columns: number | undefined, hears?: (text: string) => void) => {
  let text = ''
  return {
    write: (chunk: string) => {
      text += chunk
      hears?.(chunk)
    },
    ...(columns !== undefined && { isTTY: true, columns }),
    text: () => text,
  }
}

export const runCli = async (
  argv: readonly string[],
  { cwd, env = { LANG: 'C.UTF-8' }, columns, ask, hears }: ConsoleOptions,
): Promise<Said> => {
  const [stdout, stderr] = [collector(columns), collector(columns, hears)]
  const code = await main(argv, { stdout, stderr, env, cwd, ...(ask && { ask }) }, commands)
  return { code, stdout: stdout.text(), stderr: stderr.text() }
}
