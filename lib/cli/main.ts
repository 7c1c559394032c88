/** The command line: global options, choice of the command, and one place where errors end. */
import { jack } from 'jackspeak'
import { didYouMean } from '../config/nearest.ts'
import { AttestryError, isAttestryError } from '../errors.ts'
import { commands as allCommands, type Command } from './commands.ts'
import { parseArguments } from './arguments.ts'
import type { Io } from './io.ts'
import { listed } from './parts.ts'
import { version } from '../version.ts'

const options = () =>
  jack({
    usage: 'attestry [command] [options]',
    // what stands behind the command's name belongs to the command
    stopAtPositional: true,
  })
    .description('A caching npm registry proxy that serves only what policy admits.')
    .flag({
      help: { short: 'h', description: 'Print this; after a command, its own options.' },
      version: { short: 'V', description: 'Print the version.' },
    })

const listOf = (commands: Readonly<Record<string, Command>>, columns: number): string =>
  `\nCommands:\n${listed(commands, columns)}`

/** jackspeak marks what it throws about arguments with this code in the cause. */
const isUsageError = (error: unknown): error is Error =>
  error instanceof Error &&
  (error.cause as { code?: unknown } | undefined)?.code === 'JACKSPEAK'

const report = (error: unknown, io: Io): number => {
  const told = isUsageError(error) ? new AttestryError('EUSAGE', error.message) : error
  if (isAttestryError(told)) {
    io.stderr.write(`attestry: ${told.message}\n${told.code}: ${told.todo}\n`)
  } else {
    // not raised on purpose: a defect, and the stack is what is needed to mend it
    io.stderr.write(`attestry: ${told instanceof Error ? told.stack : String(told)}\n`)
  }
  return 2
}

/**
 * `argv` is what follows the script's name. Resolves to the exit code and never rejects: 2 for
 * anything that could not be run, so that it is not mistaken for a refusal (1).
 */
export const main = async (
  argv: readonly string[],
  io: Io,
  commands: Readonly<Record<string, Command>> = allCommands,
): Promise<number> => {
  try {
    const global = options()
    const { values, positionals } = parseArguments(global, argv)
    // `attestry help store gc` is `attestry store gc --help`
    const asked = positionals[0] === 'help' ? [...positionals.slice(1), '--help'] : positionals
    if (values.help || asked[0] === '--help') {
      io.stdout.write(`${global.usage()}\n${listOf(commands, io.stdout.columns ?? 80)}`)
      return 0
    }
    if (values.version) {
      io.stdout.write(`${version}\n`)
      return 0
    }
    const [name = 'serve', ...args] = asked
    const command = Object.hasOwn(commands, name) ? commands[name] : undefined
    if (command === undefined) {
      const known = Object.keys(commands)
      throw new AttestryError(
        'EUSAGE',
        `there is no command ${JSON.stringify(name)}${didYouMean(name, known)}; the commands are ${known.join(', ')}`,
      )
    }
    const run = await command.load()
    return await run(args, io)
  } catch (error) {
    return report(error, io)
  }
}
