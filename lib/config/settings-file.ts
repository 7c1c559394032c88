/** Where the settings file is, and its text; what the text means, settings.ts tells. */
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { AttestryError, messageOf } from '../errors.ts'

/** Names the file: no setting itself. */
export const fileVariable = 'ATTESTRY_CONFIG'
const defaultFile = 'attestry.yaml'
const maxFile = 4 * 1024 * 1024

export type SettingsPlace = {
  readonly file?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/** `file`, else the variable ATTESTRY_CONFIG, else `attestry.yaml` in `cwd`. */
export const settingsFileOf = ({ file, env, cwd }: SettingsPlace): string =>
  resolve(cwd, file ?? env[fileVariable] ?? defaultFile)

/** Undefined where nobody named a file and there is none. Throws ECONFIG. */
export const readSettingsFile = async (place: SettingsPlace): Promise<string | undefined> => {
  const file = settingsFileOf(place)
  const wanted = (place.file ?? place.env[fileVariable]) !== undefined
  const fail = (what: string, cause?: unknown) =>
    new AttestryError('ECONFIG', `${file}: ${what}`, { cause, details: { file } })
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && !wanted) return undefined
    throw fail(error.code === 'ENOENT' ? 'there is no such file' : messageOf(error), error)
  })
  if (!info) return undefined
  if (!info.isFile()) throw fail('wanted a file')
  if (info.size > maxFile)
    throw fail(`the file has ${info.size} bytes; at most ${maxFile} are read`)
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw fail(messageOf(error), error)
  })
}
