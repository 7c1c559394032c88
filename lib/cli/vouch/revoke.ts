/** `attestry vouch revoke`: recorded with its reason, kept for ever, and before every vouch of that name. */
import { AttestryError } from '../../errors.ts'
import type { Gate } from '../../gate/gate.ts'
import type { PackageId } from '../../types.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { packageSpec } from '../package-spec.ts'
import { openSession, sessionJack } from '../session.ts'
import { jsonText } from '../store-session.ts'
import { postToServer, serverOptions } from './where.ts'

const options = () =>
  sessionJack(
    'attestry vouch revoke <package>@<version> --reason TEXT [options]',
    'Take back all vouches for a version, or the one named. What was served because of them is refused from then on.',
  )
    .opt({
      reason: { hint: 'text', description: 'Why. Needed.' },
      by: { hint: 'name', description: 'Who takes it back.' },
      vouch: {
        hint: 'hex',
        description: 'Only this one: the start of its name, 8 digits at least, or all 64.',
      },
      ...serverOptions,
    })
    .flag({ json: { description: 'Print JSON.' } })

const usage = (message: string): never => {
  throw new AttestryError('EUSAGE', `vouch revoke: ${message}`)
}

/** A whole name need not be that of a vouch that is here; the start of one must. */
const nameOf = async (
  said: string | undefined,
  id: PackageId,
  { vouching }: Gate,
): Promise<string | undefined> => {
  if (said === undefined || /^[0-9a-f]{64}$/.test(said)) return said
  if (!/^[0-9a-f]{8,63}$/.test(said)) return usage('--vouch: wanted 8 to 64 hex digits')
  const found = (await vouching.list(id.name)).filter(
    one => one.package.version === id.version && one.id.startsWith(said),
  )
  const names = [...new Set(found.map(one => one.id))]
  if (names.length === 1) return names[0]
  return usage(`--vouch: ${names.length} vouches for it begin with ${said}`)
}

export const revoke: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [spec, ...more] = positionals
  if (spec === undefined || more.length > 0) return usage('wanted one package as name@version')
  const id = packageSpec(spec)
  const { reason, by, server, vouch } = values
  if (reason === undefined || reason.trim() === '') return usage('wanted --reason')
  if (reason.length > 1000) return usage('--reason: at most 1000 characters')
  const said = { reason, ...(by !== undefined && { by }) }
  const text = `${id.name}@${id.version}`
  if (server !== undefined) {
    if (vouch !== undefined && vouch.length !== 64)
      return usage('--vouch: with --server all 64 digits')
    const document = { package: text, ...said, ...(vouch !== undefined && { vouch }) }
    const answer = await postToServer(values, '-/attestry/vouches/revoke', document, io)
    io.stdout.write(values.json ? jsonText(answer) : `${text}: revoked by ${server}.\n`)
    return 0
  }
  const { gate, close } = await openSession(values, io)
  try {
    const name = await nameOf(vouch, id, gate)
    const made = await gate.vouching.revoke(id, {
      ...said,
      ...(name !== undefined && { vouch: name }),
    })
    io.stdout.write(
      values.json
        ? jsonText({ package: id, revoked: made })
        : made.map(one => `${text}: vouch ${one.id.slice(0, 12)} is revoked.\n`).join(''),
    )
    return 0
  } finally {
    await close()
  }
}
