/**
 * The instances on one store, each with what it judges by: one record for each serving process,
 * written anew every few seconds and removed when it ends. One that stopped without a word is seen
 * by its record's standing still, whatever its clock says.
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Records } from '../store/store.ts'

const collection = 'instance'

/** Milliseconds between two signs of life. */
export const beat = 5_000
/** Milliseconds after which a record that nobody touches is removed by any other process. */
const abandoned = 60 * 60_000
/** Milliseconds until a write that failed is tried again. */
const soon = 500

const memberSchema = z.object({
  /** Of the instance; its processes share it. */
  name: z.string(),
  /** Of the process in its instance, counted from 1. */
  worker: z.int(),
  /** How many processes the instance has. */
  workers: z.int(),
  version: z.string(),
  /** Where its policy comes from. */
  source: z.enum(['files', 'store']),
  /** In force: its number and digest, none while it is starting or where it reads files. */
  revision: z.int().optional(),
  content: z.string().optional(),
  /** Over the layers of everybody in force, as `health/ready` tells it. */
  policyDigest: z.string().optional(),
  /** Since when. ISO 8601, UTC, as all times here. */
  since: z.string().optional(),
  /** A newer one that it cannot judge by. */
  refused: z.object({ revision: z.int(), content: z.string(), message: z.string() }).optional(),
  seen: z.string(),
})

export type Member = z.output<typeof memberSchema> & { readonly id: string }
type Place = Pick<Member, 'name' | 'worker' | 'workers' | 'version' | 'source'>
/** What may change while it runs. */
export type MemberState = Pick<
  Member,
  'revision' | 'content' | 'policyDigest' | 'since' | 'refused'
>

export type OwnMember = {
  /** From now on what this gives is written, at each sign of life and when told. */
  readonly is: (state: () => MemberState) => void
  /** Writes the state as it is now; again until it is written. */
  readonly tell: () => void
  /** Removes the record. */
  readonly close: () => Promise<void>
}

export type JoinOptions = {
  readonly records: Records
  readonly place: Place
  readonly now: () => Date
  /** Told once for each run of failures. */
  readonly onError: (error: unknown) => void
  /** Milliseconds. */
  readonly interval?: number
}

/** Every process that is on record; those that are none of this version's are left out. */
export const membersOf = async (records: Records): Promise<readonly Member[]> => {
  const members: Member[] = []
  for await (const [id, value] of records.list(collection)) {
    const read = memberSchema.safeParse(value)
    if (read.success) members.push({ ...read.data, id })
  }
  return members.sort(
    (a, b) =>
      a.name.localeCompare(b.name) || a.worker - b.worker || a.seen.localeCompare(b.seen),
  )
}

/** False where it was gone already. */
export const removeMember = (records: Records, id: string): Promise<boolean> =>
  records.delete(collection, id)

/**
 * On record when it resolves, before it serves anything: whoever publishes afterwards waits for it.
 * Takes the place of a process of the same name, which did not end in good order.
 */
export const joinRoster = async (options: JoinOptions): Promise<OwnMember> => {
  const { records, place, now, onError, interval = beat } = options
  const id = randomUUID()
  let current: () => MemberState = () => ({})
  let failing = false
  let closed = false
  let queue: Promise<unknown> = Promise.resolve()
  let again: NodeJS.Timeout | undefined

  const put = async (): Promise<void> => {
    // the state of the moment in which it is written: an older one never comes after a newer
    const value = { ...place, ...current(), seen: now().toISOString() }
    await records.put(collection, id, value)
  }
  const write = (): void => {
    clearTimeout(again)
    queue = queue.then(async () => {
      if (closed) return
      try {
        await put()
        failing = false
      } catch (error) {
        if (!failing) onError(error)
        failing = true
        again = setTimeout(write, soon)
        again.unref()
      }
    })
  }
  const sweep = async (): Promise<void> => {
    for (const member of await membersOf(records)) {
      const { name, worker } = member
      const replaced = name === place.name && worker === place.worker
      const old = now().getTime() - Date.parse(member.seen) > abandoned
      if (member.id !== id && (replaced || old)) await removeMember(records, member.id)
    }
  }

  await sweep()
  await put()
  const timer = setInterval(write, interval)
  timer.unref()
  return {
    is: state => {
      current = state
    },
    tell: write,
    close: async () => {
      closed = true
      clearInterval(timer)
      clearTimeout(again)
      await queue
      await removeMember(records, id).catch(onError)
    },
  }
}
