/** Who has acknowledged a revision: what is told of each instance, and waiting until all have. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Records } from '../store/store.ts'
import type { Revision } from './revision.ts'
import { beat, membersOf, removeMember, type Member } from './roster.ts'

export type Standing =
  /** It judges by this revision. */
  | 'acknowledged'
  /** It cannot judge by it, says why, and goes on with the one before. */
  | 'refused'
  /** It is there and has not taken it yet. */
  | 'waiting'
  /** No sign of life for some time: dead, or cut off from the store and perhaps still serving. */
  | 'silent'
  /** It reads policy files. */
  | 'files'

export type Seen = { readonly member: Member; readonly standing: Standing }

/** Milliseconds without a sign of life after which a process counts as silent, and as gone. */
export const silence = 3 * beat
export const gone = 12 * beat

/**
 * `revision`: the one that is asked for. `first`: each record's sign of life when one began to look;
 * who gave another one since is alive, whatever the clocks say. `looked`: milliseconds since then.
 */
export const standingOf = (
  member: Member,
  revision: Pick<Revision, 'revision' | 'content'> | undefined,
  now: Date,
  { first, looked }: { readonly first?: string | undefined; readonly looked: number },
): Standing | 'unclear' | 'gone' => {
  const moved = first !== undefined && first !== member.seen
  const age = now.getTime() - Date.parse(member.seen)
  const fresh = moved || (age < silence && age > -silence)
  if (!fresh) {
    // a clock may be wrong: it is given the time to write once more
    if (looked < beat * 1.5) return 'unclear'
    return Math.abs(age) < gone ? 'silent' : 'gone'
  }
  if (member.source === 'files') return 'files'
  if (!revision) return 'waiting'
  if (member.revision === revision.revision && member.content === revision.content)
    return 'acknowledged'
  return member.refused?.revision === revision.revision ? 'refused' : 'waiting'
}

export type AwaitOptions = {
  readonly records: Records
  readonly revision: Revision | undefined
  /** Milliseconds. */
  readonly wait: number
  /** Wait only until it is clear who is there. */
  readonly glance?: boolean
  readonly now?: () => Date
  /** Milliseconds between two looks. */
  readonly interval?: number
}

/** Looks until all have acknowledged or refused, at most so long. What is gone is taken off the record. */
export const awaitAll = async (options: AwaitOptions): Promise<readonly Seen[]> => {
  const { records, revision, wait, now = () => new Date(), interval = 50 } = options
  const started = performance.now()
  const first = new Map<string, string>()
  for (;;) {
    const looked = performance.now() - started
    const seen: Seen[] = []
    let open = false
    for (const member of await membersOf(records)) {
      if (!first.has(member.id)) first.set(member.id, member.seen)
      const begun = first.get(member.id)
      const standing = standingOf(member, revision, now(), { first: begun, looked })
      if (standing === 'gone') {
        await removeMember(records, member.id)
        continue
      }
      open ||= standing === 'unclear' || (standing === 'waiting' && !options.glance)
      seen.push({ member, standing: standing === 'unclear' ? 'silent' : standing })
    }
    if (!open || looked >= wait) return seen
    await pause(Math.min(interval, Math.max(1, wait - looked)))
  }
}
