import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { AuditLog, SealedTree } from '../../lib/store/store.ts'
import {
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
} from '../../lib/transparency/checkpoint.ts'
import { noteSigner, signNote } from '../../lib/transparency/note.ts'
import { widthOf } from '../../lib/transparency/tiles.ts'
import type { OpenStore } from './tools.ts'
import { MiB, auditEntry, codeOf, listAll, rootNow, rootOfTexts, use } from './tools.ts'

const signer = noteSigner('log.example/audit', generateKeyPairSync('ed25519').privateKey)

const appendMany = (audit: AuditLog, count: number) =>
  Promise.all(Array.from({ length: count }, (_, n) => audit.append(auditEntry('p', `${n}`))))

const treeContract = (t: Test, open: OpenStore) => {
  t.test('a Merkle tree stands over the texts', async t => {
    const { audit } = await use(t, open)
    t.same(await audit.tree(), { size: 0, pruned: 0, checkpoints: [], prunings: [] })
    t.equal((await audit.tile(0, 0)).length, 0)
    for (const more of [1, 255, 1, 300]) {
      await appendMany(audit, more)
      const { size } = await audit.tree()
      t.ok(
        Buffer.from(await rootOfTexts(audit)).equals(await rootNow(audit, size)),
        `${size} entries`,
      )
      for (const [level, index] of [
        [0, 0],
        [0, 2],
        [1, 0],
        [2, 0],
      ] as const) {
        const { length } = await audit.tile(level, index)
        t.equal(length, widthOf(size, { level, index }) * 32)
      }
    }
    const texts = await listAll(audit.texts({ after: 100, limit: 200 }))
    t.same(
      texts.map(({ seq }) => seq),
      Array.from({ length: 200 }, (_, n) => 101 + n),
      'without gaps',
    )
    for (const { text, name } of texts.slice(0, 3)) {
      t.equal(name, 'p')
      t.match(JSON.parse(text), { ...auditEntry('p'), rule: /^\d+$/ })
    }
    t.same(await listAll(audit.texts({ limit: 0 })), [])
  })

  t.test('a refused entry leaves the tree as it was', async t => {
    const { audit } = await use(t, open)
    await Promise.allSettled([
      audit.append(auditEntry('a')),
      audit.append(auditEntry('b', 'x'.repeat(65_536))),
      audit.append(auditEntry('c')),
    ])
    t.equal((await audit.tree()).size, 2)
    t.ok(Buffer.from(await rootOfTexts(audit)).equals(await rootNow(audit, 2)))
  })

  t.test('checkpoints are signed over the tree as it is', async t => {
    const { audit } = await use(t, open)
    const seen: SealedTree[] = []
    const seal = (sign = true) =>
      audit.seal(tree => {
        seen.push(tree)
        return sign ? signCheckpoint(tree, [signer]) : undefined
      })
    t.equal(await seal(false), undefined, 'nothing to sign')
    t.same((await audit.tree()).checkpoints, [])
    await appendMany(audit, 3)
    const first = (await seal()) ?? ''
    t.match(openCheckpoint(first, [signer]), { size: 3 })
    t.ok(Buffer.from(await rootOfTexts(audit)).equals(parseCheckpoint(first).root))
    await appendMany(audit, 300)
    const second = (await seal()) ?? ''
    t.match(seen.at(-1), { size: 303, last: first })
    t.ok(parseCheckpoint(first).root && seen.at(-1)?.lastRoot)
    t.ok(
      Buffer.from(seen.at(-1)?.lastRoot ?? '').equals(parseCheckpoint(first).root),
      'the tree of before is the beginning of the one of now',
    )
    const { checkpoints } = await audit.tree()
    t.equal(checkpoints.at(-1), second)
    const fault = new Error('no key')
    await t.rejects(
      audit.seal(() => {
        throw fault
      }),
    )
    t.same((await audit.tree()).checkpoints, checkpoints, 'a failed one leaves nothing')
    await seal()
    t.equal((await audit.tree()).checkpoints.at(-1), second, 'the same size again')
  })

  t.test('instances that append and seal at once keep one tree', async t => {
    const space = randomBytes(6).toString('hex')
    const both = [await use(t, open, { space }), await use(t, open, { space })]
    const notes: string[] = []
    await Promise.all(
      both.map(async ({ audit }) => {
        for (let round = 0; round < 4; round += 1) {
          await appendMany(audit, 70)
          const note = await audit.seal(tree => signCheckpoint(tree, [signer]))
          if (note !== undefined) notes.push(note)
        }
      }),
    )
    const [{ audit }] = both as [(typeof both)[0]]
    const { size } = await audit.tree()
    t.equal(size, 560)
    t.ok(Buffer.from(await rootOfTexts(audit)).equals(await rootNow(audit, size)))
    for (const note of notes) {
      const { size, root } = parseCheckpoint(note)
      t.ok(Buffer.from(await rootNow(audit, size)).equals(root), `checkpoint of ${size}`)
    }
  })

  t.test('pruned entries are gone, their hashes stay', async t => {
    const { audit } = await use(t, open)
    await appendMany(audit, 2600)
    const root = await rootNow(audit, 2600)
    const note = signNote('pruned\n', [signer])
    await audit.prune(2304, note)
    const tree = await audit.tree()
    t.match(tree, { size: 2600, pruned: 2304, prunings: [note] })
    t.equal((await listAll(audit.texts()))[0]?.seq, 2305)
    t.equal((await listAll(audit.read()))[0]?.seq, 2305)
    await appendMany(audit, 1)
    t.equal((await audit.tree()).size, 2601)
    t.ok(Buffer.from(await rootNow(audit, 2600)).equals(root))
    await audit.prune(256, note)
    t.equal((await audit.tree()).pruned, 2304, 'never back')
  })
}

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

  treeContract(t, open)
}
