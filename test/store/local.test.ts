import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { openLocalStore } from '../../lib/store/local.ts'
import { storeContract } from '../contract/store-contract.ts'

const root = t.testdir({})

await storeContract(t, ({ space = randomBytes(6).toString('hex'), maxBytes } = {}) =>
  openLocalStore({ path: join(root, space), ...(maxBytes === undefined ? {} : { maxBytes }) }),
)
