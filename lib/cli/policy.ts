/** `attestry policy`: what can be done with policy files before they are in force. */
import { AttestryError } from '../errors.ts'
import { didYouMean } from '../config/nearest.ts'
import type { Run } from './io.ts'

const parts: Readonly<Record<string, { summary: string; load(): Promise<Run> }>> = {
  check: {
    summary: 'Read policy files and say what is wrong, and what is probably not meant.',
    load: async () => (await import('./policy/check.ts')).check,
  },
  diff: {
    summary: 'Tell whose verdict another policy would change.',
    load: async () => (await import('./policy/diff.ts')).diff,
  },
  test: {
    summary: 'Run the test cases beside a policy.',
    load: async () => (await import('./policy/run-cases.ts')).runCases,
  },
}

const usage = () => {
  const lines = Object.entries(parts).map(
    ([name, { summary }]) => `  ${name.padEnd(6)} ${summary}\n`,
  )
  return `Usage:\n  attestry policy <what> [options]\n\n${lines.join('')}\nattestry policy <what> --help tells its options.\n`
}

export const policy: Run = async (args, io) => {
  const [name, ...rest] = args
  if (name === '--help' || name === '-h') {
    io.stdout.write(usage())
    return 0
  }
  const part = name !== undefined && Object.hasOwn(parts, name) ? parts[name] : undefined
  if (part === undefined) {
    const known = Object.keys(parts)
    const wanted = `wanted one of ${known.join(', ')}`
    const message =
      name === undefined
        ? `policy: ${wanted}`
        : `policy: there is no ${JSON.stringify(name)}${didYouMean(name, known)}; ${wanted}`
    throw new AttestryError('EUSAGE', message)
  }
  return (await part.load())(rest, io)
}
