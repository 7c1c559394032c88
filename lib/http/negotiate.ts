/** Which of our representations a client asks for; every header value is read once. */
import { LRUCache } from 'lru-cache'
import type { Form } from '../gate/representation.ts'

export const abbreviatedType = 'application/vnd.npm.install-v1+json'

/** An install sends the same few values thousands of times. */
const reader = <T extends string>(read: (header: string) => T) => {
  const known = new LRUCache<string, T>({
    max: 200,
    maxEntrySize: 4_000,
    sizeCalculation: (_, key) => key.length + 1,
    maxSize: 100_000,
  })
  return (header: string | undefined): T => {
    const text = header ?? ''
    const found = known.get(text)
    if (found !== undefined) return found
    const value = read(text)
    known.set(text, value)
    return value
  }
}

/** The parts of a list with their weights (RFC 9110 12.4.2). */
const weigh = (header: string): readonly (readonly [what: string, weight: number])[] =>
  header.split(',').map(part => {
    const [what = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
    const q = parameters.find(text => text.startsWith('q='))
    return [what, q === undefined ? 1 : Number(q.slice(2))]
  })

/**
 * npm's two forms of a packument. The abbreviated one is for those who name it first or alone:
 * `application/json` with a higher weight asks for the full one (pnpm with an age policy).
 */
export const formOf = reader<Form>(accept => {
  const weights = weigh(accept)
  const weightOf = (wanted: string) => weights.find(([type]) => type === wanted)?.[1] ?? 0
  const abbreviated = weightOf(abbreviatedType)
  return abbreviated > 0 && abbreviated >= weightOf('application/json') ? 'abbreviated' : 'full'
})

export type Encoding = 'gzip' | 'identity'

/** gzip for all who take it and do not prefer no encoding at all; without the header none. */
export const encodingOf = reader<Encoding>(acceptEncoding => {
  const weights = new Map(weigh(acceptEncoding))
  const gzip = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0
  return gzip > 0 && gzip >= (weights.get('identity') ?? 0) ? 'gzip' : 'identity'
})
