/**
 * A process that writes to a store as fast as it can until it is killed, or for `rounds` rounds,
 * and prints one line for each write that was acknowledged. Arguments: path, run, rounds, and which
 * kind of write, when not all.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { messageOf, isAttestryError } from '../../lib/errors.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import type { Store } from '../../lib/store/store.ts'
import { auditEntry, stageBytes } from '../contract/tools.ts'
import { recordValue } from './crash-record.ts'

const [path = '', run = '', rounds = 'Infinity', kind] = process.argv.slice(2)
const said = (...words: readonly (string | number)[]) => writeSync(1, `${words.join(' ')}\n`)
const blobSizes = [10, 900, 40_000, 1_100_000, 2_500_000]

/** Bytes that no other run or round has. */
const content = (round: number): Buffer => {
  const size = blobSizes[round % blobSizes.length] ?? 0
  return Buffer.alloc(size, createHash('sha512').update(`${run} ${round}`).digest())
}

const work: Readonly<Record<string, (store: Store, round: number) => Promise<void>>> = {
  blob: async ({ blobs }, round) => {
    const staged = await stageBytes(blobs, content(round))
    await staged.finish()
    if (round % 7 === 6) return await staged.abort()
    said('blob', (await staged.commit()).integrity)
  },
  record: async ({ records }, round) => {
    // Each round replaces what an earlier one put, so that a torn replacement would show.
    const key = `${run}-${round % 5}`
    await records.put('crash', key, recordValue(round))
    said('record', key, round)
  },
  pin: async ({ records }, round) => {
    await records.putIfAbsent('pin', `${run}-${round}`, recordValue(round))
    said('pin', `${run}-${round}`)
  },
  audit: async ({ audit }, round) => {
    const rules = Array.from({ length: 5 }, (_, index) => `${run}-${round}-${index}`)
    await Promise.all(
      rules.map(async rule => {
        await audit.append(auditEntry('p', rule))
        said('audit', rule)
      }),
    )
  },
}

try {
  const store = await openLocalStore({ path })
  await Promise.all(
    Object.entries(work).map(async ([name, step]) => {
      if (kind !== undefined && kind !== name) return
      for (let round = 0; round < Number(rounds); round += 1) await step(store, round)
    }),
  )
  await store.close()
  said('closed')
} catch (error) {
  said('failed', isAttestryError(error) ? error.code : 'unknown', messageOf(error))
}
