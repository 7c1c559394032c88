/**
 * Attestations and registry keys for clients that verify for themselves: what the upstream gave,
 * kept, and its "there is none" kept for a while too (most lookups of attestations find none).
 */
import { LRUCache } from 'lru-cache'
import { atMost } from '../at-most.ts'
import { AttestryError, messageOf } from '../errors.ts'
import type { Store } from '../store/store.ts'
import { endpointForm } from '../trust/registry-key.ts'
import type { PackageId, RegistryKey } from '../types.ts'
import type { DocumentAnswer, Upstream } from '../upstream/upstream.ts'
import { record, type Manifest } from './claims.ts'
import { openFlights } from './flights.ts'

/** Kept in the collection `document`; the text is the upstream's JSON as received. */
type DocumentRecord = { readonly text: string; readonly fetchedAt: number }

export type DocumentsOptions = {
  readonly store: Store
  readonly upstreamFor: (name: string) => Upstream
  readonly now: () => Date
  /** Milliseconds for which "there is none" is remembered. */
  readonly negativeTtl: number
  /** Our own, served beside the upstream's. */
  readonly ownKeys?: () => readonly RegistryKey[]
}

/** Milliseconds after which keys are asked for again; they change once in years. */
const KEYS_TTL = 3_600_000

export type Documents = ReturnType<typeof openDocuments>

/**
 * Ours first: of two keys with one id clients take the first, and an upstream must not put its own
 * in the place of one of ours.
 */
const withKeys = (answer: DocumentAnswer, own: readonly RegistryKey[]): DocumentAnswer => {
  if (own.length === 0) return answer
  const { keys } = endpointForm(own)
  const ids = new Set(keys.map(({ keyid }) => keyid))
  const document = answer.kind === 'found' ? parsed(answer.body) : {}
  const listed: readonly unknown[] = Array.isArray(document['keys']) ? document['keys'] : []
  const theirs = listed.filter(key => !ids.has(String(record(key)['keyid'])))
  const body = Buffer.from(JSON.stringify({ ...document, keys: [...keys, ...theirs] }))
  return { kind: 'found', body }
}

const parsed = (body: Buffer): Manifest => {
  try {
    return record(JSON.parse(body.toString('utf8')))
  } catch (error) {
    const message = `The upstream's registry keys are not JSON: ${messageOf(error)}`
    throw new AttestryError('EUPSTREAMDATA', message, { cause: error })
  }
}

export const openDocuments = (options: DocumentsOptions) => {
  const { store, upstreamFor, now, negativeTtl, ownKeys = () => [] } = options
  const missing = new LRUCache<string, true>({
    ...atMost(100_000),
    ttl: Math.max(1, negativeTtl),
  })
  const flight = openFlights<DocumentAnswer>()

  const ask = async (key: string, fetch: () => Promise<DocumentAnswer>) => {
    const answer = await fetch()
    if (answer.kind === 'missing') missing.set(key, true)
    else {
      const entry: DocumentRecord = {
        text: answer.body.toString('utf8'),
        fetchedAt: now().getTime(),
      }
      await store.records.put('document', key, entry)
    }
    return answer
  }

  const kept = (key: string) => store.records.get<DocumentRecord>('document', key)
  const found = (entry: DocumentRecord): DocumentAnswer => ({
    kind: 'found',
    body: Buffer.from(entry.text),
  })

  /** By upstream: what another one said of the name is not about this package. */
  const attestationsKey = ({ name, version }: PackageId) =>
    `attestations ${upstreamFor(name).name} ${name}@${version}`

  /** Asks the upstream now and keeps what it says; throws what the upstream's failure was. */
  const fetchAttestations = (id: PackageId): Promise<DocumentAnswer> =>
    flight(attestationsKey(id), () =>
      ask(attestationsKey(id), () => upstreamFor(id.name).attestations(id)),
    )

  const upstreamKeys = async (): Promise<DocumentAnswer> => {
    const upstream = upstreamFor('')
    const key = `keys ${upstream.evidenceFrom ?? upstream.name}`
    if (missing.has(key)) return { kind: 'missing' }
    const entry = await kept(key)
    if (entry && now().getTime() - entry.fetchedAt <= KEYS_TTL) return found(entry)
    try {
      return await flight(key, () => ask(key, () => upstream.keys()))
    } catch (error) {
      if (entry) return found(entry)
      throw error
    }
  }

  return {
    fetchAttestations,

    /** What the upstream gave when it was last asked. */
    keptAttestations: async (id: PackageId) => {
      const entry = await kept(attestationsKey(id))
      return entry && ({ kind: 'found', body: Buffer.from(entry.text) } as const)
    },

    attestations: async (id: PackageId): Promise<DocumentAnswer> => {
      const key = attestationsKey(id)
      if (missing.has(key)) return { kind: 'missing' }
      const entry = await kept(key)
      return entry ? found(entry) : fetchAttestations(id)
    },

    /** After a write: what was not there may be there now. */
    expire: (name: string): void => {
      const start = `attestations ${upstreamFor(name).name} ${name}@`
      for (const key of missing.keys()) if (key.startsWith(start)) missing.delete(key)
    },

    /** "There is none" is asked again. */
    reset: (): void => missing.clear(),

    /** The keys of the upstream that serves names nobody reserved, and our own. */
    keys: async (): Promise<DocumentAnswer> => withKeys(await upstreamKeys(), ownKeys()),
  }
}
