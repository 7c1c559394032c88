import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Change, Store } from '../../lib/store/store.ts'
import type { OpenStore } from './tools.ts'
import { eventually, use } from './tools.ts'

type News = Change | 'resync'

const textOf = (news: News) => (news === 'resync' ? news : `${news.topic} ${news.key}`)

const listenTo = ({ changes }: Store) => {
  const heard: string[] = []
  const stop = changes.subscribe(news => heard.push(textOf(news)))
  return { heard, stop }
}

export const changeContract = (t: Test, open: OpenStore) => {
  t.test('a change reaches the others on the store within a second, and in order', async t => {
    const space = randomBytes(6).toString('hex')
    const [first, second, third] = await Promise.all([
      use(t, open, { space }),
      use(t, open, { space }),
      use(t, open, { space }),
    ])
    const [one, two, three] = [first, second, third].map(listenTo)
    const elsewhere = listenTo(await use(t, open))
    const keys = Array.from({ length: 30 }, (_, index) => `@acme/ünï-${index}`)
    const started = performance.now()
    await Promise.all(keys.map(key => first.changes.publish({ topic: 'evidence', key })))
    const wanted = keys.map(key => `evidence ${key}`)
    t.ok(await eventually(() => two?.heard.length === 30 && three?.heard.length === 30))
    t.ok(performance.now() - started < 5000, 'a second, on a machine that is not busy')
    t.same(two?.heard, wanted)
    t.same(three?.heard, wanted)
    t.same(one?.heard, [], 'the publisher knows already')
    t.same(elsewhere.heard, [])

    await second.changes.publish({ topic: 'token', key: 'back' })
    t.ok(await eventually(() => one?.heard.includes('token back') === true))
    t.notOk(two?.heard.includes('token back'))
  })

  t.test(
    'what was published before is not news; who stopped listening hears nothing',
    async t => {
      const space = randomBytes(6).toString('hex')
      const first = await use(t, open, { space })
      await first.changes.publish({ topic: 'policy', key: 'old' })
      const second = await use(t, open, { space })
      const left = listenTo(second)
      const stays = listenTo(second)
      left.stop()
      left.stop()
      await first.changes.publish({ topic: 'policy', key: 'new' })
      t.ok(await eventually(() => stays.heard.length > 0))
      t.same(stays.heard, ['policy new'])
      t.same(left.heard, [])
    },
  )

  t.test(
    'many changes at once: all are heard, or a resync tells that some were not',
    async t => {
      const space = randomBytes(6).toString('hex')
      const first = await use(t, open, { space })
      const { heard } = listenTo(await use(t, open, { space }))
      const count = 3000
      await Promise.all(
        Array.from({ length: count }, (_, index) =>
          first.changes.publish({ topic: 'package', key: `p${index}` }),
        ),
      )
      t.ok(
        await eventually(
          () => heard.at(-1) === `package p${count - 1}` || heard.includes('resync'),
        ),
      )
      if (!heard.includes('resync')) t.equal(new Set(heard).size, count)
    },
  )
}
