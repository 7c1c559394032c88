/** Where vouches are kept: in the store at hand, or by a server that runs. */
import { resolve } from 'node:path'
import { readTextFile } from '../../config/text-file.ts'
import { AttestryError } from '../../errors.ts'
import type { Io } from '../io.ts'
import { askServer } from '../server.ts'

export const serverOptions = {
  server: {
    hint: 'url',
    description:
      'A running Attestry to send it to, in place of the store; its admin token is in ATTESTRY_SERVER_ADMIN_TOKEN.',
  },
  'token-file': { hint: 'file', description: 'Its first line is the admin token.' },
} as const

export type ServerValues = {
  readonly server?: string | undefined
  readonly 'token-file'?: string | undefined
}

/** Sends a document to the server; throws EUSAGE without a token. */
export const postToServer = async (
  { server = '', 'token-file': file }: ServerValues,
  path: string,
  document: object,
  { env, cwd }: Io,
): Promise<unknown> => {
  const text = file === undefined ? undefined : await readTextFile(resolve(cwd, file), 'EUSAGE')
  const token = text?.split(/\r?\n/, 1)[0] ?? env['ATTESTRY_SERVER_ADMIN_TOKEN'] ?? ''
  if (token.trim() === '')
    throw new AttestryError(
      'EUSAGE',
      '--server: wanted the admin token of the server, in ATTESTRY_SERVER_ADMIN_TOKEN or --token-file',
    )
  return askServer(server, {
    path,
    method: 'POST',
    headers: { authorization: `Bearer ${token.trim()}`, 'content-type': 'application/json' },
    body: JSON.stringify(document),
  })
}
