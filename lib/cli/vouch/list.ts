/** `attestry vouch list` */
import { AttestryError } from '../../errors.ts'
import type { Listed } from '../../gate/vouching.ts'
import { voucherName } from '../../policy/vouch.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { openSession, sessionJack } from '../session.ts'
import { columns, jsonText } from '../store-session.ts'

const options = () =>
  sessionJack(
    'attestry vouch list [package] [options]',
    'List the vouches that are kept, verified again under the trust configured.',
  ).flag({ json: { description: 'Print JSON.' } })

/** Whether a policy that names its signer would take it. */
const stateOf = ({ fact, revoked }: Listed, now: Date): string => {
  if (fact.state !== 'verified') return fact.state
  if (revoked) return 'revoked'
  const { until } = fact.said
  return until !== undefined && !(now.getTime() < Date.parse(until)) ? 'ended' : 'holds'
}

const row = (listed: Listed, now: Date): readonly string[] => {
  const { package: id, fact, revoked } = listed
  const said = fact.state === 'verified' ? fact.said : undefined
  const who = fact.state === 'verified' ? voucherName(fact) : '-'
  const why = revoked
    ? `revoked: ${revoked.reason}`
    : fact.state === 'verified'
      ? fact.said.reason
      : (fact.detail ?? '')
  return [
    `${id.name}@${id.version}`,
    stateOf(listed, now),
    listed.id.slice(0, 12),
    said?.at.slice(0, 10) ?? '-',
    said?.until?.slice(0, 10) ?? 'never',
    who,
    why.replaceAll(/\s+/g, ' '),
  ]
}

export const list: Run = async (args, io) => {
  const command = options()
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const [name, ...more] = positionals
  if (more.length > 0)
    throw new AttestryError('EUSAGE', 'vouch list: wanted at most one package')
  const { gate, close } = await openSession(values, io)
  try {
    const now = new Date()
    const vouches = await gate.vouching.list(name)
    if (values.json)
      io.stdout.write(
        jsonText({ vouches: vouches.map(one => ({ ...one, state: stateOf(one, now) })) }),
      )
    else if (vouches.length === 0) io.stdout.write('There are no vouches.\n')
    else {
      const head = ['PACKAGE', 'STATE', 'VOUCH', 'SIGNED', 'ENDS', 'BY', 'REASON']
      io.stdout.write(columns([head, ...vouches.map(one => row(one, now))]))
    }
    return 0
  } finally {
    await close()
  }
}
