/** `attestry store stats` */
import { formatSize } from '../../config/units.ts'
import type { Records } from '../../store/store.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Run } from '../io.ts'
import { columns, jsonText, storeJack, withStore } from '../store-session.ts'

const count = async (records: Records, collection: string): Promise<number> => {
  let found = 0
  for await (const _ of records.list(collection)) found++
  return found
}

/** Three digits at most, in the unit that fits. */
export const sizeText = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export const stats: Run = async (args, io) => {
  const command = storeJack('attestry store stats [options]', 'Count what is kept.')
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  return withStore(values, io, async ({ records, blobs }, { storage }) => {
    let files = 0
    for await (const _ of blobs.list()) files++
    const found = {
      packages: await count(records, 'package'),
      admitted: await count(records, 'pin'),
      evidence: await count(records, 'evidence'),
      documents: await count(records, 'document'),
      tokens: await count(records, 'token'),
      blobs: files,
      bytes: await blobs.size(),
      maxBytes: storage.maxSize,
    }
    if (values.json) {
      io.stdout.write(jsonText(found))
      return 0
    }
    const rows = [
      ['packages', String(found.packages), 'packuments looked at'],
      ['admitted', String(found.admitted), 'versions whose bytes are settled'],
      ['evidence', String(found.evidence), 'versions that were examined'],
      ['documents', String(found.documents), 'attestations and keys kept'],
      ['tokens', String(found.tokens), 'made by attestry token'],
      [
        'blobs',
        String(found.blobs),
        `${sizeText(found.bytes)} of ${formatSize(found.maxBytes)}`,
      ],
    ]
    io.stdout.write(columns(rows))
    return 0
  })
}
