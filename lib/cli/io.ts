/** What a command may touch of the process it runs in; handed in, so that a test can look. */

/** A place for text: `process.stdout` and `process.stderr` fit, and so does a test's collector. */
export type Output = {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Width of the terminal in characters. */
  readonly columns?: number
}

/** `hidden`: what is typed is not shown. Empty when the person gave no answer. */
export type Ask = (question: string, options?: { readonly hidden?: boolean }) => Promise<string>

export type Io = {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute; relative paths among the arguments start here. */
  readonly cwd: string
  /** Absent where nobody sits at a terminal. */
  readonly ask?: Ask
}

/** Runs to its end and gives the exit code: 0 done, 1 refused, 2 could not tell or could not run. */
export type Run = (args: readonly string[], io: Io) => Promise<number>
