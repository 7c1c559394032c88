import { randomBytes } from 'node:crypto'
import { messageOf } from '../errors.ts'
import type { Database } from './database.ts'
import { openLeaseTurns } from './lease-turns.ts'
import { isAlive, pidNamespace } from './process-mark.ts'
import type { Lifetime } from './store-error.ts'
import { assertOpen } from './store-error.ts'
import type { StoreLog } from './store-event.ts'
import type { Leases } from './store.ts'

/** Milliseconds after which a lease that its holder did not renew is anybody's. */
const lifespan = 15_000
const renewal = 4_000

export type LocalLeases = Leases & {
  /** Frees what is held; what still runs under it runs on without. */
  stop(): Promise<void>
}

/**
 * Leases as rows. A holder renews its rows as long as it lives; the lease of a process that is gone
 * from this machine is free at once, that of one in another container when it expires. Nothing
 * here waits for the disk: after a loss of power there are no holders.
 */
export const openLocalLeases = async (
  database: Database,
  lifetime: Lifetime,
  log: StoreLog,
): Promise<LocalLeases> => {
  const here = pidNamespace()
  const holder = `${here}-${process.pid}-${randomBytes(8).toString('hex')}`
  const select = database.prepare('SELECT holder, expires FROM leases WHERE key = ?')
  const insert = database.prepare('INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const takeOver = database.prepare(
    'UPDATE leases SET holder = ?, expires = ? WHERE key = ? AND holder = ? AND expires = ?',
  )
  const renew = database.prepare('UPDATE leases SET expires = ? WHERE holder = ?')
  const remove = database.prepare('DELETE FROM leases WHERE key = ? AND holder = ?')
  const removeAll = database.prepare('DELETE FROM leases WHERE holder = ?')
  const removeExpired = database.prepare('DELETE FROM leases WHERE expires < ?')

  const isGone = (other: string): boolean => {
    const [, where, pid] = /^(\d*)-(\d+)-/.exec(other) ?? []
    return where === here && Number(pid) !== process.pid && !isAlive(Number(pid))
  }

  let held = 0
  let timer: NodeJS.Timeout | undefined

  const renewAll = (): void => {
    void database
      .write('renew leases', 60 * held, () => renew.run(Date.now() + lifespan, holder))
      .catch((error: unknown) => {
        if (lifetime.closed) return
        log({ event: 'background-failed', job: 'leases', detail: messageOf(error) })
      })
  }
  const count = (change: number): void => {
    held += change
    if (held > 0) timer ??= setInterval(renewAll, renewal).unref()
    else {
      clearInterval(timer)
      timer = undefined
    }
  }

  const take = async (key: string): Promise<boolean> => {
    assertOpen(lifetime)
    const row = await database.read('read a lease', () => select.get(key))
    const now = Date.now()
    if (row === undefined) {
      const { changes } = await database.write('take a lease', key.length + 60, () =>
        insert.run(key, holder, now + lifespan),
      )
      return Number(changes) > 0
    }
    const other = String(row['holder'])
    const expires = Number(row['expires'])
    if (expires >= now && !isGone(other)) return false
    const { changes } = await database.write('take a lease', key.length + 60, () =>
      takeOver.run(holder, now + lifespan, key, other, expires),
    )
    return Number(changes) > 0
  }

  await database.write('clear leases', 0, () => removeExpired.run(Date.now()))

  const turns = openLeaseTurns({
    take: async key => {
      const taken = await take(key)
      if (taken) count(1)
      return taken
    },
    free: async key => {
      count(-1)
      // closed: `stop` has freed it
      if (lifetime.closed) return
      await database
        .write('free a lease', 0, () => remove.run(key, holder))
        .catch((error: unknown) => {
          // the work is done; what is not freed expires
          log({ event: 'background-failed', job: 'leases', detail: messageOf(error) })
        })
    },
  })

  return {
    ...turns,
    stop: async () => {
      clearInterval(timer)
      await database.write('free leases', 0, () => removeAll.run(holder)).catch(() => undefined)
    },
  }
}
