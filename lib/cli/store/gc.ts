/** `attestry store gc` */
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import { sizeText } from './stats.ts'

export const gc: Run = async (args, io) => {
  const command = storeJack(
    'attestry store gc [options]',
    'Remove the least recently used tarballs until the rest fits storage.maxSize.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  return withStore(values, io, async store => {
    const { removed, freed } = await store.collect()
    const text = `${removed} removed, ${sizeText(freed)} freed.\n`
    io.stdout.write(values.json ? jsonText({ removed, freed }) : text)
    return 0
  })
}
