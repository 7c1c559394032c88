/**
 * Watches the transparency logs that evidence rests on: what each log has signed is remembered, and
 * every further word of it must be of the same history. A log that shows two is forked: nobody
 * else's word is needed for that, it has signed both.
 */
import { isAttestryError, messageOf } from '../errors.ts'
import type { Records } from '../store/store.ts'
import { leafHash, provesConsistency, provesInclusion } from '../transparency/merkle.ts'
import { openLogCheckpoint, type KnownLog, type SignedCheckpoint } from './known-logs.ts'
import type { LogClient } from './log-client.ts'
import { seenEntries, type SeenEntry } from './seen.ts'

export type LogWatchEvent = {
  /**
   * `fork`: the log has signed two histories. `unproven`: it does not prove that what it signed
   * before is in what it signs now. `broken-promise`: an entry that it promised is not in it.
   * `unreachable`: it did not answer. `consistent`: it proved so.
   */
  readonly event: 'fork' | 'unproven' | 'broken-promise' | 'unreachable' | 'consistent'
  readonly log: string
  readonly detail: string
  /** Of two that contradict each other. */
  readonly checkpoints?: readonly string[]
}

export type LogWatchOptions = {
  readonly logs: () => readonly KnownLog[]
  readonly records: Pick<Records, 'get' | 'put'>
  readonly clientFor: (log: KnownLog) => LogClient
  /** Share of documents that are looked at, from 0 to 1. */
  readonly sample: number
  readonly random?: () => number
  readonly onEvent?: (event: LogWatchEvent) => void
}

export type LogWatch = {
  /** Attestations that verified. `where` is told with what is found: a package version. */
  see(document: Uint8Array, where: string): void
  /** Logs that something speaks against, by their names, and what. */
  faults(): Readonly<Record<string, string>>
  /** Resolves when nothing is under way. */
  idle(): Promise<void>
  close(): Promise<void>
}

/** Documents that may wait; further ones are passed over. */
const mostWaiting = 100
const collection = 'log-checkpoints'

const sameRoot = (a: { root: Uint8Array }, b: { root: Uint8Array }) =>
  Buffer.compare(a.root, b.root) === 0

export const openLogWatch = (options: LogWatchOptions): LogWatch => {
  const { logs, records, clientFor, sample, random = Math.random, onEvent } = options
  const faults = new Map<string, string>()
  let waiting = 0
  let closed = false
  let tail: Promise<void> = Promise.resolve()

  const blame = (event: LogWatchEvent) => {
    // a log that contradicted itself once is not cleared by a later proof
    if (faults.get(event.log) === event.detail) return
    faults.set(event.log, event.detail)
    onEvent?.(event)
  }

  /** Two words of one log; gives the larger when one is proven to go on from the other. */
  const compare = async (
    a: SignedCheckpoint,
    b: SignedCheckpoint,
    where: string,
  ): Promise<SignedCheckpoint | undefined> => {
    const [first, second] = a.size <= b.size ? [a, b] : [b, a]
    const told = { log: first.origin, checkpoints: [first.note, second.note] }
    const fork = (how: string) =>
      blame({
        ...told,
        event: 'fork',
        detail: `${where}: the log has signed two histories: ${how}.`,
      })
    if (first.size === second.size) {
      if (sameRoot(first, second)) return second
      fork(`two trees of ${first.size} entries`)
      return undefined
    }
    if (first.size === 0) return second
    const { hashes, root } = await clientFor(second.log).prove(first.size, second)
    if (provesConsistency(first, second, hashes)) return second
    if (root !== undefined && !sameRoot({ root }, first))
      fork(`the tree of ${second.size} entries does not begin with that of ${first.size}`)
    else
      blame({
        ...told,
        event: 'unproven',
        detail: `${where}: the log does not prove that its tree of ${second.size} entries begins with that of ${first.size}.`,
      })
    return undefined
  }

  const opened = (note: string) => openLogCheckpoint(note, logs())

  const remembered = async (origin: string): Promise<SignedCheckpoint | undefined> => {
    const kept = await records.get<{ readonly note: string }>(collection, origin)
    return kept && opened(kept.note)
  }

  /** Holds this word of a log to what is remembered, and to the log's newest. */
  const hold = async (seen: SignedCheckpoint, where: string): Promise<void> => {
    const { origin, log } = seen
    const before = await remembered(origin)
    let newest: SignedCheckpoint | undefined = seen
    if (before !== undefined) newest = await compare(before, seen, where)
    if (newest === undefined) return
    const head = opened(await clientFor(log).checkpoint(origin))
    if (head === undefined || head.origin !== origin) {
      blame({
        event: 'unproven',
        log: origin,
        detail: `${where}: what the log gives as its checkpoint is not signed by it.`,
      })
      return
    }
    // a mirror may be behind what a bundle shows already; both must be of one history all the same
    newest = await compare(newest, head, where)
    if (newest === undefined) return
    await records.put(collection, origin, { note: newest.note })
    const detail = `${where}: one history up to entry ${newest.size}.`
    onEvent?.({ event: 'consistent', log: origin, detail })
  }

  /** An entry with nothing but a promise: it must be in the log by now. */
  const lookUp = async ({ logIndex, body }: SeenEntry, log: KnownLog, where: string) => {
    const entry = await clientFor(log).entryAt(logIndex)
    const head = entry && opened(entry.proof.checkpoint)
    const { logIndex: leaf, treeSize: size, hashes } = entry?.proof ?? {}
    const proven =
      head?.size === size &&
      head !== undefined &&
      leaf !== undefined &&
      provesInclusion({
        leaf,
        size: head.size,
        hash: leafHash(body),
        root: head.root,
        proof: hashes ?? [],
      })
    if (proven) return hold(head, where)
    blame({
      event: 'broken-promise',
      log: log.baseUrl,
      detail: `${where}: the log promised entry ${logIndex} and does not prove that it has it.`,
    })
  }

  const look = async (document: Uint8Array, where: string): Promise<void> => {
    const known = logs()
    for (const entry of seenEntries(document)) {
      const log = known.find(({ logId }) => logId.equals(entry.logId))
      if (log === undefined || closed) continue
      try {
        const seen = entry.checkpoint === undefined ? undefined : opened(entry.checkpoint)
        if (seen !== undefined) await hold(seen, where)
        else if (log.version === 1) await lookUp(entry, log, where)
      } catch (error) {
        if (!isAttestryError(error)) throw error
        const event = error.code === 'EREKOR' ? 'unreachable' : 'unproven'
        const told = {
          event,
          log: log.baseUrl,
          detail: `${where}: ${messageOf(error)}`,
        } as const
        if (event === 'unreachable') onEvent?.(told)
        else blame(told)
      }
    }
  }

  return {
    see: (document, where) => {
      if (closed || waiting >= mostWaiting || random() >= sample) return
      waiting += 1
      tail = tail
        .then(() => look(document, where))
        .catch((error: unknown) =>
          onEvent?.({
            event: 'unreachable',
            log: 'any',
            detail: `${where}: ${messageOf(error)}`,
          }),
        )
        .finally(() => {
          waiting -= 1
        })
    },
    faults: () => Object.fromEntries(faults),
    idle: () => tail,
    close: async () => {
      closed = true
      await tail
    },
  }
}
