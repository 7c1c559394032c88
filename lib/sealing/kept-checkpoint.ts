/** The newest checkpoint in a file of its own: what the database is held to when it has been changed. */
import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { AttestryError, messageOf } from '../errors.ts'

export type KeptCheckpoint = {
  readonly path: string
  /** Undefined when there is none yet. Throws ESTORE when it cannot be read. */
  read(): Promise<string | undefined>
  /** Durable when it resolves. Throws ESTORE. */
  write(note: string): Promise<void>
}

export const openKeptCheckpoint = (path: string): KeptCheckpoint => {
  const fail = (what: string, error: unknown) =>
    new AttestryError(
      'ESTORE',
      `The checkpoint ${path} cannot be ${what}: ${messageOf(error)}.`,
      {
        cause: error,
      },
    )
  return {
    path,
    read: async () => {
      try {
        return await readFile(path, 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw fail('read', error)
      }
    },
    write: async note => {
      const partial = `${path}.${randomUUID()}`
      try {
        const handle = await open(partial, 'wx', 0o600)
        try {
          await handle.writeFile(note)
          await handle.sync()
        } finally {
          await handle.close()
        }
        await rename(partial, path)
      } catch (error) {
        await rm(partial, { force: true })
        throw fail('written', error)
      }
    },
  }
}
