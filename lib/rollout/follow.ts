/**
 * An instance that judges by what is published: a new revision is read, checked and put in force,
 * and only then acknowledged in the roster. One that cannot be judged by changes nothing.
 */
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'
import type { Changes } from '../store/store.ts'
import type { Published } from './published.ts'
import { parseRevision, type Layers, type Revision } from './revision.ts'
import { beat, type MemberState, type OwnMember } from './roster.ts'

export type RolloutEvent =
  | { readonly event: 'adopted'; readonly revision: Revision; readonly layers: Layers }
  /** Told once for each revision. */
  | { readonly event: 'refused'; readonly revision?: Revision; readonly error: AttestryError }
  /** The revision in force was published again, after one that was refused. */
  | { readonly event: 'restored'; readonly revision: Revision }

export type RolloutState = {
  /** In force. */
  readonly revision: number
  /** What is newer and cannot be judged by. */
  readonly refused?: { readonly revision: number; readonly message: string }
}

export type FollowOptions = {
  readonly published: Pick<Published, 'newest'>
  readonly changes: Pick<Changes, 'subscribe'>
  readonly member: OwnMember
  /** Names that are configured here. */
  readonly upstreams: readonly string[]
  readonly views: readonly string[]
  /** In force at the start. */
  readonly revision: Revision
  /** Puts them in force before it returns: no request that begins afterwards is judged by others. */
  readonly adopt: (layers: Layers) => void
  /** Over the layers of everybody in force now. */
  readonly digest: () => string
  readonly onEvent: (event: RolloutEvent) => void
  readonly onError: (error: unknown) => void
  readonly now: () => Date
  /** Milliseconds between looks when nothing is told. */
  readonly interval?: number
}

export type Follower = {
  readonly state: () => RolloutState
  readonly close: () => Promise<void>
}

const same = (a: Pick<Revision, 'revision' | 'content'> | undefined, b: Revision) =>
  a?.revision === b.revision && a.content === b.content

export const followPublished = (options: FollowOptions): Follower => {
  const { published, changes, member, upstreams, views, adopt, onEvent, now } = options
  let inForce = options.revision
  let since = now().toISOString()
  let refused: MemberState['refused']
  let unreadable: string | undefined
  let failing = false
  let closed = false

  member.is(() => ({
    revision: inForce.revision,
    content: inForce.content,
    policyDigest: options.digest(),
    since,
    ...(refused && { refused }),
  }))

  const take = (revision: Revision): void => {
    let layers: Layers
    try {
      layers = parseRevision(revision, { upstreams, views })
    } catch (thrown) {
      const error = isAttestryError(thrown)
        ? thrown
        : new AttestryError('EPOLICY', messageOf(thrown), { cause: thrown })
      const { content, revision: number } = revision
      refused = { revision: number, content, message: error.message }
      return onEvent({ event: 'refused', revision, error })
    }
    const before = inForce
    if (before.content !== revision.content) adopt(layers)
    inForce = revision
    since = now().toISOString()
    const restored = refused !== undefined && before.content === revision.content
    refused = undefined
    onEvent(restored ? { event: 'restored', revision } : { event: 'adopted', revision, layers })
  }

  const look = async (): Promise<void> => {
    let revision: Revision | undefined
    try {
      revision = await published.newest()
    } catch (error) {
      if (!isAttestryError(error) || error.code !== 'EPOLICY') throw error
      // of a newer version, or nobody's: it cannot be said which one it is
      if (unreadable !== error.message) onEvent({ event: 'refused', error })
      unreadable = error.message
      return
    }
    unreadable = undefined
    // a store that was emptied takes no policy out of force
    if (closed || !revision || same(refused, revision)) return
    // with something refused the database was set back to what is in force
    if (same(inForce, revision) && !refused) return
    take(revision)
    member.tell()
  }

  let looking: Promise<void> | undefined
  let again = false
  const turn = (): void => {
    if (closed) return
    if (looking) {
      again = true
      return
    }
    again = false
    looking = look()
      .then(
        () => void (failing = false),
        (error: unknown) => {
          // that the store is away is told once; what is in force stays
          if (!failing) options.onError(error)
          failing = true
        },
      )
      .finally(() => {
        looking = undefined
        if (again) turn()
      })
  }

  const unsubscribe = changes.subscribe(news => {
    if (news === 'resync' || news.topic === 'policy') turn()
  })
  const timer = setInterval(turn, options.interval ?? beat)
  timer.unref()
  member.tell()
  turn()

  return {
    state: () => ({
      revision: inForce.revision,
      ...(refused && {
        refused: { revision: refused.revision, message: refused.message },
      }),
    }),
    close: async () => {
      closed = true
      clearInterval(timer)
      unsubscribe()
      await looking
    },
  }
}
