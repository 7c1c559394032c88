/**
 * A packument's text, to be read member by member. A small one is parsed at once, which costs less
 * than finding its parts; of a large one each part is parsed when it is asked for, so that neither
 * time nor memory goes to the whole of it.
 */
import { AttestryError, messageOf } from '../errors.ts'
import { own, record, type Manifest } from './claims.ts'
import { endsAt, members, parseSlice, type Slice } from './json-slices.ts'
import { openPace } from './pace.ts'

/** A name that comes twice counts as JSON.parse counts it: the last. */
export type Packument = {
  readonly name: string
  /** The members at its top, in order. */
  readonly members: readonly string[]
  /** Undefined where there is none; throws EUPSTREAMDATA where it is not JSON. */
  readonly member: (key: string) => unknown
  /** Those that it has a manifest of, in order. */
  readonly versions: readonly string[]
  /** One version's manifest; undefined where there is no such version. */
  readonly manifest: (version: string) => Manifest | undefined
  /** Bytes that it takes in memory, roughly. */
  readonly weight: number
}

/** The parts of a packument's text. */
export type Slices = {
  readonly text: Buffer
  readonly top: ReadonlyMap<string, Slice>
  readonly versions: ReadonlyMap<string, Slice>
}

/** Bytes up to which a text is parsed at once: about 2 ms. */
const WHOLE = 256 * 1024
/** What parsed JSON takes of memory, in bytes of its text. */
const PARSED = 4

const badData = (name: string, why: string, cause?: unknown) =>
  new AttestryError('EUPSTREAMDATA', `The packument of ${name} is not usable: ${why}.`, {
    cause,
  })

const otherName = (name: string) => badData(name, 'it names another package')

/** Takes the text apart; throws EUPSTREAMDATA when it is not a packument of `name`. */
export const slicePackument = async (text: Buffer, name: string): Promise<Slices> => {
  const breathe = openPace()
  try {
    const top = new Map<string, Slice>()
    const versions = new Map<string, Slice>()
    const inside = (name: string) => (name === 'versions' ? versions : undefined)
    const looks = members(text, 0, inside)
    for (let look = looks.next(); ; look = looks.next()) {
      if (look.done === true) {
        endsAt(text, look.value)
        break
      }
      if (look.value) top.set(...look.value)
      const aside = breathe()
      if (aside) await aside
    }
    const at = top.get('versions')
    // throws where that is no object; of two the last counts
    if (at) members(text, at.start).next()
    const said = top.get('name') ?? top.get('_id')
    if (!said || parseSlice(text, said) !== name) throw otherName(name)
    return { text, top, versions }
  } catch (error) {
    throw error instanceof SyntaxError ? badData(name, error.message, error) : error
  }
}

const valueAt = (text: Buffer, slice: Slice, name: string): unknown => {
  try {
    return parseSlice(text, slice)
  } catch (error) {
    throw badData(name, messageOf(error), error)
  }
}

export const manifestAt = (text: Buffer, slice: Slice, name: string): Manifest =>
  record(valueAt(text, slice, name))

const large = async (given: Buffer, name: string): Promise<Packument> => {
  const { text, top, versions } = await slicePackument(given, name)
  return {
    name,
    members: [...top.keys()],
    member: key => {
      const slice = top.get(key)
      return slice && valueAt(text, slice, name)
    },
    versions: [...versions.keys()],
    manifest: version => {
      const slice = versions.get(version)
      return slice && manifestAt(text, slice, name)
    },
    weight: text.length + 200 * versions.size + 1,
  }
}

const small = (text: Buffer, name: string): Packument => {
  let top: unknown
  try {
    top = JSON.parse(text.toString('utf8'))
  } catch (error) {
    throw badData(name, messageOf(error), error)
  }
  const isObject = (value: unknown): value is Manifest => record(value) === value
  if (!isObject(top)) throw badData(name, 'it is no object')
  if ((Object.hasOwn(top, 'name') ? top['name'] : own(top, '_id')) !== name)
    throw otherName(name)
  const versions = Object.hasOwn(top, 'versions') ? top['versions'] : {}
  if (!isObject(versions)) throw badData(name, 'its versions are no object')
  const parsed = top
  return {
    name,
    members: Object.keys(parsed),
    member: key => own(parsed, key),
    versions: Object.keys(versions),
    manifest: version =>
      Object.hasOwn(versions, version) ? record(versions[version]) : undefined,
    weight: PARSED * text.length + 1,
  }
}

/** Throws EUPSTREAMDATA when it is not a packument of `name`. */
export const openPackument = async (
  text: Buffer,
  name: string,
  whole = WHOLE,
): Promise<Packument> => (text.length <= whole ? small(text, name) : large(text, name))
