/** A command made of parts: `attestry store gc`. */
import { didYouMean } from '../config/nearest.ts'
import { AttestryError } from '../errors.ts'
import type { Run } from './io.ts'

export type Part = { readonly summary: string; load(): Promise<Run> }

/** Runs the part that the first argument names; throws EUSAGE when there is none of that name. */
export const commandOfParts = (command: string, parts: Readonly<Record<string, Part>>): Run => {
  const known = Object.keys(parts)
  const width = Math.max(...known.map(name => name.length))
  const lines = Object.entries(parts).map(
    ([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}\n`,
  )
  const usage = `Usage:\n  attestry ${command} <what> [options]\n\n${lines.join('')}\nattestry ${command} <what> --help tells its options.\n`
  return async ([name, ...rest], io) => {
    if (name === '--help' || name === '-h') {
      io.stdout.write(usage)
      return 0
    }
    const part = name !== undefined && Object.hasOwn(parts, name) ? parts[name] : undefined
    if (part) return (await part.load())(rest, io)
    const found =
      name === undefined
        ? ''
        : `there is no ${JSON.stringify(name)}${didYouMean(name, known)}; `
    throw new AttestryError('EUSAGE', `${command}: ${found}wanted one of ${known.join(', ')}`)
  }
}
