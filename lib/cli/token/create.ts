/** `attestry token create`: the token alone on stdout, so that a script can take it. */
import { openTokens } from '../../access/tokens.ts'
import { didYouMean } from '../../config/nearest.ts'
import { durationWanted, parseDuration } from '../../config/units.ts'
import { AttestryError } from '../../errors.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'

const options = () =>
  storeJack('attestry token create --name NAME [options]', 'Make a token and print it.').opt({
    name: { hint: 'name', description: 'What the log and the audit record call its bearer.' },
    view: {
      hint: 'view',
      description: 'The view it is judged in, of `views` in the settings.',
    },
    expires: {
      hint: 'duration',
      description: 'How long it holds, as in 90d; default for ever.',
    },
  })

const usage = (message: string) => new AttestryError('EUSAGE', message)

export const create: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { name, view, expires, json } = values
  if (name === undefined) throw usage('token create: wanted --name')
  if (positionals.length > 0) throw usage(`token create: ${positionals[0]} is not an option`)
  const lifetime = expires === undefined ? undefined : parseDuration(expires)
  if (expires !== undefined && !lifetime) throw usage(`--expires: ${durationWanted}`)
  return withStore(values, io, async (store, { views }) => {
    const known = Object.keys(views)
    if (view !== undefined && !known.includes(view)) {
      const named = known.length > 0 ? known.join(', ') : 'none'
      throw usage(
        `there is no view ${JSON.stringify(view)}${didYouMean(view, known)}; the settings name ${named}`,
      )
    }
    const made = await openTokens(store.records, () => new Date()).create({
      name,
      ...(view !== undefined && { view }),
      ...(lifetime !== undefined && { lifetime }),
    })
    const { token, record } = made
    if (json) {
      io.stdout.write(jsonText({ token, ...record }))
      return 0
    }
    io.stdout.write(`${token}\n`)
    const end = record.expiresAt === undefined ? 'no end' : `until ${record.expiresAt}`
    const where = view === undefined ? '' : `, view ${view}`
    io.stderr.write(`${name}${where}, ${end}. It is not kept and cannot be shown again.\n`)
    return 0
  })
}
