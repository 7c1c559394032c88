import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { OpenStore } from './tools.ts'
import { MiB, auditEntry, codeOf, listAll, use } from './tools.ts'

export const auditContract = (t: Test, open: OpenStore) => {
  t.test('the audit log keeps what was appended, in order', async t => {
    const { audit } = await use(t, open)
    t.same(await listAll(audit.read()), [])
    const names = Array.from({ length: 400 }, (_, index) => `p${index % 4}#${index}`)
    await Promise.all(
      names.map(rule => audit.append(auditEntry(rule.split('#')[0] ?? '', rule))),
    )
    const all = await listAll(audit.read())
    t.same(
      all.map(({ rule }) => rule),
      names,
    )
    t.match(all[0], auditEntry('p0', 'p0#0'), 'whole')
    t.type(all[0]?.seq, 'number')
    for (const [index, { seq }] of all.entries()) {
      if (index > 0) t.ok(seq > (all[index - 1]?.seq ?? Infinity))
    }

    const rest = await listAll(audit.read({ after: all[99]?.seq ?? 0 }))
    t.same(rest, all.slice(100))
    t.same(await listAll(audit.read({ after: all[9]?.seq ?? 0, limit: 5 })), all.slice(10, 15))
    t.same(await listAll(audit.read({ limit: 0 })), [])
    t.same(
      await listAll(audit.read({ name: 'p2', after: all[200]?.seq ?? 0, limit: 70 })),
      all.filter(({ seq, rule }) => seq > (all[200]?.seq ?? 0) && rule.startsWith('p2')),
    )
    t.same(
      await listAll(audit.read({ name: 'p2', limit: 80 })),
      all.filter(({ rule }) => rule.startsWith('p2')).slice(0, 80),
    )
    t.same(await listAll(audit.read({ name: '%' })), [])
    t.same(await listAll(audit.read({ after: all.at(-1)?.seq ?? 0 })), [])
  })

  t.test('two instances append to one log', async t => {
    const space = randomBytes(6).toString('hex')
    const first = await use(t, open, { space })
    const second = await use(t, open, { space })
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        (index % 2 ? first : second).audit.append(auditEntry('p', `${index}`)),
      ),
    )
    const all = await listAll(first.audit.read())
    t.equal(new Set(all.map(({ seq }) => seq)).size, 50)
    t.equal(new Set(all.map(({ rule }) => rule)).size, 50)
    t.same(await listAll(second.audit.read()), all)
  })

  t.test('an entry that is too big is refused, the others are not', async t => {
    const { audit } = await use(t, open)
    const [, code] = await Promise.all([
      audit.append(auditEntry('a')),
      codeOf(() => audit.append(auditEntry('b', 'x'.repeat(2 * MiB)))),
      audit.append(auditEntry('c')),
    ])
    t.equal(code, 'ESTORE')
    const names = (await listAll(audit.read())).map(entry => entry.package.name)
    t.same(names, ['a', 'c'])
  })
}
