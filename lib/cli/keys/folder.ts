/** Which folder of keys a command is about: one named on the command line, or an upstream's. */
import { resolve } from 'node:path'
import { jack } from 'jackspeak'
import type { KeyFolder } from '../../trust/key-folder.ts'
import { didYouMean } from '../../config/nearest.ts'
import { AttestryError } from '../../errors.ts'
import type { Io } from '../io.ts'
import { configOption, sessionSettings } from '../session.ts'

export const keysJack = (usage: string, description: string) =>
  jack({ usage })
    .description(description)
    .opt({
      ...configOption,
      upstream: {
        hint: 'name',
        description: 'The upstream whose keys they are; not needed where only one has any.',
      },
      folder: {
        hint: 'folder',
        description:
          'The keys in this folder, without settings; a passphrase is taken from SIGNING_PASSPHRASE.',
      },
    })
    .flag({
      json: { description: 'Print JSON.' },
      help: { short: 'h', description: 'Print this.' },
    })

export type KeysValues = {
  readonly config?: string | undefined
  readonly upstream?: string | undefined
  readonly folder?: string | undefined
}

const usage = (message: string) => new AttestryError('EUSAGE', message)

/** Throws EUSAGE where it is not clear which, and what reading the settings throws. */
export const keyFolderOf = async (values: KeysValues, io: Io): Promise<KeyFolder> => {
  const { folder, upstream, config } = values
  if (folder !== undefined) {
    if (upstream !== undefined || config !== undefined)
      throw usage(
        '--folder is about a folder without settings; not with --upstream or --config',
      )
    const passphrase = io.env['SIGNING_PASSPHRASE']
    return { folder: resolve(io.cwd, folder), ...(passphrase && { passphrase }) }
  }
  const { upstreams } = await sessionSettings({ config }, io)
  const signing = upstreams.filter(one => one.signing !== undefined)
  const names = signing.map(({ name }) => name)
  const [first, ...others] =
    upstream === undefined ? signing : signing.filter(({ name }) => name === upstream)
  if (!first?.signing) {
    const known = names.length > 0 ? `those that do are ${names.join(', ')}` : 'none does'
    throw usage(
      upstream === undefined
        ? 'no upstream in the settings has signing.keys, and there is no --folder'
        : `the upstream ${upstream} has no signing.keys${didYouMean(upstream, names)}; ${known}`,
    )
  }
  if (others.length > 0)
    throw usage(`several upstreams have keys (${names.join(', ')}); say which with --upstream`)
  const passphrase = first.signing.passphrase?.reveal()
  return { folder: first.signing.keys, ...(passphrase !== undefined && { passphrase }) }
}
