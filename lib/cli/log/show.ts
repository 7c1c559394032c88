/** `attestry log show` */
import { AttestryError } from '../../errors.ts'
import { lastTime } from '../../store/audit-rules.ts'
import type { StoredAuditEntry } from '../../store/store.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { plain } from '../audit/paint.ts'
import { storeJack, withStore } from '../store-session.ts'

const decisions = ['allow', 'refuse', 'unavailable'] as const

/** `2026-11-26`, or a time in full; `30d` back from now. Throws EUSAGE. */
export const parseSince = (text: string, now: Date): number => {
  const [, days] = /^(\d{1,5})d$/.exec(text) ?? []
  if (days !== undefined) return now.getTime() - Number(days) * 86_400_000
  const time = /^\d{4}-\d\d-\d\d(T.*)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(time)) return time
  throw new AttestryError(
    'EUSAGE',
    `${JSON.stringify(text)} is no time; wanted a date as 2026-11-26, a time in full, or days as 30d`,
  )
}

const clientText = ({ name, address, view }: StoredAuditEntry['client']) =>
  `${name === undefined ? '' : `${name} `}${address}${view === undefined ? '' : ` (${view})`}`

const line = (entry: StoredAuditEntry): string => {
  const { seq, at, last, times, decision, package: id, rule, reasons, client } = entry
  const why = [...new Set(reasons.map(({ code }) => code))].join(', ')
  const said = [
    String(seq),
    at,
    decision.padEnd(6),
    `${id.name}@${id.version}`,
    `by ${rule}${why === '' ? '' : ` (${why})`}`,
    `for ${clientText(client)}`,
    ...(times !== undefined && last !== undefined ? [`${times} times until ${last}`] : []),
  ]
  return `${said.map(plain).join('  ')}\n`
}

const options = () =>
  storeJack(
    'attestry log show [options]',
    'Print the entries of the audit log, oldest first. With --json: one object a line.',
  )
    .opt({
      package: { hint: 'name', description: 'Of one package; a version may follow: a@1.0.0.' },
      client: { hint: 'who', description: "A client's address, or a token's name." },
      decision: { hint: 'what', description: 'allow, refuse or unavailable.' },
      since: { hint: 'time', description: 'A date, a time, or days back: 30d.' },
    })
    .num({ limit: { hint: 'number', description: 'The newest so many only.' } })

const filterOf = (values: ReturnType<ReturnType<typeof options>['parse']>['values']) => {
  const { package: id, client, decision, since } = values
  const at = id?.lastIndexOf('@') ?? -1
  const [name, version] =
    id !== undefined && at > 0 ? [id.slice(0, at), id.slice(at + 1)] : [id]
  if (decision !== undefined && !decisions.some(known => known === decision))
    throw new AttestryError('EUSAGE', `--decision: wanted one of ${decisions.join(', ')}`)
  const from = since === undefined ? 0 : parseSince(since, new Date())
  const fits = (entry: StoredAuditEntry) =>
    (version === undefined || entry.package.version === version) &&
    (client === undefined || entry.client.address === client || entry.client.name === client) &&
    (decision === undefined || entry.decision === decision) &&
    (from === 0 || lastTime(entry) >= from)
  return { name, fits }
}

const write = async (io: Io, json: boolean, entry: StoredAuditEntry): Promise<void> => {
  io.stdout.write(json ? `${JSON.stringify(entry)}\n` : line(entry))
}

export const show: Run = async (args, io) => {
  const command = options()
  const values = parseOptions(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { limit, json = false } = values
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0 && limit <= 100_000))
    throw new AttestryError('EUSAGE', '--limit: wanted a whole number from 1 to 100000')
  const { name, fits } = filterOf(values)
  return withStore(values, io, async ({ audit }) => {
    const last: StoredAuditEntry[] = []
    let fitting = 0
    for await (const entry of audit.read(name === undefined ? {} : { name })) {
      if (!fits(entry)) continue
      fitting++
      if (limit === undefined) await write(io, json, entry)
      else if (last.push(entry) > limit) last.shift()
    }
    for (const entry of last) await write(io, json, entry)
    // beside the list, which is for other programs too
    if (fitting === 0) io.stderr.write('There are no such entries in the audit log.\n')
    return 0
  })
}
