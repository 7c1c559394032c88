/** The store that the settings name: of this machine, or shared with others. */
import { readFile } from 'node:fs/promises'
import type { Settings } from './config/settings.ts'
import { openLocalStore } from './store/local.ts'
import type { StoreCall } from './store/shared/circuit.ts'
import type { StoreEvent } from './store/store-event.ts'
import type { Store } from './store/store.ts'

export type OpenStoreOptions = {
  readonly now?: (() => Date) | undefined
  readonly log?: ((event: StoreEvent) => void) | undefined
  /** Calls to the servers of a shared store. */
  readonly onCall?: ((call: StoreCall) => void) | undefined
}

/** Bytes of one tarball that may be kept in memory. */
const LARGEST_IN_MEMORY = 8 * 1024 * 1024

/** Throws ESTORE, or ESTOREDOWN where the servers of a shared store cannot be reached. */
export const openStore = async (
  storage: Settings['storage'],
  { now, log, onCall }: OpenStoreOptions = {},
): Promise<Store> => {
  const { path, maxSize, memory, outage, s3, postgres } = storage
  const common = {
    path,
    maxBytes: maxSize,
    memoryBytes: Math.floor(memory / 2),
    ...(now && { now }),
    ...(log && { log }),
  }
  // large ones from memory as well, as long as several fit
  const memoryBlobMax = Math.min(LARGEST_IN_MEMORY, Math.floor(memory / 16))
  if (!s3 || !postgres) return openLocalStore({ ...common, memoryBlobMax })
  const pem = async (file: string | undefined) =>
    file === undefined ? undefined : await readFile(file, 'utf8')
  const { openSharedStore } = await import('./store/shared/open-shared.ts')
  return openSharedStore({
    ...common,
    postgres: {
      url: postgres.url.reveal(),
      schema: postgres.schema,
      connections: postgres.connections,
      timeout: postgres.timeout,
      patience: outage,
      ca: await pem(postgres.ca),
    },
    s3: {
      url: s3.url,
      region: s3.region,
      accessKeyId: s3.accessKeyId.reveal(),
      secretAccessKey: s3.secretAccessKey.reveal(),
      sessionToken: s3.sessionToken?.reveal(),
      timeout: s3.timeout,
      patience: outage,
      ca: await pem(s3.ca),
      maxBytes: s3.maxSize,
    },
    ...(onCall && { onCall }),
  })
}
