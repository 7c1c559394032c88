/**
 * The keys an organization signs its own packages with, in one folder: `keys.json` lists the public
 * halves with their validity (the form of a TUF target, so that other sites can take the file as
 * `registryKeys`), and beside it lies one PKCS#8 PEM for each private half that is here.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { open, readFile, rename, rm, stat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { AttestryError, messageOf } from '../errors.ts'
import { parseRegistryKeys } from './registry-keys.ts'
import type { RegistryKey } from '../types.ts'
import { keyIdOf } from '../key-id.ts'
import { pemFileOf, spkiOf, targetForm } from './registry-key.ts'

export const keysFile = 'keys.json'

/** Bytes. */
const LIMITS = { list: 1024 * 1024, pem: 64 * 1024 }

export type SigningKey = RegistryKey & {
  /** The private half is in the folder. */
  readonly held: boolean
}

export type KeyFolder = {
  readonly folder: string
  readonly passphrase?: string
}

const fail = (what: string, cause?: unknown) =>
  new AttestryError('ESIGNING', what, cause === undefined ? {} : { cause })

const readBounded = async (file: string, limit: number): Promise<string | undefined> => {
  try {
    const { size } = await stat(file)
    if (size > limit) throw new Error(`it has ${size} bytes; wanted at most ${limit}`)
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fail(`${file}: ${messageOf(error)}`, error)
  }
}

/** Throws ESIGNING naming the file, and never anything of the passphrase. */
export const readPrivateKey = (
  pem: string,
  file: string,
  passphrase: string | undefined,
): KeyObject => {
  const encrypted = pem.includes('ENCRYPTED')
  if (encrypted && passphrase === undefined)
    throw fail(`${file}: it is encrypted, and there is no passphrase`)
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, ...(encrypted && { passphrase }) })
  } catch (error) {
    const why = encrypted ? ', or the passphrase is another' : ''
    throw fail(`${file}: it is no private key (PEM, PKCS#8)${why}`, error)
  }
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  const kind = [key.asymmetricKeyType, key.asymmetricKeyDetails?.namedCurve].filter(Boolean)
  throw fail(
    `${file}: it is a key of kind ${kind.join(' ')}; wanted ECDSA on P-256 (ec, prime256v1)`,
  )
}

/** The public halves; none where there is no folder yet. Throws ETRUST or ESIGNING. */
export const readKeyList = async (folder: string): Promise<readonly RegistryKey[]> => {
  const file = join(folder, keysFile)
  const text = await readBounded(file, LIMITS.list)
  if (text === undefined) return []
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw fail(`${file}: ${messageOf(error)}`, error)
  }
  const keys = parseRegistryKeys(document, file)
  const ids = new Set<string>()
  for (const { keyId, usage, spki, validFrom } of keys) {
    if (usage !== 'npm:signatures')
      throw fail(`${file}: ${keyId} is for ${usage}; wanted npm:signatures`)
    if (validFrom === undefined) throw fail(`${file}: ${keyId} has no validFor.start`)
    const wanted = keyIdOf(Buffer.from(spki, 'base64'))
    if (keyId !== wanted) throw fail(`${file}: ${keyId} is the key ${wanted}`)
    if (ids.has(keyId)) throw fail(`${file}: ${keyId} is there twice`)
    ids.add(keyId)
  }
  return keys
}

/** The list with what is held of it, every private half tried. Throws ETRUST or ESIGNING. */
export const readKeyFolder = async ({ folder, passphrase }: KeyFolder) => {
  const listed = await readKeyList(folder)
  const held = new Map<string, KeyObject>()
  for (const { keyId, spki } of listed) {
    const file = join(folder, pemFileOf(keyId))
    const pem = await readBounded(file, LIMITS.pem)
    if (pem === undefined) continue
    const key = readPrivateKey(pem, file, passphrase)
    if (spkiOf(key).toString('base64') !== Buffer.from(spki, 'base64').toString('base64'))
      throw fail(`${file}: it is the key ${keyIdOf(spkiOf(key))}`)
    held.set(keyId, key)
  }
  const keys = listed.map((key): SigningKey => ({ ...key, held: held.has(key.keyId) }))
  return { keys, held }
}

const writeWhole = async (file: string, text: string, mode: number): Promise<void> => {
  const handle = await open(file, 'wx', mode)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Adds the private halves, readable by their owner only and encrypted where there is a passphrase,
 * then puts the list in place of the one before, at once. What is there is not written over. Throws
 * ESIGNING; also when somebody else is at it.
 */
export const writeKeyFolder = async (
  { folder, passphrase }: KeyFolder,
  keys: readonly RegistryKey[],
  fresh: readonly KeyObject[],
): Promise<void> => {
  const list = join(folder, keysFile)
  const next = `${list}.new`
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeWhole(next, `${JSON.stringify(targetForm(keys), null, 2)}\n`, 0o644)
  } catch (error) {
    const busy = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw fail(
      busy
        ? `${next} is there: another attestry keys is at work, or one was broken off (then remove the file)`
        : `${folder}: ${messageOf(error)}`,
      error,
    )
  }
  try {
    for (const key of fresh) {
      const pem = key.export({
        type: 'pkcs8',
        format: 'pem',
        ...(passphrase !== undefined && { cipher: 'aes-256-cbc', passphrase }),
      })
      await writeWhole(join(folder, pemFileOf(keyIdOf(spkiOf(key)))), String(pem), 0o600)
    }
    await rename(next, list)
  } catch (error) {
    await rm(next, { force: true })
    throw fail(`${folder}: ${messageOf(error)}`, error)
  }
}
