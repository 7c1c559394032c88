/** `attestry token revoke` */
import { openTokens } from '../../access/tokens.ts'
import { didYouMean } from '../../config/nearest.ts'
import { AttestryError } from '../../errors.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'

export const revoke: Run = async (args, io) => {
  const command = storeJack('attestry token revoke NAME', 'Make a token worthless.')
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'token revoke: wanted the name of one token')
  return withStore(values, io, async store => {
    const tokens = openTokens(store.records, () => new Date())
    if (!(await tokens.revoke(name))) {
      const known = (await tokens.list()).map(token => token.name)
      throw new AttestryError('EUSAGE', `there is no token ${name}${didYouMean(name, known)}`)
    }
    io.stdout.write(values.json ? jsonText({ revoked: name }) : `${name} is revoked.\n`)
    return 0
  })
}
