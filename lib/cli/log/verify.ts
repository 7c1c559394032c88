/** `attestry log verify` */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { AttestryError, messageOf } from '../../errors.ts'
import { keptCheckpointOf, verifiersOf } from '../../sealing/open-sealing.ts'
import { verifyLog, type LogReport } from '../../sealing/verify-log.ts'
import { noteMax, parseVerifierKey, type NoteVerifier } from '../../transparency/note.ts'
import { withProgress } from '../audit/progress.ts'
import { prunedEntries } from './archive.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { jsonText, storeJack, withStore } from '../store-session.ts'

const options = () =>
  storeJack(
    'attestry log verify [options]',
    'Prove that the audit log is what was signed: nothing changed, removed, reordered or cut off. Exit code 0 when it is, 1 when it is not, 2 when it has entries and nobody has signed them yet.',
  ).optList({
    checkpoint: {
      hint: 'file',
      description: 'A checkpoint kept elsewhere; the log must contain it.',
    },
    key: {
      hint: 'name+hash+key',
      description: 'Public key, in place of the one in the storage.',
    },
    archive: {
      hint: 'file',
      description: 'Entries that were pruned into this file are proven, too.',
    },
  })

type Outside = { readonly source: string; readonly note: string }

const readCheckpoint = async (file: string, cwd: string): Promise<Outside> => {
  try {
    const note = await readFile(resolve(cwd, file), 'utf8')
    if (note.length > noteMax) throw new Error('the file is too large')
    return { source: file, note }
  } catch (error) {
    throw new AttestryError('EUSAGE', `--checkpoint ${file}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

const keyFrom = (text: string): NoteVerifier => {
  try {
    return parseVerifierKey(text)
  } catch (error) {
    throw new AttestryError('EUSAGE', `--key: ${messageOf(error)}`, { cause: error })
  }
}

const number = (count: number, what: string, more = `${what}s`) =>
  `${count} ${count === 1 ? what : more}`

const tell = (io: Io, report: LogReport): void => {
  const { size, pruned, verified, checkpoints, unsigned, findings, more, archived } = report
  for (const { detail } of findings) io.stdout.write(`${detail}\n`)
  if (more > 0) io.stdout.write(`… and ${more} more.\n`)
  const last = checkpoints.at(-1)
  const parts = [
    `${number(verified, 'entry', 'entries')} verified of ${size}`,
    ...(pruned > 0 ? [`${pruned} pruned, ${archived} of them in archives given`] : []),
    last === undefined
      ? 'no checkpoint holds'
      : `${number(checkpoints.length, 'checkpoint holds', 'checkpoints hold')}, the newest for ${last.size}`,
    ...(unsigned > 0 && last !== undefined ? [`${unsigned} not signed for yet`] : []),
  ]
  io.stdout.write(`${parts.join('; ')}.\n`)
}

/** 2 where what is there agrees with itself, but nobody's signature speaks for it. */
export const exitCodeOf = ({ size, checkpoints, findings }: LogReport): number => {
  if (findings.length > 0) return 1
  return size > 0 && checkpoints.length === 0 ? 2 : 0
}

export const verify: Run = async (args, io) => {
  const command = options()
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const outside = await Promise.all(
    (values.checkpoint ?? []).map(file => readCheckpoint(file, io.cwd)),
  )
  return withStore(values, io, async ({ audit }, settings) => {
    const place = { settings: settings.auditLog, storage: settings.storage.path }
    const keys = values.key?.length ? values.key.map(keyFrom) : await verifiersOf(place)
    const kept = keptCheckpointOf(place)
    const note = await kept.read()
    const { size } = await audit.tree()
    const outsiders = [...(note === undefined ? [] : [{ source: kept.path, note }]), ...outside]
    const archives = (values.archive ?? []).map(file => prunedEntries(resolve(io.cwd, file)))
    const report = await withProgress(
      io,
      { title: 'verifying', total: size },
      ({ to: onProgress }) =>
        verifyLog({ audit, keys, outside: outsiders, archives, onProgress }),
    )
    const code = exitCodeOf(report)
    const result = ['verified', 'refuted', 'unsigned'][code]
    if (values.json) io.stdout.write(jsonText({ result, ...report }))
    else tell(io, report)
    return code
  })
}
