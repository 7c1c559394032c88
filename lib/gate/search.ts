/**
 * Search over the upstreams. Each is asked only in words that are nobody else's reserved names, and
 * is heard only about names that are its own: a public package cannot stand in a result for a
 * private one, and a private name is not typed into a public search.
 */
import { AttestryError, isAttestryError } from '../errors.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { record } from './claims.ts'
import { jsonBody } from './json-body.ts'
import type { PassLimits, Sender } from './pass-through.ts'
import type { Routing } from './routing.ts'

export type SearchAnswer = {
  readonly objects: readonly unknown[]
  readonly total: number
  readonly time: string
}

type Found = Pick<SearchAnswer, 'objects' | 'total'>

/** npm's registry gives at most so many at once. */
const MAX_SIZE = 250
const DEFAULT_SIZE = 20

/** Qualifiers such as `scope:acme` and `@acme` stand for the whole scope. */
const namesIn = (text: string): readonly string[] =>
  text
    .split(/[\s,]+/)
    .filter(word => word !== '')
    .flatMap(word => {
      const [, qualifier, value] = /^([a-z]+):(.+)$/.exec(word) ?? []
      if (qualifier === 'scope' && value) return [`@${value.replace(/^@/, '')}/_`]
      const name = value ?? word
      return /^@[^/]+\/?$/.test(name) ? [`${name.replace(/\/$/, '')}/_`] : [name]
    })

const whole = (text: string | null, fallback: number) =>
  text !== null && /^\d{1,6}$/.test(text) ? Number(text) : fallback

const nameOf = (object: unknown): string | undefined => {
  const { name } = record(record(object)['package'])
  return typeof name === 'string' ? name : undefined
}

/** npm's registry API, `GET /-/v1/search`. */
const PARAMETERS = new Set(['text', 'size', 'from', 'quality', 'popularity', 'maintenance'])

export type Search = (query: URLSearchParams, sender: Sender) => Promise<SearchAnswer>

export const openSearch = ({
  routing,
  limits,
  now,
}: {
  readonly routing: Routing
  readonly limits: PassLimits
  readonly now: () => Date
}): Search => {
  const ask = async (
    upstream: Upstream,
    query: URLSearchParams,
    sender: Sender,
  ): Promise<Found | undefined> => {
    const { name } = upstream
    const forwards = routing.termsOf(name).clientCredentials === 'forward'
    const theirs = forwards && sender.authorization !== undefined
    const answer = await upstream.forward({
      method: 'GET',
      path: `-/v1/search?${query.toString()}`,
      headers: { accept: 'application/json' },
      credentials: theirs ? { authorization: sender.authorization } : 'own',
      limit: { bytes: limits.audit, key: 'limits.audit' },
    })
    if (answer.status !== 200) {
      answer.body.destroy()
      if (answer.status < 500) return undefined
      const message = `upstream ${name}: answered a search with ${answer.status}`
      throw new AttestryError('EUPSTREAM', message)
    }
    const found = record(
      await jsonBody(answer, { upstream: name, limit: limits.audit, key: 'limits.audit' }),
    )
    const objects: unknown[] = Array.isArray(found['objects']) ? found['objects'] : []
    const own = objects.filter(object => {
      const named = nameOf(object)
      return named !== undefined && routing.upstreamFor(named).name === name
    })
    const total = Number(found['total'])
    return { objects: own, total: Number.isSafeInteger(total) ? total : own.length }
  }

  /** Throws EMETHOD where no upstream is let through to, ENOTFOUND where none has a search. */
  return async (query, sender) => {
    const words = namesIn(query.get('text') ?? '')
    const open = routing.owners().filter(({ name }) => {
      if (routing.termsOf(name).passThrough === 'off') return false
      return words.every(word => (routing.reservedFor(word) ?? name) === name)
    })
    if (open.length === 0)
      throw new AttestryError('EMETHOD', 'No upstream may be asked this search.')
    const from = whole(query.get('from'), 0)
    const size = Math.min(MAX_SIZE, whole(query.get('size'), DEFAULT_SIZE))
    const several = open.length > 1
    // what else a client writes into an address may be a credential
    const asked = new URLSearchParams([...query].filter(([name]) => PARAMETERS.has(name)))
    if (several) {
      asked.set('from', '0')
      asked.set('size', String(Math.min(MAX_SIZE, from + size)))
    }
    const answers = await Promise.all(
      open.map(upstream =>
        ask(upstream, asked, sender).catch((error: unknown) => {
          if (isAttestryError(error)) return error
          throw error
        }),
      ),
    )
    const found = answers.filter(
      (answer): answer is Found => answer !== undefined && !isAttestryError(answer),
    )
    if (found.length === 0) {
      const failed = answers.find(isAttestryError)
      throw failed ?? new AttestryError('ENOTFOUND', 'The upstream has no search.')
    }
    const objects = found.flatMap(answer => answer.objects)
    return {
      objects: several ? objects.slice(from, from + size) : objects,
      total: found.reduce((sum, answer) => sum + answer.total, 0),
      time: now().toUTCString(),
    }
  }
}
