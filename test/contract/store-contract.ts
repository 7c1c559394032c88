/**
 * What every Store must do, whatever holds its data. A store's own test calls
 * `storeContract(t, open)` and adds what is particular to it.
 */
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { auditContract } from './audit-contract.ts'
import { blobContract } from './blob-contract.ts'
import { changeContract } from './change-contract.ts'
import { leaseContract } from './lease-contract.ts'
import { recordContract } from './record-contract.ts'
import type { OpenStore } from './tools.ts'
import {
  MiB,
  auditEntry,
  codeOf,
  integrityOf,
  keepBytes,
  listAll,
  readAll,
  stageBytes,
  use,
} from './tools.ts'

const lifeContract = (t: Test, open: OpenStore) => {
  t.test('check passes on a store that works', async t => {
    const store = await use(t, open)
    await store.check()
    await store.check()
    t.pass()
  })

  t.test('what was kept is there when the store is opened again', async t => {
    const space = randomBytes(6).toString('hex')
    const before = await open({ space })
    const small = randomBytes(1000)
    const large = randomBytes(2 * MiB)
    await keepBytes(before.blobs, small)
    await keepBytes(before.blobs, large)
    await before.records.put('c', 'k', { n: 1 })
    // Not awaited: close writes what was accepted.
    const appended = before.audit.append(auditEntry('p'))
    const staged = await stageBytes(before.blobs, randomBytes(5000))
    await before.close()
    await appended
    t.equal(await codeOf(() => staged.finish()), 'ESTORE')

    const after = await use(t, open, { space })
    t.ok((await after.blobs.get(integrityOf(small)))?.equals(small))
    t.ok((await readAll(after.blobs, integrityOf(large)))?.equals(large))
    t.equal(await after.blobs.size(), small.length + large.length)
    t.same(await after.records.get('c', 'k'), { n: 1 })
    t.equal((await listAll(after.audit.read())).length, 1)
  })

  t.test('a closed store refuses every call', async t => {
    const store = await open()
    const { blobs, records, audit } = store
    const integrity = await keepBytes(blobs, randomBytes(10))
    const staged = await blobs.stage()
    await Promise.all([store.close(), store.close()])
    await store.close()
    const calls: Record<string, () => unknown> = {
      stage: () => blobs.stage(),
      stat: () => blobs.stat(integrity),
      get: () => blobs.get(integrity),
      open: () => blobs.open(integrity),
      delete: () => blobs.delete(integrity),
      size: () => blobs.size(),
      write: () => staged.write(Buffer.of(1)),
      record: () => records.get('c', 'k'),
      put: () => records.put('c', 'k', 1),
      putIfAbsent: () => records.putIfAbsent('c', 'k', 1),
      swap: () => records.swap('c', 'k', undefined, 1),
      publish: () => store.changes.publish({ topic: 'package', key: 'p' }),
      subscribe: () => store.changes.subscribe(() => undefined),
      lease: () => store.leases.run('k', async () => 1, { wait: 0 }),
      forget: () => records.delete('c', 'k'),
      list: () => listAll(records.list('c')),
      append: () => audit.append(auditEntry('p')),
      read: () => listAll(audit.read()),
      texts: () => listAll(audit.texts()),
      tree: () => audit.tree(),
      tile: () => audit.tile(0, 0),
      seal: () => audit.seal(() => undefined),
      prune: () => audit.prune(0, ''),
      collect: () => store.collect(),
      check: () => store.check(),
    }
    for (const [name, call] of Object.entries(calls))
      t.equal(await codeOf(call), 'ESTORE', name)
  })
}

export const storeContract = async (t: Test, open: OpenStore): Promise<void> => {
  await t.test('blobs', async t => blobContract(t, open))
  await t.test('records', async t => recordContract(t, open))
  await t.test('audit log', async t => auditContract(t, open))
  await t.test('changes', async t => changeContract(t, open))
  await t.test('leases', async t => leaseContract(t, open))
  await t.test('life', async t => lifeContract(t, open))
}
