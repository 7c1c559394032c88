/**
 * `attestry store affected`: who has received what would be refused today. After a key was taken
 * back or a policy was tightened this is the list of machines to look at.
 */
import type { Settings } from '../../config/settings.ts'
import { parseDuration } from '../../config/units.ts'
import { AttestryError } from '../../errors.ts'
import type { Gate } from '../../gate/gate.ts'
import { upstreamFor } from '../../policy/namespace.ts'
import { openRooms, type Rooms } from '../../rooms.ts'
import { judgeAll } from '../audit/pool.ts'
import { paintFor } from '../audit/paint.ts'
import { openProgress } from '../audit/progress.ts'
import { idOf, type Judged, type Subject } from '../audit/result.ts'
import { helpText, parseOptions } from '../arguments.ts'
import type { Io, Run } from '../io.ts'
import { sessionJack, sessionSettings } from '../session.ts'
import { jsonText, withStore } from '../store-session.ts'
import { keyOf, receiversOf, sentSince, type Received, type Sent } from './received.ts'

const options = () =>
  sessionJack(
    'attestry store affected [options]',
    'List who has received versions that are refused under the trust and the policies of today. Exits with 0 when there are none, 1 when there are, 2 when it could not be told of all.',
  )
    .opt({
      since: {
        hint: 'when',
        description: 'Only what was sent since: a duration as in 30d, or an ISO 8601 time.',
      },
    })
    .flag({
      offline: { description: 'Ask no registry: judge by what the store knows.' },
      json: { description: 'Print JSON.' },
    })

const sinceOf = (text: string | undefined, now: Date): Date | undefined => {
  if (text === undefined) return undefined
  const ago = parseDuration(text)
  const at = ago === undefined ? Date.parse(text) : now.getTime() - ago
  if (!Number.isNaN(at)) return new Date(at)
  const wanted = 'wanted a duration as in 30d, or an ISO 8601 time'
  throw new AttestryError('EUSAGE', `--since: found ${JSON.stringify(text)}; ${wanted}`)
}

type Outcome = { readonly sent: Sent; readonly judged: Judged }
type Affected = Outcome & { readonly received: readonly Received[] }

const subjectOf = ({ package: id, integrity }: Sent): Subject => ({
  ...id,
  ...(integrity !== undefined && { integrity }),
  lines: [],
  dev: false,
  optional: false,
})

/** Views that are no more are judged as those who have none. */
const gateOf = (gate: Gate, rooms: Rooms, view: string | undefined): Gate =>
  view !== undefined && rooms.views.has(view) ? gate.view(view, gate.publicUrl) : gate

const judgeSent = async (
  sent: readonly Sent[],
  rooms: Rooms,
  gate: Gate,
  io: Io,
): Promise<readonly Outcome[]> => {
  const progress = openProgress({
    output: io.stderr,
    paint: paintFor(io.stderr, io.env),
    title: 'judging',
    total: sent.length,
  })
  try {
    const found: Outcome[] = []
    for (const view of new Set(sent.map(one => one.view))) {
      const ofView = sent.filter(one => one.view === view)
      const byKey = new Map(ofView.map(one => [keyOf(one), one]))
      const judged = await judgeAll(ofView.map(subjectOf), {
        assess: gateOf(gate, rooms, view).assess,
        upstreamOf: name => upstreamFor(rooms.policies, name) ?? '',
        onStart: progress.at,
        onJudged: progress.step,
      })
      for (const one of judged) {
        const { name, version, integrity } = one
        const id = { package: { name, version }, ...(integrity && { integrity }) }
        const from = byKey.get(keyOf({ ...id, ...(view !== undefined && { view }) }))
        if (from) found.push({ sent: from, judged: one })
      }
    }
    return found
  } finally {
    progress.end()
  }
}

const withRooms = async <T>(
  settings: Settings,
  offline: boolean,
  use: (rooms: Rooms, gate: Gate) => Promise<T>,
): Promise<T> => {
  const rooms = await openRooms({ settings, offline })
  try {
    return await use(rooms, rooms.openGate(settings.publicUrl))
  } finally {
    await rooms.close()
  }
}

