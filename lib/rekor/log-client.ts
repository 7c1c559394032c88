/** What is asked of a Rekor: https or loopback only, with a time and a size limit, no redirects. */
import { askService, serviceAddress, type ServiceLimits } from '../attest/service.ts'
import { AttestryError, messageOf } from '../errors.ts'
import { consistencyRanges, hashSize, rangeHash, rootHash } from '../transparency/merkle.ts'
import { tilePath } from '../transparency/tile-path.ts'
import { nodesOf, tilesRead, widthOf, type TileId } from '../transparency/tiles.ts'
import type { KnownLog, SignedCheckpoint } from './known-logs.ts'

export const logLimits: ServiceLimits = { timeout: 10_000, size: 1024 * 1024 }

/** An entry as Rekor v1 gives it. */
export type LogEntry = {
  readonly uuid: string
  readonly body: Buffer
  readonly logIndex: number
  /** Seconds since 1970. */
  readonly integratedTime: number
  readonly proof: {
    readonly logIndex: number
    readonly treeSize: number
    readonly hashes: readonly Buffer[]
    readonly checkpoint: string
  }
}

export type LogClient = {
  /** The newest checkpoint of the log that `origin` names. */
  checkpoint(origin: string): Promise<string>
  /**
   * The hashes that prove the smaller tree to be the beginning of the larger one. `root`: the hash
   * that the log's own tree has at the smaller size; only where the tree is there to be computed
   * from (v2), and only if it is the tree that `second` was signed for.
   */
  prove(
    first: number,
    second: SignedCheckpoint,
  ): Promise<{ readonly hashes: readonly Uint8Array[]; readonly root?: Uint8Array }>
  /** Version 1 only. Undefined when there is no such entry. */
  entryAt(logIndex: number): Promise<LogEntry | undefined>
  entryOf(uuid: string): Promise<LogEntry | undefined>
  /** `sha256:…` or `sha512:…` → identifiers of entries; version 1 only. */
  find(hash: string): Promise<readonly string[]>
}

const service = 'Rekor'

const wrong = (log: KnownLog, what: string, cause?: unknown) =>
  new AttestryError('EREKOR', `${service} (${log.baseUrl}): ${what}`, { cause })

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const hashOf = (value: unknown): Buffer => {
  const bytes = Buffer.from(typeof value === 'string' ? value : '', 'hex')
  if (bytes.length !== hashSize) throw new Error('a hash was expected')
  return bytes
}
const numberOf = (value: unknown): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new Error('a number was expected')
  return value
}
const textOf = (value: unknown): string => {
  if (typeof value !== 'string') throw new Error('a text was expected')
  return value
}
const listOf = <T>(value: unknown, read: (item: unknown) => T): readonly T[] => {
  if (!Array.isArray(value) || value.length > 1000) throw new Error('a list was expected')
  return value.map(read)
}
const recordOf = (value: unknown) => {
  if (!isRecord(value)) throw new Error('an object was expected')
  return value
}

const readEntry = (value: unknown): LogEntry => {
  const [[uuid, found] = ['', undefined]] = Object.entries(recordOf(value))
  const { body, logIndex, integratedTime, verification } = recordOf(found)
  const proof = recordOf(recordOf(verification)['inclusionProof'])
  return {
    uuid,
    body: Buffer.from(textOf(body), 'base64'),
    logIndex: numberOf(logIndex),
    integratedTime: numberOf(integratedTime),
    proof: {
      logIndex: numberOf(proof['logIndex']),
      treeSize: numberOf(proof['treeSize']),
      hashes: listOf(proof['hashes'], hashOf),
      checkpoint: textOf(proof['checkpoint']),
    },
  }
}

/** `rekor.sigstore.dev - 1193050959916656506`: the tree's number, which a sharded log is asked by. */
const treeOf = (origin: string) => / - (\d{1,30})$/.exec(origin)?.[1]

export const openLogClient = (log: KnownLog, limits = logLimits): LogClient => {
  const ask = async (path: string, query = '', body?: object) => {
    try {
      const { status, body: bytes } = await askService(
        {
          service,
          url: `${serviceAddress(service, log.baseUrl, path)}${query}`,
          method: body === undefined ? 'GET' : 'POST',
          ...(body && {
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify(body),
          }),
        },
        limits,
        [200, 404],
      )
      return status === 404 ? undefined : bytes
    } catch (error) {
      throw new AttestryError('EREKOR', messageOf(error), { cause: error })
    }
  }
  const there = <T>(found: T | undefined, path: string): T => {
    if (found === undefined) throw wrong(log, `it has nothing at ${path}`)
    return found
  }
  const json = async <T>(
    read: (value: unknown) => T,
    path: string,
    query?: string,
    body?: object,
  ): Promise<T | undefined> => {
    const bytes = await ask(path, query, body)
    if (bytes === undefined) return undefined
    try {
      return read(JSON.parse(bytes.toString('utf8')))
    } catch (error) {
      throw wrong(log, `its answer to ${path} is not understood: ${messageOf(error)}`, error)
    }
  }

  if (log.version === 2) {
    const none = () => Promise.reject(wrong(log, 'a log of version 2 has no index to ask'))
    return {
      checkpoint: async () =>
        there(await ask('/api/v2/checkpoint'), '/api/v2/checkpoint').toString('utf8'),
      prove: async (first, second) => {
        const ranges = consistencyRanges(first, second.size)
        const held = new Map<string, Buffer>()
        const key = ({ level, index }: TileId) => `${level}/${index}`
        const needed = tilesRead(node => {
          rootHash(second.size, node)
          rootHash(first, node)
          for (const range of ranges) rangeHash(range, node)
        })
        for (const tile of needed) {
          const width = widthOf(second.size, tile)
          const path = `/api/v2/${tilePath({ ...tile, width })}`
          held.set(key(tile), there(await ask(path), path))
        }
        const node = nodesOf(tile => held.get(key(tile)) ?? Buffer.alloc(0))
        const own = Buffer.from(rootHash(second.size, node)).equals(second.root)
        const hashes = ranges.map(range => rangeHash(range, node))
        return { hashes, ...(own && { root: rootHash(first, node) }) }
      },
      entryAt: none,
      entryOf: none,
      find: none,
    }
  }
  return {
    checkpoint: async origin => {
      const path = '/api/v1/log'
      const tree = treeOf(origin)
      const head = await json(value => {
        const { treeID, signedTreeHead, inactiveShards = [] } = recordOf(value)
        const shards = [{ treeID, signedTreeHead }, ...listOf(inactiveShards, recordOf)]
        const shard = shards.find(one => tree === undefined || String(one['treeID']) === tree)
        return textOf(shard?.['signedTreeHead'])
      }, path)
      return there(head, path)
    },
    prove: async (first, { size, origin }) => {
      const tree = treeOf(origin)
      const of = tree === undefined ? '' : `&treeID=${tree}`
      const path = '/api/v1/log/proof'
      const query = `?firstSize=${first}&lastSize=${size}${of}`
      const hashes = await json(value => listOf(recordOf(value)['hashes'], hashOf), path, query)
      return { hashes: there(hashes, path) }
    },
    entryAt: logIndex => json(readEntry, '/api/v1/log/entries', `?logIndex=${logIndex}`),
    entryOf: uuid => json(readEntry, `/api/v1/log/entries/${encodeURIComponent(uuid)}`),
    find: async hash =>
      (await json(
        value => listOf(value, textOf).filter(uuid => /^[0-9a-f]{64,80}$/.test(uuid)),
        '/api/v1/index/retrieve',
        '',
        { hash },
      )) ?? [],
  }
}
