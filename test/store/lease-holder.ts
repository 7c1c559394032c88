/** A process that takes the lease named, says so, and holds it until it is killed. Arguments: path, key. */
import { writeSync } from 'node:fs'
import { openLocalStore } from '../../lib/store/local.ts'

const [path = '', key = ''] = process.argv.slice(2)
const store = await openLocalStore({ path })
await store.leases.run(
  key,
  async () => {
    await store.changes.publish({ topic: 'package', key: 'from another process' })
    writeSync(1, 'held\n')
    setInterval(() => undefined, 1000)
    await new Promise(() => undefined)
  },
  { wait: 0 },
)
