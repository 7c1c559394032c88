/**
 * Finds the members of a JSON object inside a buffer without parsing them, so that a packument of
 * tens of megabytes is taken apart one version at a time: the parsed form of a whole packument is
 * several times its text, and parsing it in one go would hold up every other request.
 *
 * Only structure is judged here; each value is checked when JSON.parse reads its slice.
 */
export type Slice = { readonly start: number; readonly end: number }

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d]

const isSpace = (byte: number | undefined) =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const fail = (at: number, wanted: string): never => {
  throw new SyntaxError(`JSON at byte ${at}: wanted ${wanted}`)
}

const skipSpace = (json: Buffer, at: number): number => {
  while (isSpace(json[at])) at++
  return at
}

/** `at` is the opening quote; returns the offset behind the closing one. */
const skipString = (json: Buffer, at: number): number => {
  let end = at
  for (;;) {
    end = json.indexOf(QUOTE, end + 1)
    if (end < 0) return fail(at, 'the end of a string')
    let escapes = 0
    while (json[end - 1 - escapes] === BACKSLASH) escapes++
    if (escapes % 2 === 0) return end + 1
  }
}

/** Bytes that are looked through at a time: less than a millisecond. */
const STEP = 256 * 1024

/** The offset behind an object or list; yields where it goes on for long. */
function* skipNested(json: Buffer, at: number): Generator<undefined, number> {
  let depth = 0
  let rest = at + STEP
  for (let i = at; i < json.length;) {
    if (i >= rest) {
      yield
      rest = i + STEP
    }
    const byte = json[i]
    if (byte === QUOTE) {
      i = skipString(json, i)
      continue
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--
      if (depth === 0) return i + 1
    }
    i++
  }
  return fail(at, 'the end of an object or list')
}

function* skipValue(json: Buffer, at: number): Generator<undefined, number> {
  const first = json[at]
  if (first === QUOTE) return skipString(json, at)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return yield* skipNested(json, at)
  let end = at
  for (let byte = json[end]; byte !== undefined; byte = json[++end]) {
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte)) break
  }
  return end > at ? end : fail(at, 'a value')
}

export type Member = readonly [name: string, value: Slice]

/** The members of the object at `at` go into `found`, in place of what it has. */
function* collect(
  json: Buffer,
  at: number,
  found: Map<string, Slice>,
): Generator<undefined, number> {
  found.clear()
  const inner = members(json, at)
  for (;;) {
    const { done, value } = inner.next()
    if (done === true) return value
    if (value) found.set(...value)
    yield
  }
}

/**
 * The members of the object that starts at `at`, in order; a name may come twice. Undefined comes in
 * between where there is more to look through than should be in one go. Where `inside` gives a map
 * for a member that is an object, the object's members go there on the way. Returns the offset
 * behind the object.
 */
export function* members(
  json: Buffer,
  at = 0,
  inside?: (name: string) => Map<string, Slice> | undefined,
): Generator<Member | undefined, number> {
  let i = skipSpace(json, at)
  if (json[i] !== OPEN_BRACE) fail(i, 'an object')
  i = skipSpace(json, i + 1)
  if (json[i] === CLOSE_BRACE) return i + 1
  for (;;) {
    if (json[i] !== QUOTE) fail(i, 'a name in quotes')
    const nameEnd = skipString(json, i)
    const name = JSON.parse(json.toString('utf8', i, nameEnd)) as string
    i = skipSpace(json, nameEnd)
    if (json[i] !== COLON) fail(i, 'a colon')
    const start = skipSpace(json, i + 1)
    const found = inside?.(name)
    const nested = found !== undefined && json[start] === OPEN_BRACE
    const end = yield* nested ? collect(json, start, found) : skipValue(json, start)
    yield [name, { start, end }]
    i = skipSpace(json, end)
    if (json[i] === CLOSE_BRACE) return i + 1
    if (json[i] !== COMMA) fail(i, 'a comma')
    i = skipSpace(json, i + 1)
  }
}

/** Throws SyntaxError unless there is nothing but white space from `at` on. */
export const endsAt = (json: Buffer, at: number): void => {
  const end = skipSpace(json, at)
  if (end < json.length) fail(end, 'the end of the document')
}

/** Reads one value; throws SyntaxError when it is not JSON. */
export const parseSlice = (json: Buffer, slice: Slice): unknown =>
  JSON.parse(json.toString('utf8', slice.start, slice.end))
