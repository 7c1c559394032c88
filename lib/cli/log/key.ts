/** `attestry log key` */
import { AttestryError } from '../../errors.ts'
import { logKeyOf } from '../../sealing/open-sealing.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack } from '../store-session.ts'
import { sessionSettings } from '../session.ts'

export const key: Run = async (args, io) => {
  const command = storeJack(
    'attestry log key [options]',
    'Print the public key that checkpoints are checked by, as name+hash+key. Nothing is made.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { auditLog, storage } = await sessionSettings(values, io)
  const signer = await logKeyOf({ settings: auditLog, storage: storage.path })
  if (signer === undefined)
    throw new AttestryError(
      'ENOTFOUND',
      'There is no key yet: attestry serve makes it, and so does attestry log checkpoint.',
    )
  const { name: origin, verifierKey } = signer
  io.stdout.write(values.json ? jsonText({ origin, key: verifierKey }) : `${verifierKey}\n`)
  return 0
}
