/** `attestry log prune` */
import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { AttestryError } from '../../errors.ts'
import { logKeyOf, openSealing } from '../../sealing/open-sealing.ts'
import { signPruning } from '../../sealing/pruning.ts'
import { lastTime } from '../../store/audit-rules.ts'
import type { AuditLog } from '../../store/store.ts'
import { leafHash } from '../../transparency/merkle.ts'
import { tileWidth } from '../../transparency/tiles.ts'
import { openProgress } from '../audit/progress.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'
import { sizeText } from '../store/stats.ts'
import { prunedEntries, writePruned } from './archive.ts'
import { parseSince } from './show.ts'

const options = () =>
  storeJack(
    'attestry log prune --before TIME --out FILE [options]',
    'Write the entries from before a time to a file and drop them. Their hashes stay: what is left can be proven as before, and what is in the file with attestry log verify --archive. Whole tiles only: up to 255 entries more than asked for stay.',
  ).opt({
    before: { hint: 'time', description: 'A date, a time, or days back: 400d.' },
    out: { hint: 'file', description: 'The file; it must not be there.' },
  })

/** The last entry from before `time` that ends a tile; entries stand in the order they came. */
const lastBefore = async (audit: AuditLog, time: number): Promise<number> => {
  let last = 0
  for await (const entry of audit.read()) {
    if (lastTime(entry) >= time) break
    last = entry.seq
  }
  return last - (last % tileWidth)
}

const checkWritten = async (audit: AuditLog, file: string): Promise<void> => {
  for await (const { index, entries } of prunedEntries(file).bundles())
    if (!Buffer.concat(entries.map(leafHash)).equals(await audit.tile(0, index)))
      throw new AttestryError('EARCHIVE', `${file} does not hold what was written to it.`)
}

const required = (name: string, value: string | undefined): string => {
  if (value !== undefined && value !== '') return value
  throw new AttestryError('EUSAGE', `log prune: --${name} is missing`)
}

const progressOf = (io: Io, total: number) =>
  openProgress({ output: io.stderr, paint: (_, text) => text, title: 'Writing', total })

export const prune: Run = async (args, io) => {
  const command = options()
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const time = parseSince(required('before', values.before), new Date())
  const out = required('out', values.out)
  const file = resolve(io.cwd, out)
  const there = await access(file).then(
    () => true,
    () => false,
  )
  if (there) throw new AttestryError('EUSAGE', `--out ${out}: there is such a file already`)
  return withStore(values, io, async ({ audit, records }, settings) => {
    const place = { settings: settings.auditLog, storage: settings.storage.path }
    const { pruned } = await audit.tree()
    const last = await lastBefore(audit, time)
    if (last <= pruned) {
      io.stdout.write(
        values.json ? jsonText({ pruned: 0 }) : 'No whole tile of entries is that old.\n',
      )
      return 0
    }
    const sealer = await openSealing({
      ...place,
      audit,
      ...(settings.storage.postgres && { records }),
    })
    const checkpoint = await sealer.seal()
    await sealer.close()
    const signer = await logKeyOf(place)
    if (checkpoint === undefined || signer === undefined)
      throw new AttestryError('ELOG', sealer.state().fault ?? 'The log has no checkpoint.')
    const progress = progressOf(io, last - pruned)
    try {
      const range = { first: pruned + 1, last, onProgress: progress.to }
      const { bytes, sha256 } = await writePruned(file, audit, checkpoint, range)
      await checkWritten(audit, file)
      const word = { seq: last, archive: sha256, at: new Date().toISOString() }
      await audit.prune(last, signPruning(word, signer))
      progress.end()
      const json = { pruned: last - pruned, first: pruned + 1, last, file: out, bytes, sha256 }
      io.stdout.write(
        values.json
          ? jsonText(json)
          : `Entries ${pruned + 1} to ${last} are in ${out}, ${sizeText(bytes)}, sha256 ${sha256}.\n`,
      )
      return 0
    } finally {
      progress.end()
    }
  })
}
