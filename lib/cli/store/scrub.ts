/** `attestry store scrub` */
import type { StoreEvent } from '../../store/store-event.ts'
import { helpText, parseOptions } from '../arguments.ts'
import { withProgress } from '../audit/progress.ts'
import type { Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import { sizeText } from './stats.ts'

type Damage = { readonly integrity: string; readonly detail: string }

export const scrub: Run = async (args, io) => {
  const command = storeJack(
    'attestry store scrub [options]',
    'Hash every blob again. A damaged one is removed; it is fetched again when it is asked for.',
  )
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const damaged: Damage[] = []
  const log = (event: StoreEvent) => {
    if (event.event === 'blob-damaged')
      damaged.push({ integrity: event.integrity, detail: event.detail })
  }
  const checked = await withStore(
    values,
    io,
    async ({ blobs }) => {
      let total = 0
      for await (const _ of blobs.list()) total++
      return withProgress(io, { title: 'hashing', total }, async progress => {
        let count = 0
        let bytes = 0
        for await (const { integrity, size } of blobs.list()) {
          count++
          // one that is gone by now was evicted, and is no damage
          if (await blobs.verify(integrity)) bytes += size
          progress.step()
        }
        return { count, bytes }
      })
    },
    log,
  )
  if (values.json) io.stdout.write(jsonText({ ...checked, damaged }))
  else {
    for (const { integrity, detail } of damaged)
      io.stdout.write(`${integrity}: ${detail}; removed\n`)
    io.stdout.write(
      `${checked.count} blobs checked, ${sizeText(checked.bytes)}; ${damaged.length} damaged.\n`,
    )
  }
  return damaged.length === 0 ? 0 : 1
}
