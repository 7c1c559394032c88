/** `attestry log checkpoint` */
import { AttestryError } from '../../errors.ts'
import { openSealing } from '../../sealing/open-sealing.ts'
import { parseCheckpoint } from '../../transparency/checkpoint.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'

export const checkpoint: Run = async (args, io) => {
  const command = storeJack(
    'attestry log checkpoint [options]',
    'Sign the log as it is now and print the checkpoint. Keep it where nobody who can write to the storage can: attestry log verify --checkpoint holds the log to it.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  return withStore(values, io, async ({ audit }, settings) => {
    const sealer = await openSealing({
      settings: settings.auditLog,
      storage: settings.storage.path,
      audit,
    })
    const note = await sealer.seal()
    await sealer.close()
    const { fault } = sealer.state()
    if (fault !== undefined) throw new AttestryError('ELOG', fault)
    if (note === undefined)
      throw new AttestryError('ENOTFOUND', 'The log has no entries: there is nothing to sign.')
    const { origin, size, root } = parseCheckpoint(note)
    const json = { origin, size, root: Buffer.from(root).toString('base64'), checkpoint: note }
    io.stdout.write(values.json ? jsonText(json) : note)
    return 0
  })
}
