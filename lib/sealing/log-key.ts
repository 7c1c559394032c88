/** The key that signs the audit log's checkpoints: a PEM file, made at first use where it may be. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
} from 'node:crypto'
import { link, open, readFile, rm } from 'node:fs/promises'
import { AttestryError, messageOf } from '../errors.ts'
import { noteSigner, type NoteSigner } from '../transparency/note.ts'

export type LogKeyOptions = {
  readonly path: string
  /** The log's name in its checkpoints; default made from the key. */
  readonly origin?: string | undefined
  /** Makes the file where there is none, readable by its owner only. */
  readonly create?: boolean
}

const keyMax = 16 * 1024

const readText = async (path: string): Promise<string | undefined> => {
  try {
    const text = await readFile(path, 'utf8')
    if (text.length > keyMax) throw new Error('the file is too large')
    return text
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new AttestryError('ESTORE', `The key ${path} cannot be read: ${messageOf(error)}.`, {
      cause: error,
    })
  }
}

/** It has its name only when it is whole, and never takes the place of another's. */
const makeKey = async (path: string): Promise<void> => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const partial = `${path}.${randomUUID()}`
  try {
    const handle = await open(partial, 'wx', 0o600)
    try {
      await handle.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await link(partial, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } catch (error) {
    throw new AttestryError('ESTORE', `The key ${path} cannot be made: ${messageOf(error)}.`, {
      cause: error,
    })
  } finally {
    await rm(partial, { force: true })
  }
}

/** Undefined when there is no file and none may be made. Throws ECONFIG for a file that is no key. */
export const openLogKey = async (options: LogKeyOptions): Promise<NoteSigner | undefined> => {
  const { path, origin, create = false } = options
  let text = await readText(path)
  if (text === undefined && create) {
    await makeKey(path)
    text = await readText(path)
  }
  if (text === undefined) return undefined
  try {
    const key = createPrivateKey(text)
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
    const own = createHash('sha256').update(spki).digest('hex').slice(0, 16)
    return noteSigner(origin ?? `attestry/${own}`, key)
  } catch (error) {
    throw new AttestryError(
      'ECONFIG',
      `${path} is no private Ed25519 key in PEM: ${messageOf(error)}`,
      { cause: error },
    )
  }
}
