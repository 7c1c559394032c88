/**
 * Policy files that change while the server runs. They are read again and again and taken when two
 * readings in a row agree: nothing depends on how a system tells of changes, so renaming over,
 * symlinks that are swapped and network drives all work, and no half-written file is taken. What
 * cannot be judged by is refused, and what was in force stays.
 */
import { basename } from 'node:path'
import { keyReader } from '../config/key-file.ts'
import { readTextFile } from '../config/text-file.ts'
import { isAttestryError, AttestryError, messageOf } from '../errors.ts'
import { policyDigest } from '../policy/digest.ts'
import { keyFilesOf } from '../policy/key.ts'
import { parseLayers } from '../policy/parse.ts'
import type { Policy } from '../policy/policy.ts'

export type ReloadOptions = {
  /** Absolute paths, in the order of the layers. */
  readonly files: readonly string[]
  /** Names of the upstreams that rules may reserve names for. */
  readonly upstreams: readonly string[]
  /** What is in force at the start. */
  readonly policies: readonly Policy[]
  /** Puts them in force; `texts` is what they were read from. */
  readonly adopt: (policies: readonly Policy[], texts: readonly PolicyText[]) => void
  /** After `adopt`. */
  readonly onAdopted?: (policies: readonly Policy[]) => void
  /** EPOLICY with every complaint; once for each text that is refused. */
  readonly onRefused?: (error: AttestryError) => void
  /** The files say again what is in force, after something was refused. */
  readonly onRestored?: () => void
  /** Milliseconds between two readings. */
  readonly interval?: number
}

/** A policy file as it was read. */
export type PolicyText = { readonly file: string; readonly text: string }

export type Outcome = 'adopted' | 'refused' | 'unchanged'

export type Reload = {
  readonly policies: () => readonly Policy[]
  /** Reads at once, and tells again what is refused. */
  readonly reload: () => Promise<Outcome>
  /** Resolves when nothing is read any more. */
  readonly close: () => Promise<void>
}

/** What a file holds, or why nobody can read it. */
type Reading =
  | {
      readonly text: string
      /** Of the key files that what is in force names: what they hold, or why they cannot be read. */
      readonly keys: readonly string[]
    }
  | { readonly error: AttestryError }

const keysOf = (file: string, policy: Policy | undefined): readonly string[] => {
  const read = keyReader(file)
  return (policy ? keyFilesOf(policy) : []).map(path => {
    try {
      return read(path)
    } catch (error) {
      return messageOf(error)
    }
  })
}

const readingOf = async (file: string, policy: Policy | undefined): Promise<Reading> => {
  try {
    return { text: await readTextFile(file, 'EPOLICY'), keys: keysOf(file, policy) }
  } catch (error) {
    return {
      error: isAttestryError(error) ? error : new AttestryError('EPOLICY', messageOf(error)),
    }
  }
}

const sameReadings = (a: readonly Reading[] | undefined, b: readonly Reading[]): boolean =>
  a !== undefined &&
  a.every((one, i) => {
    const other = b[i]
    return other !== undefined && 'text' in one && 'text' in other
      ? one.text === other.text && one.keys.join('\0') === other.keys.join('\0')
      : 'error' in one && other !== undefined && 'error' in other
        ? one.error.message === other.error.message
        : false
  })

/** Between the two readings that must agree when somebody asks to reload at once. */
const SOON = 250
const TRIES = 40

const pause = (milliseconds: number) =>
  new Promise<void>(resolve => {
    setTimeout(resolve, milliseconds)
  })

/** Throws one EPOLICY with the complaints about all files. */
const policiesOf = (
  readings: readonly Reading[],
  { files, upstreams }: ReloadOptions,
): readonly Policy[] =>
  parseLayers(
    readings.map((reading, i) => {
      const file = files[i] ?? ''
      return {
        file,
        name: basename(file),
        text: 'text' in reading ? reading.text : reading.error,
        readKey: keyReader(file),
      }
    }),
    upstreams,
  )

export const openReload = (options: ReloadOptions): Reload => {
  const { files, adopt, interval = 600 } = options
  let { policies } = options
  /** The readings that were taken or refused last, and the latest ones. */
  let settled: readonly Reading[] | undefined
  let refused = false
  let inForce: readonly Reading[] | undefined
  let last: readonly Reading[] | undefined
  let closed = false
  let queue: Promise<unknown> = Promise.resolve()

  const unchanged = (readings: readonly Reading[]): Outcome => {
    inForce = readings
    if (refused) options.onRestored?.()
    refused = false
    return 'unchanged'
  }

  const take = (readings: readonly Reading[]): Outcome => {
    settled = readings
    if (sameReadings(inForce, readings)) return unchanged(readings)
    try {
      const next = policiesOf(readings, options)
      // nobody knows yet which texts the server was opened with, but what they said
      if (inForce === undefined && policyDigest(next) === policyDigest(policies))
        return unchanged(readings)
      const texts = files.map((file, i) => {
        const reading = readings[i]
        return { file, text: reading && 'text' in reading ? reading.text : '' }
      })
      adopt(next, texts)
      policies = next
      // it may name other key files than what was in force
      inForce = readings.map((reading, i) =>
        'text' in reading ? { ...reading, keys: keysOf(files[i] ?? '', next[i]) } : reading,
      )
      settled = inForce
      last = inForce
      refused = false
    } catch (error) {
      refused = true
      options.onRefused?.(
        isAttestryError(error) ? error : new AttestryError('EPOLICY', messageOf(error)),
      )
      return 'refused'
    }
    options.onAdopted?.(policies)
    return 'adopted'
  }

  const read = () => Promise.all(files.map((file, i) => readingOf(file, policies[i])))

  const look = async (): Promise<void> => {
    const readings = await read()
    const twice = sameReadings(last, readings)
    last = readings
    if (twice && !closed && !sameReadings(settled, readings)) take(readings)
  }

  const reload = async (): Promise<Outcome> => {
    let before = await read()
    for (let tries = 0; tries < TRIES && !closed; tries++) {
      await pause(SOON)
      const readings = await read()
      if (sameReadings(before, readings) && !closed) {
        last = readings
        return take(readings)
      }
      before = readings
    }
    return 'unchanged'
  }

  /** One after the other, whoever asks. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work)
    queue = result.catch(() => undefined)
    return result
  }

  let timer: NodeJS.Timeout | undefined
  const schedule = () => {
    if (closed || files.length === 0) return
    timer = setTimeout(() => {
      void inTurn(look).finally(schedule)
    }, interval)
    timer.unref()
  }
  schedule()

  return {
    policies: () => policies,
    reload: () => inTurn(reload),
    close: async () => {
      closed = true
      clearTimeout(timer)
      await queue
    },
  }
}
