/** The contract on PostgreSQL and S3 as they are, and what only this store can be asked. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { openSharedStore, type SharedStoreOptions } from '../../lib/store/shared/open-shared.ts'
import { storeContract } from '../contract/store-contract.ts'
import { startObjectStore } from '../support/servers/object-store.ts'
import { startPostgres } from '../support/servers/postgres.ts'

const postgres = await startPostgres(['fsync=off'])
const s3 = postgres && (await startObjectStore())
t.teardown(async () => {
  await postgres?.close()
  await s3?.close()
})

const root = t.testdir({})
const queries = new Set<string>()
const name = () => randomBytes(6).toString('hex')

const optionsOf = (space: string): SharedStoreOptions => ({
  postgres: {
    url: postgres?.url ?? '',
    schema: `space_${space}`,
    connections: 4,
    timeout: 10_000,
    patience: 5_000,
  },
  s3: {
    url: `${s3?.url}/${space}`,
    region: 'us-east-1',
    accessKeyId: s3?.accessKeyId ?? '',
    secretAccessKey: s3?.secretAccessKey ?? '',
    timeout: 10_000,
    patience: 5_000,
  },
  path: join(root, name()),
  onQuery: text => queries.add(text),
})

const skip =
  postgres && s3
    ? false
    : `no ${postgres ? 'Ceph RADOS gateway (radosgw, ceph-mon, ceph-osd)' : 'PostgreSQL (postgresql)'} is installed`

await t.test('contract', { skip, timeout: 400_000 }, async t =>
  storeContract(t, async ({ space = name(), maxBytes } = {}) => {
    const options = optionsOf(space)
    return openSharedStore({ ...options, s3: { ...options.s3, maxBytes } })
  }),
)
