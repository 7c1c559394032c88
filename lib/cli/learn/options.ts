/** The options of `attestry learn`. Throws EUSAGE. */
import { AttestryError } from '../../errors.ts'
import { helpText, parseArguments } from '../arguments.ts'
import { sessionJack, type SessionValues } from '../session.ts'

export type LearnOptions = {
  readonly session: SessionValues
  /** As given; none means that of the working directory. */
  readonly lockfile?: string
  /** Days of the audit record to learn from, in the place of a lockfile. */
  readonly days?: number
  /** As given. */
  readonly output?: string
  readonly write: boolean
  readonly afresh: boolean
  readonly offline: boolean
  readonly json: boolean
}

/** Days of the record that are read unless it is said. */
const DAYS = 30

const learnJack = () =>
  sessionJack(
    'attestry learn [lockfile] [options]',
    'Verify every package version of a lockfile, and write a policy that pins the publishers found. Where there is a policy already, show what would be added. Exits with 0 when all was learned, 1 when something was refused, 2 when something could not be checked.',
  )
    .opt({
      output: {
        short: 'o',
        hint: 'file',
        description:
          'The policy to make or to add to; default the one that is configured, else ./attestry.policy.yaml.',
      },
    })
    .num({
      days: {
        hint: 'days',
        description: `With --from-record: how far to look back; default ${DAYS}.`,
        validate: value =>
          Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 3650,
      },
    })
    .flag({
      write: { short: 'w', description: 'Write the policy instead of showing it.' },
      'from-record': {
        description: 'Learn from what this proxy has admitted, instead of from a lockfile.',
      },
      afresh: {
        description:
          'Forget what was learned before and learn it anew; what people wrote stays.',
      },
      offline: { description: 'Ask no registry: learn from what the store knows.' },
      json: { description: 'Print JSON: what was seen, and what was made of it.' },
    })

/** What was asked for, or the text that explains how to ask. */
export const readOptions = (
  args: readonly string[],
): LearnOptions | { readonly help: string } => {
  const command = learnJack()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) return { help: helpText(command) }
  const [lockfile, ...more] = positionals
  const recorded = values['from-record'] ?? false
  if (more.length > 0 || (recorded && lockfile !== undefined)) {
    const found = positionals.map(text => JSON.stringify(text)).join(' ')
    const wanted = recorded ? '--from-record or a lockfile, not both' : 'one lockfile'
    throw new AttestryError('EUSAGE', `learn: wanted ${wanted}, found ${found}`)
  }
  if (values.days !== undefined && !recorded)
    throw new AttestryError('EUSAGE', 'learn: --days only means something with --from-record')
  const { config, storage, upstream, policy, output } = values
  return {
    session: { config, storage, upstream, policy },
    ...(lockfile !== undefined && { lockfile }),
    ...(recorded && { days: values.days ?? DAYS }),
    ...(output !== undefined && { output }),
    write: values.write ?? false,
    afresh: values.afresh ?? false,
    offline: values.offline ?? false,
    json: values.json ?? false,
  }
}
