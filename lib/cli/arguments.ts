/** Reading a command's arguments, and its help: the same complaints whichever command it is. */
import type { ConfigSet, Jack } from 'jackspeak'
import { nearest } from '../config/nearest.ts'
import { AttestryError } from '../errors.ts'

/** What jackspeak says of an option that it does not know begins so; `cause.found` is the option. */
const UNKNOWN = /^Unknown option /

const foundIn = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !UNKNOWN.test(error.message)) return undefined
  const { code, found } = (error.cause ?? {}) as { code?: unknown; found?: unknown }
  return code === 'JACKSPEAK' && typeof found === 'string' ? found : undefined
}

/** Of a value that is none of those an option takes, in our words: jackspeak does not tell which it takes. */
const choiceIn = (error: unknown): string | undefined => {
  const { code, name, found, validOptions } = ((error as Error).cause ?? {}) as {
    readonly [key in 'code' | 'name' | 'found' | 'validOptions']?: unknown
  }
  if (code !== 'JACKSPEAK' || !Array.isArray(validOptions)) return undefined
  const wrong = [found].flat().filter(value => !validOptions.includes(value))
  return `--${String(name)}: wanted ${validOptions.join(' or ')}; found ${wrong.map(value => JSON.stringify(value)).join(' ')}`
}

/** A letter is near to itself in the other case only, a word to words that are spelt like it. */
const nearTo = <C extends ConfigSet>(option: string, { definitions, shorts }: Jack<C>) => {
  const letters = Object.keys(shorts).map(letter => `-${letter}`)
  if (!option.startsWith('--'))
    return letters.filter(letter => letter.toLowerCase() === option.toLowerCase())
  return nearest(
    option,
    Object.keys(definitions).map(name => `--${name}`),
  )
}

/** Throws EUSAGE for an option that the command does not have, with those that are spelt like it. */
export const parseArguments = <C extends ConfigSet>(
  command: Jack<C>,
  args: readonly string[],
): ReturnType<Jack<C>['parse']> => {
  try {
    return command.parse([...args])
  } catch (error) {
    const choice = choiceIn(error)
    if (choice !== undefined) throw new AttestryError('EUSAGE', choice, { cause: error })
    const found = foundIn(error)
    if (found === undefined) throw error
    // without the value, which may be a secret or long
    const [option = found] = found.split('=')
    const near = nearTo(option, command).join(' or ')
    const hint = near === '' ? '' : ` (did you mean ${near}?)`
    throw new AttestryError('EUSAGE', `there is no option ${option}${hint}`, { cause: error })
  }
}

/** For commands that take options and nothing else. Throws EUSAGE for anything else, with `hint` behind it. */
export const parseOptions = <C extends ConfigSet>(
  command: Jack<C>,
  args: readonly string[],
  hint = '',
): ReturnType<Jack<C>['parse']>['values'] => {
  const { values, positionals } = parseArguments(command, args)
  const [first] = positionals
  if (first !== undefined)
    throw new AttestryError(
      'EUSAGE',
      `wanted options only, found ${JSON.stringify(first)}${hint}`,
    )
  return values
}

/** What `--help` prints: ends in one line break, which jackspeak's own text does not always. */
export const helpText = <C extends ConfigSet>(command: Jack<C>): string =>
  `${command.usage().trimEnd()}\n`
