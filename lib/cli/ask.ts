/** Asks the person at the terminal. The question goes to stderr: stdout is for what a script takes. */
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Ask } from './io.ts'

/** Undefined where nobody sits at a terminal. */
export const terminalAsk = ({
  stdin,
  stderr,
}: Pick<NodeJS.Process, 'stdin' | 'stderr'>): Ask | undefined => {
  if (!stdin.isTTY || !stderr.isTTY) return undefined
  return async (question, { hidden = false } = {}) => {
    stderr.write(question)
    // what is typed is echoed through this, or by nobody
    const echo = new Writable({
      write: (chunk: Buffer, _, done) => {
        if (!hidden) stderr.write(chunk)
        done()
      },
    })
    const lines = createInterface({ input: stdin, output: echo, terminal: true })
    try {
      // a question ends without an answer when the input does, or with Ctrl-C
      return await new Promise<string>(resolve => {
        lines.once('close', () => resolve(''))
        lines.once('SIGINT', () => lines.close())
        void lines.question('').then(resolve, () => resolve(''))
      })
    } finally {
      lines.close()
      if (hidden) stderr.write('\n')
    }
  }
}
