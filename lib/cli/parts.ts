/** A command made of parts: `attestry store gc`. */
import { didYouMean } from '../config/nearest.ts'
import { AttestryError } from '../errors.ts'
import { wrap } from './audit/paint.ts'
import type { Run } from './io.ts'

export type Part = { readonly summary: string; load(): Promise<Run> }

/** Names and what they do, in two columns of a terminal. */
export const listed = (
  parts: Readonly<Record<string, { readonly summary: string }>>,
  columns: number,
): string => {
  const width = Math.max(...Object.keys(parts).map(name => name.length))
  const room = Math.max(20, columns - width - 4)
  return Object.entries(parts)
    .flatMap(([name, { summary }]) =>
      wrap(summary, room).map(
        (line, i) => `  ${(i === 0 ? name : '').padEnd(width)}  ${line}\n`,
      ),
    )
    .join('')
}

/** Runs the part that the first argument names; throws EUSAGE when there is none of that name. */
export const commandOfParts = (command: string, parts: Readonly<Record<string, Part>>): Run => {
  const known = Object.keys(parts)
  const usage = (columns: number) =>
    `Usage:\n  attestry ${command} <what> [options]\n\n${listed(parts, columns)}\nattestry ${command} <what> --help tells its options.\n`
  return async ([first, ...more], io) => {
    // `attestry store help gc` is `attestry store gc --help`
    const [name, ...rest] = first === 'help' ? [...more, '--help'] : [first, ...more]
    if (name === '--help' || name === '-h') {
      io.stdout.write(usage(io.stdout.columns ?? 80))
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
