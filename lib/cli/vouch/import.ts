/** `attestry vouch import`: a bundle that was made elsewhere, verified before it is kept. */
import { resolve } from 'node:path'
import { readTextFile } from '../../config/text-file.ts'
import { AttestryError, messageOf } from '../../errors.ts'
import type { KeptVouch } from '../../evidence/vouch.ts'
import { readPublicKey } from '../../key-id.ts'
import { voucherName } from '../../policy/vouch.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { openSession, sessionJack } from '../session.ts'
import { jsonText } from '../store-session.ts'
import { postToServer, serverOptions } from './where.ts'

const options = () =>
  sessionJack(
    'attestry vouch import FILE [options]',
    'Keep a vouch that was made elsewhere, as a sigstore bundle: by attestry vouch --out, by cosign, or by any signer of in-toto statements. Whether it counts is the policy’s to say.',
  )
    .opt({
      'public-key': {
        hint: 'file',
        description: 'The public key (PEM) that signed it, where a key did.',
      },
      ...serverOptions,
    })
    .flag({ json: { description: 'Print JSON.' } })

const read = async (file: string, key: string | undefined, { cwd }: Io): Promise<KeptVouch> => {
  const text = await readTextFile(resolve(cwd, file), 'EVOUCH')
  const fail = (where: string, error: unknown) =>
    new AttestryError('EVOUCH', `${where}: ${messageOf(error)}`, { cause: error })
  const parse = (): unknown => {
    try {
      return JSON.parse(text)
    } catch (error) {
      throw fail(file, error)
    }
  }
  const bundle = parse()
  if (key === undefined) return { bundle }
  const publicKey = await readTextFile(resolve(cwd, key), 'EVOUCH')
  try {
    readPublicKey(publicKey)
  } catch (error) {
    throw fail(key, error)
  }
  return { bundle, publicKey }
}

export const importVouch: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [file, ...more] = positionals
  if (file === undefined || more.length > 0)
    throw new AttestryError('EUSAGE', 'vouch import: wanted one file')
  const kept = await read(file, values['public-key'], io)
  if (values.server !== undefined) {
    const answer = await postToServer(values, '-/attestry/vouches', kept, io)
    io.stdout.write(values.json ? jsonText(answer) : `${file}: kept by ${values.server}.\n`)
    return 0
  }
  const { gate, close } = await openSession(values, io)
  try {
    const taken = await gate.vouching.add(kept)
    const { package: id, vouch } = taken
    const revoked = vouch.revoked ? `It was revoked: ${vouch.revoked.reason}\n` : ''
    io.stdout.write(
      values.json
        ? jsonText(taken)
        : `${id.name}@${id.version} is vouched for by ${voucherName(vouch)}.\nVouch ${vouch.id}\n${revoked}`,
    )
    return 0
  } finally {
    await close()
  }
}
