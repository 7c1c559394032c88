/** `attestry keys list` */
import { readKeyFolder } from '../../trust/key-folder.ts'
import { stateOf } from '../../trust/registry-key.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { columns, jsonText } from '../store-session.ts'
import { keyFolderOf, keysJack } from './folder.ts'

export const list: Run = async (args, io) => {
  const command = keysJack('attestry keys list [options]', 'List the keys, the newest last.')
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const now = Date.now()
  const folder = await keyFolderOf(values, io)
  const { keys: listed } = await readKeyFolder(folder)
  const keys = listed
    .map(key => ({
      keyId: key.keyId,
      validFrom: key.validFrom ?? '',
      ...(key.validUntil !== undefined && { validUntil: key.validUntil }),
      state: stateOf(key, listed, now),
      privateKey: key.held,
    }))
    .sort((a, b) => Date.parse(a.validFrom) - Date.parse(b.validFrom))
  if (values.json) {
    io.stdout.write(jsonText({ folder: folder.folder, keys }))
    return 0
  }
  if (keys.length === 0) {
    io.stdout.write(`There are no keys in ${folder.folder}.\n`)
    return 0
  }
  const rows = keys.map(({ keyId, validFrom, validUntil, state, privateKey }) => [
    keyId,
    validFrom.slice(0, 10),
    validUntil?.slice(0, 10) ?? 'no end',
    state,
    privateKey ? 'here' : 'not here',
  ])
  io.stdout.write(columns([['KEY', 'FROM', 'UNTIL', 'STATE', 'PRIVATE HALF'], ...rows]))
  return 0
}
