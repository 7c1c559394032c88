/**
 * Thread that moves the write-ahead log into the database. A checkpoint waits for the disk (10 ms
 * for 1,700 pages on a quick one), and waiting is not for the thread that answers requests.
 * PASSIVE: it never makes a reader or a writer wait, and does less when it would.
 */
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

const { path } = workerData as { readonly path: string }
const database = new DatabaseSync(path, { timeout: 1000 })
database.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
const checkpoint = database.prepare('PRAGMA wal_checkpoint(PASSIVE)')

parentPort?.on('message', (message: unknown) => {
  if (message === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  let failure: string | undefined
  try {
    checkpoint.get()
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error)
  }
  parentPort?.postMessage({ failure })
})
