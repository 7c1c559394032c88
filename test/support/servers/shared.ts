/** The servers of a shared store; with the reason to skip what needs them where they are not installed. */
import { startObjectStore, type ObjectStore } from './object-store.ts'
import { startPostgres, type PostgresServer } from './postgres.ts'

export type SharedServers = {
  readonly postgres: PostgresServer | undefined
  readonly s3: ObjectStore | undefined
  readonly skip: string | false
}

/** `settings`: lines of postgresql.conf. */
export const startSharedServers = async (
  settings: readonly string[] = [],
): Promise<SharedServers> => {
  const postgres = await startPostgres(settings)
  const s3 = postgres && (await startObjectStore())
  const missing = postgres
    ? 'Ceph RADOS gateway (radosgw, ceph-mon, ceph-osd)'
    : 'PostgreSQL (postgresql)'
  return { postgres, s3, skip: s3 ? false : `no ${missing} is installed` }
}
