/** What is kept of finished answers and of verdicts for other processes and the next start. */
import { isAttestryError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import { openBehind, type Behind } from './behind.ts'
import type { Background } from './background.ts'
import { openKeptRepresentations, type KeptRepresentations } from './kept-representations.ts'
import { openSettling, type Settling } from './settling.ts'

export type Keeping = {
  readonly maker: string
  readonly representations: KeptRepresentations
  readonly behind: Behind
  readonly settling: Settling
  /** Resolves when all that could be kept by now is. */
  readonly idle: () => Promise<void>
  /** Waits for what is under way; nothing is kept after it. */
  readonly close: () => Promise<void>
}

export const openKeeping = (options: {
  readonly store: Pick<Store, 'records' | 'blobs'>
  /** This program as it is; without it nothing is kept. */
  readonly maker: string | undefined
  readonly background: Pick<Background, 'add' | 'idle'>
  readonly onError: (key: string, error: unknown) => void
}): Keeping | undefined => {
  const { store, maker, background } = options
  if (maker === undefined) return undefined
  // that the store is away is told by those who wait for it; what is not kept is made again
  const onError = (key: string, error: unknown) => {
    if (!isAttestryError(error) || error.code !== 'ESTOREDOWN') options.onError(key, error)
  }
  const behind = openBehind({ onError })
  const settling = openSettling({ written: behind.idle, onError })
  return {
    maker,
    representations: openKeptRepresentations({ store, maker, later: background.add, behind }),
    behind,
    settling,
    idle: async () => {
      // what is found out behind the answers may settle something
      await background.idle()
      await settling.flush()
      await Promise.all([background.idle(), behind.idle()])
    },
    close: async () => {
      await settling.close()
      await behind.idle()
    },
  }
}
