/**
 * Reads along while a package is published: which version it is and what its bytes are, without
 * keeping them. The document has the tarball inside it as base64 (libnpmpublish), so it is walked as
 * it comes; of what is not about the version only the structure is followed.
 */
import { createHash, type Hash } from 'node:crypto'
import type { Integrity, PackageId } from '../types.ts'

/** `unsigned` says why what was sent cannot be vouched for; undefined: no tarball was in it. */
export type Published =
  (PackageId & { readonly integrity: Integrity }) | { readonly unsigned: string } | undefined

export type PublishReader = {
  readonly write: (chunk: Uint8Array) => void
  /** After the last chunk. */
  readonly end: () => Published
}

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a]
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d]

/** A document that is deeper, or has longer names, is not one that a client makes. */
const MAX_DEPTH = 500
const MAX_TEXT = 16 * 1024

/** Thrown inside; becomes `unsigned`. */
class Odd extends Error {}

const odd = (why: string): never => {
  throw new Odd(why)
}

/** Takes base64 in pieces of any length, which need not end where four characters do. */
const openBase64 = (hash: Hash) => {
  let carry = ''
  let padded = false
  return {
    write: (piece: string): void => {
      const text = carry + piece
      const whole = text.length - (text.length % 4)
      carry = text.slice(whole)
      if (whole === 0) return
      const head = text.slice(0, whole)
      if (padded || !/^[A-Za-z0-9+/]*={0,2}$/.test(head)) odd('the tarball in it is not base64')
      padded = head.endsWith('=')
      hash.update(Buffer.from(head, 'base64'))
    },
    end: (): void => {
      if (carry !== '') odd('the tarball in it is not base64')
    },
  }
}

type Frame = { readonly list: boolean; key: string | undefined; naming: boolean }

/** What a string in the document is for. */
type Text = { raw: string; escaped: boolean } & (
  | { readonly use: 'key' | 'value'; readonly at?: string }
  | { readonly use: 'tarball'; readonly base64: ReturnType<typeof openBase64> }
  | { readonly use: 'nothing' }
)

