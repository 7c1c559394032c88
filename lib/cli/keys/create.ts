/** `attestry keys create` and `rotate`: a new key in the folder, with the validity of all of them. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  readKeyFolder,
  readPrivateKey,
  writeKeyFolder,
  type KeyFolder,
} from '../../trust/key-folder.ts'
import { currentKey, generateKey, listedKey, stateOf } from '../../trust/registry-key.ts'
import { durationWanted, parseDuration } from '../../config/units.ts'
import { AttestryError, messageOf } from '../../errors.ts'
import type { RegistryKey } from '../../types.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { jsonText } from '../store-session.ts'
import { keyFolderOf, keysJack } from './folder.ts'

const usage = (message: string) => new AttestryError('EUSAGE', message)

const options = (usageLine: string, description: string) =>
  keysJack(usageLine, description).opt({
    from: {
      hint: 'time',
      description: 'When it begins to count and to sign, ISO 8601; default now.',
    },
    for: { hint: 'duration', description: 'How long it is valid, as in 365d; default no end.' },
    key: {
      hint: 'file',
      description:
        'A private key to take in place of a new one: PEM, PKCS#8, ECDSA on P-256; encrypted with the same passphrase, or not at all.',
    },
  })

const timeOf = (text: string | undefined, now: Date): Date => {
  if (text === undefined) return now
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time)) throw usage(`--from: wanted an ISO 8601 time, found ${text}`)
  return new Date(time)
}

const durationOf = (option: string, text: string | undefined): number | undefined => {
  const length = text === undefined ? undefined : parseDuration(text)
  if (text !== undefined && !length) throw usage(`--${option}: ${durationWanted}`)
  return length
}

const takenKey = async (file: string | undefined, { passphrase }: KeyFolder, io: Io) => {
  if (file === undefined) return generateKey()
  const path = resolve(io.cwd, file)
  const pem = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new AttestryError('ESIGNING', `${path}: ${messageOf(error)}`, { cause: error })
  })
  return readPrivateKey(pem, path, passphrase)
}

type Made = {
  readonly key: RegistryKey
  readonly keys: readonly RegistryKey[]
}

const tell = (
  io: Io,
  json: boolean | undefined,
  { folder }: KeyFolder,
  { key, keys }: Made,
) => {
  if (json) {
    const now = Date.now()
    const told = keys.map(({ keyId, validFrom, validUntil }) => ({
      keyId,
      validFrom,
      validUntil,
    }))
    io.stdout.write(
      jsonText({ created: key.keyId, state: stateOf(key, keys, now), folder, keys: told }),
    )
    return 0
  }
  io.stdout.write(`${key.keyId}\n`)
  const until = key.validUntil === undefined ? 'with no end' : `until ${key.validUntil}`
  io.stderr.write(`In ${folder}: signs from ${key.validFrom} ${until}.\n`)
  for (const { keyId, validUntil } of keys)
    if (keyId !== key.keyId && validUntil !== undefined)
      io.stderr.write(`${keyId} counts until ${validUntil}.\n`)
  io.stderr.write('A server that runs takes it within twenty seconds, or at once on SIGHUP.\n')
  return 0
}

export const create: Run = async (args, io) => {
  const command = options('attestry keys create [options]', 'Make the first key of a folder.')
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  if (positionals.length > 0) throw usage(`keys create: ${positionals[0]} is not an option`)
  const now = new Date()
  const from = timeOf(values.from, now)
  const length = durationOf('for', values.for)
  const folder = await keyFolderOf(values, io)
  const { keys } = await readKeyFolder(folder)
  if (keys.length > 0)
    throw usage(`there are keys in ${folder.folder}; attestry keys rotate makes the next one`)
  const fresh = await takenKey(values.key, folder, io)
  const until =
    length === undefined ? undefined : new Date(from.getTime() + length).toISOString()
  const key = listedKey(fresh, from.toISOString(), until)
  await writeKeyFolder(folder, [key], [fresh])
  return tell(io, values.json, folder, { key, keys: [key] })
}

/** Ends at `end`, unless it ended before. */
const endingAt = (key: RegistryKey, end: number): RegistryKey => {
  const before = key.validUntil === undefined ? Infinity : Date.parse(key.validUntil)
  return { ...key, validUntil: new Date(Math.min(before, end)).toISOString() }
}

export const rotate: Run = async (args, io) => {
  const command = options(
    'attestry keys rotate [options]',
    'Make the next key. The one before signs no more from then on, and counts on for a while.',
  ).opt({
    overlap: {
      hint: 'duration',
      description:
        'How long the keys before go on counting for what is published after the new one has begun; default 14d.',
    },
  })
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  if (positionals.length > 0) throw usage(`keys rotate: ${positionals[0]} is not an option`)
  const now = new Date()
  const from = timeOf(values.from, now)
  const overlap = durationOf('overlap', values.overlap ?? '14d') ?? 0
  const length = durationOf('for', values.for)
  const folder = await keyFolderOf(values, io)
  const { keys } = await readKeyFolder(folder)
  if (keys.length === 0)
    throw usage(`there are no keys in ${folder.folder}; attestry keys create makes one`)
  const last = keys.reduce((a, b) => ((a.validFrom ?? '') > (b.validFrom ?? '') ? a : b))
  if (Date.parse(last.validFrom ?? '') >= from.getTime())
    throw usage(
      `${last.keyId} begins at ${last.validFrom}, and the next key would have to begin after that`,
    )
  if (from < now && currentKey(keys, now.getTime()))
    throw usage('--from: the key that signs now has its turn until now at least')
  const fresh = await takenKey(values.key, folder, io)
  const until =
    length === undefined ? undefined : new Date(from.getTime() + length).toISOString()
  const key = listedKey(fresh, from.toISOString(), until)
  if (keys.some(({ keyId }) => keyId === key.keyId))
    throw usage(`${key.keyId} is there already`)
  const all = [...keys.map(one => endingAt(one, from.getTime() + overlap)), key]
  await writeKeyFolder(folder, all, [fresh])
  return tell(io, values.json, folder, { key, keys: all })
}
