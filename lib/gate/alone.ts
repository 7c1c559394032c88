/** Work that one process does for all that share the store. */
import type { Leases } from '../store/store.ts'

/** Milliseconds that others wait for the one who works; who is slower is done without. */
const PATIENCE = 30_000

/**
 * Runs `work` while no other process runs it under `key`. `done` is asked first: what another
 * process has done meanwhile.
 */
export type Alone = <T>(
  key: string,
  done: () => Promise<T | undefined>,
  work: () => Promise<T>,
) => Promise<T>

export const openAlone =
  (leases: Leases, wait = PATIENCE): Alone =>
  async (key, done, work) => {
    const turn = await leases.run(key, async () => (await done()) ?? (await work()), { wait })
    return turn.ran ? turn.value : ((await done()) ?? (await work()))
  }
