/**
 * Remembered verdicts that are given again and again, gathered into few entries of the audit log.
 * That a client was given a verdict is written at once, together with what else came within some
 * milliseconds; how often it was given again within the window, at its end. So a crash never loses
 * who received what, only how often in the last window.
 */
import { setImmediate as breathe } from 'node:timers/promises'
import type { AuditLog } from '../store/store.ts'
import type { AuditEntry, RecordedVerdict } from '../types.ts'
import type { Client, GateObserver } from './gate.ts'

export type RepeatsOptions = {
  readonly audit: Pick<AuditLog, 'append'>
  /** Milliseconds; 0 writes each by itself. */
  readonly window: number
  /** Gatherings that may be open, some 300 to 700 bytes each; with more the oldest is ended early. */
  readonly max?: number
  readonly now: () => Date
  readonly observer: Pick<GateObserver, 'onError'>
}

export type Repeats = {
  /** `verdict` is the same object as long as it is the same verdict. */
  readonly add: (verdict: RecordedVerdict, client: Client) => void
  /** Waits until what was to be written by now is. */
  readonly written: () => Promise<void>
  /** Writes what is gathered, and waits for it; what comes later is written by itself. */
  readonly close: () => Promise<void>
}

/** Who was given verdicts, and those that were given within the window. */
type Given = {
  readonly client: Client
  readonly text: string
  readonly gatherings: Map<RecordedVerdict, Gathering>
}

type Gathering = {
  readonly verdict: RecordedVerdict
  readonly given: Given
  /** By the clock of `performance`. */
  ends: number
  /** Not written yet. */
  times: number
  first: number
  last: number
}

/** Milliseconds that entries wait for others: in one transaction they cost half. */
const linger = 10
/** Entries made in one turn of the event loop: about 2 ms. */
const slice = 256
/** Windows that end within this part of one are looked at together. */
const part = 1 / 16

export const openRepeats = (options: RepeatsOptions): Repeats => {
  const { audit, window, max = 30_000, now, observer } = options
  const clients = new Map<string, Given>()
  const texts = new WeakMap<Client, string>()
  /** In the order of their ends. */
  const open = new Set<Gathering>()
  const due: (() => void)[] = []
  const writing = new Set<Promise<void>>()
  let sending: NodeJS.Timeout | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = window === 0

  const textOf = (client: Client): string => {
    const known = texts.get(client)
    if (known !== undefined) return known
    const { address, agent, name, view } = client
    const text = JSON.stringify([address, agent, name, view])
    texts.set(client, text)
    return text
  }

  const gatheringOf = (verdict: RecordedVerdict, given: Given): Gathering => ({
    verdict,
    given,
    ends: performance.now() + window,
    times: 0,
    first: Number.POSITIVE_INFINITY,
    last: Number.NEGATIVE_INFINITY,
  })

  const count = (gathering: Gathering, times: number, first: number, last: number): void => {
    gathering.times += times
    gathering.first = Math.min(gathering.first, first)
    gathering.last = Math.max(gathering.last, last)
  }

  const append = (entry: AuditEntry, again: () => void): void => {
    const written = audit
      .append(entry)
      .catch((error: unknown) => {
        observer.onError?.('audit', error)
        if (!closed) again()
      })
      .finally(() => writing.delete(written))
    writing.add(written)
  }

  const appendSome = (): void => {
    clearTimeout(sending)
    for (const work of due.splice(0, slice)) work()
    sending = due.length > 0 ? setTimeout(appendSome, 0) : undefined
  }

  /** Also after it has ended; what could not be written is counted again in the next window. */
  const write = (gathering: Gathering): void => {
    const { verdict, given, times, first, last } = gathering
    gathering.times = 0
    gathering.first = Number.POSITIVE_INFINITY
    gathering.last = Number.NEGATIVE_INFINITY
    const again = () => count(openOf(verdict, given.client), times, first, last)
    const several = times > 1 && { times, last: new Date(last).toISOString() }
    const at = new Date(first).toISOString()
    due.push(() => append({ at, ...several, client: given.client, ...verdict }, again))
    sending ??= setTimeout(appendSome, linger)
  }

  const written = async (): Promise<void> => {
    while (due.length > 0) {
      appendSome()
      await breathe()
    }
    await Promise.all(writing)
  }

  const end = (gathering: Gathering): void => {
    const { verdict, given } = gathering
    open.delete(gathering)
    given.gatherings.delete(verdict)
    if (given.gatherings.size === 0) clients.delete(given.text)
    if (gathering.times > 0) write(gathering)
  }

  const sweep = (): void => {
    timer = undefined
    const time = performance.now()
    let left = slice
    for (const gathering of open) {
      if (gathering.ends > time) break
      if (left-- === 0) {
        timer = setTimeout(sweep, 1).unref()
        return
      }
      if (gathering.times === 0) end(gathering)
      else {
        // it is on record until now, so that the next one need not be written at once
        write(gathering)
        open.delete(gathering)
        gathering.ends = time + window
        open.add(gathering)
      }
    }
    arm()
  }

  const arm = (): void => {
    if (timer !== undefined) return
    const [oldest] = open
    if (oldest === undefined) return
    const wait = Math.max(oldest.ends - performance.now(), window * part, 1)
    timer = setTimeout(sweep, wait).unref()
  }

  const openOf = (verdict: RecordedVerdict, client: Client): Gathering => {
    const text = textOf(client)
    const given = clients.get(text) ?? { client, text, gatherings: new Map() }
    const known = given.gatherings.get(verdict)
    if (known) return known
    const [oldest] = open
    if (oldest && open.size >= max) end(oldest)
    const gathering = gatheringOf(verdict, given)
    clients.set(text, given)
    given.gatherings.set(verdict, gathering)
    open.add(gathering)
    arm()
    return gathering
  }

  return {
    written,

    add: (verdict, client) => {
      const at = now().getTime()
      const known = clients.get(textOf(client))?.gatherings.get(verdict)
      if (known && !closed) return count(known, 1, at, at)
      const gathering = closed
        ? gatheringOf(verdict, { client, text: '', gatherings: new Map() })
        : openOf(verdict, client)
      count(gathering, 1, at, at)
      write(gathering)
    },

    close: async () => {
      closed = true
      clearTimeout(timer)
      let left = slice
      for (const gathering of open) {
        if (left-- === 0) {
          await breathe()
          left = slice
        }
        end(gathering)
      }
      await written()
    },
  }
}