export const openPublishReader = (name: string): PublishReader => {
  const hash = createHash('sha512')
  const frames: Frame[] = []
  /** Values by their path. */
  const found = new Map<string, string>()
  const seen = new Set<string>()
  const versions: string[] = []
  let tarballs = 0
  let text: Text | undefined
  let why: string | undefined
  let closed = false

  const path = (): readonly string[] =>
    frames.map(({ key, list }) => (list ? '[]' : (key ?? '')))

  /** Which of two values a registry takes is not ours to guess. */
  const once = (steps: readonly string[]): string => {
    const at = JSON.stringify(steps)
    if (seen.has(at)) odd(`${steps.join('.')} is in it twice`)
    seen.add(at)
    return at
  }

  const wanted = ([first, second, ...rest]: readonly string[]): boolean => {
    if (second === undefined) return first === 'name' || first === '_id'
    const tail = rest.join('.')
    return first === 'versions' && ['name', 'version', 'dist.integrity'].includes(tail)
  }

  const openText = (): Text => {
    const frame = frames.at(-1)
    const fresh = { raw: '', escaped: false }
    if (frame?.naming === true) return { ...fresh, use: 'key' }
    if (frames.length > 4) return { ...fresh, use: 'nothing' }
    const steps = path()
    if (wanted(steps)) return { ...fresh, use: 'value', at: once(steps) }
    const [first, file = '', data] = steps
    const tarball =
      first === '_attachments' && data === 'data' && steps.length === 3 && file.endsWith('.tgz')
    if (!tarball) return { ...fresh, use: 'nothing' }
    once(steps)
    if (++tarballs > 1) odd('there is more than one tarball in it')
    return { ...fresh, use: 'tarball', base64: openBase64(hash) }
  }

  const closeText = (done: Text): void => {
    if (done.use === 'tarball') return done.base64.end()
    if (done.use === 'nothing') return
    const value = JSON.parse(`"${done.raw}"`) as string
    if (done.use === 'value') {
      found.set(done.at ?? '', value)
      return
    }
    const frame = frames.at(-1)
    if (frame) frame.key = value
  }

  const take = (into: Text, piece: string): void => {
    if (into.use === 'nothing') return
    if (into.use === 'tarball') return into.base64.write(piece)
    into.raw += piece
    if (into.raw.length > MAX_TEXT) odd('a name in it is too long')
  }

  /** One character behind a backslash. */
  const takeEscape = (into: Text, character: string): void => {
    if (into.use !== 'tarball') return take(into, `\\${character}`)
    if (character !== '/') odd('the tarball in it is not base64')
    take(into, character)
  }

  const open = (list: boolean): void => {
    if (frames.length === 0 && closed) odd('there is more than one document in it')
    if (frames.length >= MAX_DEPTH) odd('it is nested too deep')
    const steps = path()
    const [first, version] = steps
    if (steps.length === 1 && (first === 'versions' || first === '_attachments')) once(steps)
    if (steps.length === 2 && first === 'versions' && version !== undefined) {
      once(steps)
      versions.push(version)
    }
    if (steps.length === 2 && first === '_attachments') once(steps)
    frames.push({ list, key: undefined, naming: !list })
  }

  const structure = (byte: number): void => {
    const frame = frames.at(-1)
    switch (byte) {
      case QUOTE:
        text = openText()
        return
      case OPEN_BRACE:
      case OPEN_BRACKET:
        return open(byte === OPEN_BRACKET)
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        frames.pop()
        closed ||= frames.length === 0
        return
      case COLON:
        if (frame) frame.naming = false
        return
      case COMMA:
        if (frame) frame.naming = !frame.list
        return
      default:
    }
  }

  /** Inside a string; gives where to go on. */
  const within = (into: Text, chunk: Buffer, from: number): number => {
    if (into.escaped) {
      into.escaped = false
      takeEscape(into, chunk.toString('latin1', from, from + 1))
      return from + 1
    }
    const quote = chunk.indexOf(QUOTE, from)
    const slash = chunk.subarray(0, quote < 0 ? chunk.length : quote).indexOf(BACKSLASH, from)
    const end = slash >= 0 ? slash : quote >= 0 ? quote : chunk.length
    // a byte is a character: whatever counts in here is ASCII
    if (end > from) take(into, chunk.toString('latin1', from, end))
    if (slash >= 0) into.escaped = true
    else if (quote >= 0) {
      text = undefined
      closeText(into)
    }
    return end + 1
  }

  const verdict = (): Published => {
    if (frames.length > 0 || text !== undefined || !closed) odd('it broke off')
    if (tarballs === 0) return undefined
    const [version, ...more] = versions
    if (version === undefined || more.length > 0)
      return odd(`${versions.length} versions are in it; wanted one`)
    const at = (...steps: string[]) => found.get(JSON.stringify(steps))
    const names = [at('name'), at('_id') ?? name, at('versions', version, 'name') ?? name]
    if (names.some(said => said !== name)) odd('it names another package')
    if ((at('versions', version, 'version') ?? version) !== version)
      odd('it names another version')
    const integrity: Integrity = `sha512-${hash.digest('base64')}`
    if (at('versions', version, 'dist', 'integrity') !== integrity)
      odd('the integrity it names is not the sha512 of the tarball in it')
    return { name, version, integrity }
  }

  const guarded = <T>(run: () => T): T | undefined => {
    if (why !== undefined) return undefined
    try {
      return run()
    } catch (error) {
      why = error instanceof Odd ? error.message : 'it is not JSON'
      return undefined
    }
  }

  return {
    write: chunk =>
      guarded(() => {
        const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
        for (let i = 0; i < bytes.length;)
          if (text) i = within(text, bytes, i)
          else structure(bytes[i++] ?? 0)
      }),
    end: () => {
      const published = guarded(verdict)
      return why === undefined ? published : { unsigned: why }
    },
  }
}
