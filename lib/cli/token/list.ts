/** `attestry token list` */
import { openTokens } from '../../access/tokens.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { columns, jsonText, storeJack, withStore } from '../store-session.ts'

export const list: Run = async (args, io) => {
  const command = storeJack('attestry token list [options]', 'List the tokens.')
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  return withStore(values, io, async store => {
    const tokens = await openTokens(store.records, () => new Date()).list()
    if (values.json) {
      io.stdout.write(jsonText({ tokens }))
      return 0
    }
    if (tokens.length === 0) {
      io.stdout.write('There are no tokens.\n')
      return 0
    }
    const rows = tokens.map(({ name, view, createdAt, expiresAt, ended }) => [
      name,
      view ?? '-',
      createdAt.slice(0, 10),
      expiresAt === undefined ? 'never' : expiresAt.slice(0, 10),
      ended ? 'expired' : 'valid',
    ])
    io.stdout.write(columns([['NAME', 'VIEW', 'CREATED', 'EXPIRES', 'STATE'], ...rows]))
    return 0
  })
}