const clientText = ({ name, address, agent }: Received['client']) =>
  [name === undefined ? address : `${name} (${address})`, ...(agent ? [agent] : [])].join(', ')

const reasonsText = ({ reasons }: Judged) =>
  reasons.map(({ code, message }) => `${code}: ${message}`).join(' ')

const viewText = ({ view }: Sent) => (view === undefined ? '' : `, view ${view}`)

const text = (affected: readonly Affected[], unknown: readonly Outcome[], judged: number) => {
  const blocks = affected.map(({ sent, judged: one, received }) => {
    const lines = received.map(({ client, first, last, times }) => {
      const when = times === 1 ? first : `${first} to ${last}, ${times} times`
      return `  ${when}  ${clientText(client)}\n`
    })
    return `${idOf(one)}${viewText(sent)}: refused: ${reasonsText(one)}\n${lines.join('')}`
  })
  const untold = unknown.map(
    ({ sent, judged: one }) =>
      `${idOf(one)}${viewText(sent)}: could not be judged: ${reasonsText(one)}\n`,
  )
  const clients = new Set(
    affected.flatMap(({ received }) => received.map(({ client }) => clientText(client))),
  )
  const sum =
    affected.length === 0
      ? `${judged} versions were sent; none of them is refused now.`
      : `${judged} versions were sent; ${affected.length} of them are refused now, which ${clients.size} ${clients.size === 1 ? 'client has' : 'clients have'} received.`
  const left = unknown.length > 0 ? ` ${unknown.length} could not be judged.` : ''
  return `${[...blocks, ...untold].join('')}${sum}${left}\n`
}

const outcomeJson = ({ sent, judged }: Outcome) => ({
  ...sent,
  reasons: judged.reasons,
  ...(judged.rule !== undefined && { rule: judged.rule }),
})

export const affected: Run = async (args, io) => {
  const values = parseOptions(options(), args)
  if (values.help) {
    io.stdout.write(helpText(options()))
    return 0
  }
  const settings = await sessionSettings(values, io)
  const since = sinceOf(values.since, new Date())
  const alone = values.offline === true || settings.cache.offline
  const result = await withRooms(settings, true, async (rooms, gate) => {
    const { audit } = rooms.store
    const sent = await sentSince(audit, since)
    const first = await judgeSent(sent, rooms, gate, io)
    const refused = first.filter(({ judged }) => judged.outcome === 'refused')
    const unknown = first.filter(({ judged }) => judged.outcome === 'unknown')
    const digests = rooms.trust.status().upstreams.map(u => [u.upstream, u.digest] as const)
    return { sent, refused, unknown, policyDigest: gate.policyDigest, digests }
  })
  // registries are asked only for what the store could not answer
  const asked =
    alone || result.unknown.length === 0
      ? result.unknown
      : await withRooms(settings, false, (rooms, gate) =>
          judgeSent(
            result.unknown.map(({ sent }) => sent),
            rooms,
            gate,
            io,
          ),
        )
  const refused = [
    ...result.refused,
    ...asked.filter(({ judged }) => judged.outcome === 'refused'),
  ]
  const unknown = asked.filter(({ judged }) => judged.outcome === 'unknown')
  const found = await withStore(values, io, async ({ audit }) => {
    const all: Affected[] = []
    for (const one of refused)
      all.push({ ...one, received: await receiversOf(audit, one.sent, since) })
    return all
  })
  io.stdout.write(
    values.json
      ? jsonText({
          ...(since && { since: since.toISOString() }),
          policyDigest: result.policyDigest,
          trust: Object.fromEntries(result.digests),
          judged: result.sent.length,
          affected: found.map(one => ({ ...outcomeJson(one), received: one.received })),
          unknown: unknown.map(outcomeJson),
        })
      : text(found, unknown, result.sent.length),
  )
  if (found.length > 0) return 1
  return unknown.length > 0 ? 2 : 0
}
