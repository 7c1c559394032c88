/** `attestry sign`: registry signatures for versions that were there before. */
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import type { PackageId } from '../types.ts'
import { helpText, parseArguments } from './arguments.ts'
import type { Run } from './io.ts'
import { packageSpec } from './package-spec.ts'
import { openSession, sessionJack, type Session } from './session.ts'
import { jsonText } from './store-session.ts'

const options = () =>
  sessionJack(
    'attestry sign <package>@<version> … [options]',
    "Sign versions of our own packages with the keys of their upstream, after their bytes were fetched and compared with the packument's integrity.",
  ).flag({
    all: { description: 'All versions of the packages named, in place of one.' },
    json: { description: 'Print JSON.' },
  })

type Outcome = {
  readonly package: string
  readonly state: 'signed' | 'was-signed' | 'refused'
  readonly keyid?: string
  readonly integrity?: string
  readonly code?: string
  readonly message?: string
}

const versionsOf = async ({ gate }: Session, name: string): Promise<readonly PackageId[]> =>
  (await gate.versions(name)).map(version => ({ name, version }))

const signOne = async ({ gate }: Session, id: PackageId): Promise<Outcome> => {
  const shown = `${id.name}@${id.version}`
  try {
    const { signature, fresh } = await gate.sign(id)
    const { keyid, integrity } = signature
    return { package: shown, state: fresh ? 'signed' : 'was-signed', keyid, integrity }
  } catch (error) {
    // one that must not be signed is told, and the others are looked at all the same
    if (!isAttestryError(error) || !['ESIGNING', 'ENOTFOUND'].includes(error.code)) throw error
    return { package: shown, state: 'refused', code: error.code, message: messageOf(error) }
  }
}

const line = ({ package: id, state, keyid, message }: Outcome): string => {
  if (state === 'refused') return `refused     ${id}: ${message}\n`
  return `${state === 'signed' ? 'signed      ' : 'was signed  '}${id} with ${keyid}\n`
}

export const sign: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  if (positionals.length === 0)
    throw new AttestryError('EUSAGE', 'sign wants packages, as in name@version')
  const named = positionals.map(text => {
    if (!values.all) return packageSpec(text)
    if (text.indexOf('@', 1) > 0)
      throw new AttestryError('EUSAGE', `--all is about whole packages, found ${text}`)
    return packageSpec(text, 'latest')
  })
  const session = await openSession(values, io)
  const outcomes: Outcome[] = []
  try {
    for (const id of named)
      for (const one of values.all ? await versionsOf(session, id.name) : [id]) {
        const outcome = await signOne(session, one)
        outcomes.push(outcome)
        if (!values.json) io.stdout.write(line(outcome))
      }
  } finally {
    await session.close()
  }
  if (values.json) io.stdout.write(jsonText({ signed: outcomes }))
  return outcomes.some(({ state }) => state === 'refused') ? 1 : 0
}
