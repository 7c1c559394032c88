/** What is told of a published policy and of the instances: as a table and as JSON. */
import { counted, duration, plain } from '../audit/paint.ts'
import { columns } from '../store-session.ts'
import { gone, type Seen } from '../../rollout/acknowledge.ts'
import type { Revision } from '../../rollout/revision.ts'

const short = (digest: string | undefined) => digest?.slice(0, 12) ?? '-'

const agoOf = (at: string | undefined, now: Date) =>
  at === undefined ? '-' : duration(Math.max(0, now.getTime() - Date.parse(at)))

/** Why it is not counted among those that judge by the revision; undefined where it does. */
export const whyNot = ({ member, standing }: Seen, now: Date): string | undefined => {
  switch (standing) {
    case 'acknowledged':
      return undefined
    case 'refused':
      return `cannot judge by it and goes on with revision ${member.revision}: ${member.refused?.message}`
    case 'waiting':
      return member.revision === undefined
        ? 'is starting'
        : `still judges by revision ${member.revision}`
    case 'silent':
      return `has said nothing for ${agoOf(member.seen, now)}: it is dead, or cut off from the store and perhaps still serving by revision ${member.revision ?? '-'}; it is forgotten after ${duration(gone)}`
    case 'files':
      return 'judges by policy files of its own (policySource: files)'
    default:
      return standing satisfies never
  }
}

const nameOf = ({ name, worker, workers }: Seen['member']) =>
  plain(workers > 1 ? `${name} (worker ${worker} of ${workers})` : name)

export const instancesText = (seen: readonly Seen[], now: Date): string =>
  columns([
    ['INSTANCE', 'REVISION', 'POLICY', 'FOR', 'LAST SEEN', 'STATE'],
    ...seen.map(({ member, standing }) => [
      nameOf(member),
      member.source === 'files' ? 'files' : String(member.revision ?? '-'),
      short(member.policyDigest),
      agoOf(member.since, now),
      `${agoOf(member.seen, now)} ago`,
      standing,
    ]),
  ])

/** One line for each that does not judge by it. */
export const reasonsText = (seen: readonly Seen[], now: Date): string =>
  seen
    .flatMap(one => {
      const why = whyNot(one, now)
      return why === undefined ? [] : [`${nameOf(one.member)} ${plain(why)}\n`]
    })
    .join('')

export const revisionJson = (revision: Revision) => ({
  revision: revision.revision,
  at: revision.at,
  by: revision.by,
  ...(revision.message !== undefined && { message: revision.message }),
  ...(revision.again !== undefined && { again: revision.again }),
  policyDigest: revision.policyDigest,
  content: revision.content,
  policies: revision.layers.map(({ name }) => name),
  views: Object.fromEntries(
    Object.entries(revision.views).map(([view, layers]) => [
      view,
      layers.map(({ name }) => name),
    ]),
  ),
})

export const instancesJson = (seen: readonly Seen[], now: Date) =>
  seen.map(one => {
    const { id: _id, content: _content, refused: _refused, ...member } = one.member
    const why = whyNot(one, now)
    return { ...member, state: one.standing, ...(why !== undefined && { why }) }
  })

export const revisionText = (revision: Revision): string => {
  const { by, at, message, again } = revision
  const layers = [
    revision.layers.map(({ name }) => name).join(', '),
    ...Object.entries(revision.views).map(
      ([view, added]) => `view ${view}: ${added.map(({ name }) => name).join(', ')}`,
    ),
  ]
  const said = [
    `revision ${revision.revision}, policy ${short(revision.policyDigest)}, by ${by} at ${at}`,
    ...(again === undefined ? [] : [`revision ${again} again`]),
    ...(message === undefined ? [] : [message]),
    ...layers,
  ]
  return plain(said.join('; '))
}

/** `3 instances`, and how many processes that is where some have several. */
export const countText = (seen: readonly Seen[]): string => {
  const names = new Set(seen.map(({ member }) => member.name))
  const processes =
    seen.length > names.size ? ` (${counted(seen.length, 'process', 'processes')})` : ''
  return `${counted(names.size, 'instance')}${processes}`
}
