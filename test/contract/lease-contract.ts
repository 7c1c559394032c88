import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Store } from '../../lib/store/store.ts'
import type { OpenStore } from './tools.ts'
import { eventually, use } from './tools.ts'

export const leaseContract = (t: Test, open: OpenStore) => {
  t.test('one at a time over all stores, and everybody gets a turn', async t => {
    const space = randomBytes(6).toString('hex')
    const stores = await Promise.all([1, 2, 3].map(() => use(t, open, { space })))
    let inside = 0
    let most = 0
    const turns = await Promise.all(
      Array.from({ length: 24 }, (_, caller) =>
        (stores[caller % 3] as Store).leases.run(
          'fetch left-pad',
          async () => {
            inside += 1
            most = Math.max(most, inside)
            await pause(5)
            inside -= 1
            return caller
          },
          { wait: 60_000 },
        ),
      ),
    )
    t.equal(most, 1)
    t.same(
      turns.map(turn => turn.ran && turn.value),
      Array.from({ length: 24 }, (_, caller) => caller),
    )
  })

  t.test('who waited long enough is told so; other keys and other stores are free', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    const elsewhere = await use(t, open)
    let end: () => void = () => undefined
    let began = false
    const held = first.leases.run(
      'a',
      () =>
        new Promise<void>(resolve => {
          began = true
          end = resolve
        }),
      { wait: 0 },
    )
    t.ok(await eventually(() => began))
    const never = () => Promise.reject(new Error('it ran'))
    t.same(await second.leases.run('a', never, { wait: 0 }), { ran: false })
    t.same(await second.leases.run('a', never, { wait: 100 }), { ran: false })
    t.same(await first.leases.run('a', never, { wait: 100 }), { ran: false })
    t.same(await second.leases.run('b', async () => 1, { wait: 0 }), { ran: true, value: 1 })
    t.same(await elsewhere.leases.run('a', async () => 2, { wait: 0 }), { ran: true, value: 2 })
    const waiting = second.leases.run('a', async () => 3, { wait: 60_000 })
    end()
    await held
    t.same(await waiting, { ran: true, value: 3 })
  })

  t.test('work that fails frees its lease, and so does a store that is closed', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await open({ space })
    const second = await use(t, open, { space })
    const fails = first.leases.run('a', () => Promise.reject(new TypeError('no')), { wait: 0 })
    await t.rejects(fails, TypeError)
    t.match(await second.leases.run('a', async () => 1, { wait: 60_000 }), { ran: true })
    let end: () => void = () => undefined
    let began = false
    const held = first.leases.run(
      'b',
      () =>
        new Promise<void>(resolve => {
          began = true
          end = resolve
        }),
      { wait: 0 },
    )
    t.ok(await eventually(() => began))
    await first.close()
    t.match(await second.leases.run('b', async () => 1, { wait: 60_000 }), { ran: true })
    end()
    await held
  })
}
