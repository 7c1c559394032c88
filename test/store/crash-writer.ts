/**
 * A process that writes to a store as fast as it can until it is killed, or for `rounds` rounds,
 * and prints one line for each write that was acknowledged. Arguments: path, run, rounds.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { messageOf, isAttestryError } from '../../lib/errors.ts'
import { openLocalStore } from '../../lib/store/local.ts'
import { auditEntry, stageBytes } from '../contract/tools.ts'
import { recordValue } from './crash-record.ts'

const [path = '', run = '', rounds = 'Infinity'] = process.argv.slice(2)
const said = (...words: readonly (string | number)[]) => writeSync(1, `${words.join(' ')}\n`)
const blobSizes = [10, 900, 40_000, 1_100_000, 2_500_000]

/** Bytes that no other run or round has. */
const content = (round: number): Buffer => {
  const size = blobSizes[round % blobSizes.length] ?? 0
  return Buffer.alloc(size, createHash('sha512').update(`${run} ${round}`).digest())
}

const work: readonly ((
  store: Awaited<ReturnType<typeof openLocalStore>>,
  round: number,
) => Promise<void>)[] = [
  async ({ blobs }, round) => {
    const staged = await stageBytes(blobs, content(round))
    await staged.finish()
    if (round % 7 === 6) return await staged.abort()
    said('blob', (await staged.commit()).integrity)
  },
  async ({ records }, round) => {
    // Each round replaces what an earlier one put, so that a torn replacement would show.
    const key = `${run}-${round % 5}`
    await records.put('crash', key, recordValue(round))
    said('record', key, round)
  },
  async ({ records }, round) => {
    await records.putIfAbsent('pin', `${run}-${round}`, { run, round })
    said('pin', `${run}-${round}`)
  },
  async ({ audit }, round) => {
    const rules = Array.from({ length: 5 }, (_, index) => `${run}-${round}-${index}`)
    await Promise.all(
      rules.map(async rule => {
        await audit.append(auditEntry('p', rule))
        said('audit', rule)
      }),
    )
  },
]

try {
  const store = await openLocalStore({ path })
  await Promise.all(
    work.map(async step => {
      for (let round = 0; round < Number(rounds); round += 1) await step(store, round)
    }),
  )
  await store.close()
  said('closed')
} catch (error) {
  said('failed', isAttestryError(error) ? error.code : 'unknown', messageOf(error))
}
