/**
 * A transparency log of our own, for what the mock cannot do: trees with more than one leaf, proofs
 * of every kind, and a log that shows two histories. Rekor v1 (ECDSA, its API) or v2 (Ed25519,
 * tiles), over HTTP on loopback.
 */
import {
  createHash,
  generateKeyPairSync,
  sign,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { checkpointText } from '../../../lib/transparency/checkpoint.ts'
import {
  consistencyRanges,
  hashSize,
  inclusionRanges,
  leafHash,
  rangeHash,
  rootHash,
  type LeafRange,
} from '../../../lib/transparency/merkle.ts'
import { keyIdOf } from '../../../lib/transparency/note.ts'
import { entryBundle, parseTilePath } from '../../../lib/transparency/tile-path.ts'
import { growTiles, nodesOf, tileWidth } from '../../../lib/transparency/tiles.ts'

const sha256 = (data: Uint8Array | string) => createHash('sha256').update(data).digest()
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

export type OwnLogOptions = {
  readonly version: 1 | 2
  readonly origin?: string
  readonly keys?: KeyPairKeyObjectResult
  /** Entries that are there from the start. */
  readonly bodies?: readonly string[]
}

export type OwnLog = ReturnType<typeof openOwnLog>

const rawEd25519 = (key: KeyObject) =>
  Buffer.from(String(key.export({ format: 'jwk' })['x']), 'base64url')

const newKeys = (version: 1 | 2): KeyPairKeyObjectResult =>
  version === 1
    ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    : generateKeyPairSync('ed25519')

export const openOwnLog = (options: OwnLogOptions) => {
  const {
    version,
    origin = version === 1 ? 'rekor.local.example - 77' : 'log2.local.example',
  } = options
  const keys = options.keys ?? newKeys(version)
  const spki = keys.publicKey.export({ format: 'der', type: 'spki' })
  const name = origin.split(' ')[0] ?? ''
  const logId =
    version === 1
      ? sha256(spki)
      : createHash('sha256')
          .update(`${name}\n`)
          .update(Buffer.of(1))
          .update(rawEd25519(keys.publicKey))
          .digest()
  if (
    version === 2 &&
    !keyIdOf(name, 1, rawEd25519(keys.publicKey)).equals(logId.subarray(0, 4))
  )
    throw new Error('the key id of a note begins the log id')
  const bodies = [...(options.bodies ?? [])]
  const times = new Map<number, number>()

  const signBytes = (data: Uint8Array) =>
    sign(version === 1 ? 'sha256' : null, data, keys.privateKey)
  const tiles = () =>
    new Map(
      growTiles(0, bodies.map(leafHash), () => Buffer.alloc(0)).map(tile => [
        `${tile.level}/${tile.index}`,
        tile.hashes,
      ]),
    )
  const node = () => {
    const held = tiles()
    return nodesOf(({ level, index }) => held.get(`${level}/${index}`) ?? Buffer.alloc(0))
  }
  const rootAt = (size: number) => rootHash(size, node())
  const hashes = (ranges: readonly LeafRange[]) => {
    const read = node()
    return ranges.map(range => rangeHash(range, read))
  }
  const noteOf = (text: string) =>
    `${text}\n— ${name} ${base64(Buffer.concat([logId.subarray(0, 4), signBytes(Buffer.from(text))]))}\n`
  const checkpoint = (size = bodies.length) =>
    noteOf(checkpointText(origin, { size, root: rootAt(size) }))
  const add = (body: string, at: Date = new Date()) => {
    bodies.push(body)
    times.set(bodies.length - 1, Math.floor(at.getTime() / 1000))
    return bodies.length - 1
  }
  const promise = (index: number) =>
    signBytes(
      Buffer.from(
        JSON.stringify({
          body: base64(Buffer.from(bodies[index] ?? '')),
          integratedTime: times.get(index) ?? 0,
          logID: hex(logId),
          logIndex: index,
        }),
      ),
    )

  /** protobuf JSON of an entry, as bundles carry it. */
  const entry = (index: number, { size = bodies.length, promised = version === 1 } = {}) => {
    const body = bodies[index] ?? ''
    const { kind, apiVersion } = JSON.parse(body) as { kind: string; apiVersion: string }
    return {
      logIndex: String(index),
      logId: { keyId: base64(logId) },
      kindVersion: { kind, version: apiVersion },
      integratedTime: promised ? String(times.get(index) ?? 0) : '0',
      ...(promised && { inclusionPromise: { signedEntryTimestamp: base64(promise(index)) } }),
      inclusionProof: {
        logIndex: String(index),
        rootHash: base64(rootAt(size)),
        treeSize: String(size),
        hashes: hashes(inclusionRanges(index, size)).map(base64),
        checkpoint: { envelope: checkpoint(size) },
      },
      canonicalizedBody: base64(Buffer.from(body)),
    }
  }

  /** For trusted_root.json. */
  const trusted = (baseUrl: string, validFor: object = { start: '2021-01-01T00:00:00Z' }) => ({
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: base64(spki),
      keyDetails: version === 1 ? 'PKIX_ECDSA_P256_SHA_256' : 'PKIX_ED25519',
      validFor,
    },
    logId: { keyId: base64(logId) },
  })

  const uuidOf = (index: number) => hex(leafHash(bodies[index] ?? ''))
  const entryV1 = (index: number) => ({
    [uuidOf(index)]: {
      body: base64(Buffer.from(bodies[index] ?? '')),
      integratedTime: times.get(index) ?? 0,
      logID: hex(logId),
      logIndex: index,
      verification: {
        inclusionProof: {
          checkpoint: checkpoint(),
          hashes: hashes(inclusionRanges(index, bodies.length)).map(hex),
          logIndex: index,
          rootHash: hex(rootAt(bodies.length)),
          treeSize: bodies.length,
        },
        signedEntryTimestamp: base64(promise(index)),
      },
    },
  })

  /** What the index of Rekor v1 finds: `sha512:…` → entries. */
  const indexed = new Map<string, number[]>()

  const answerV1 = (url: URL, body: string): unknown => {
    const number = (key: string) => Number(url.searchParams.get(key))
    const { pathname } = url
    if (pathname === '/api/v1/log')
      return {
        rootHash: hex(rootAt(bodies.length)),
        treeSize: bodies.length,
        signedTreeHead: checkpoint(),
        treeID: '77',
        inactiveShards: [],
      }
    if (pathname === '/api/v1/log/proof')
      return {
        rootHash: hex(rootAt(number('lastSize'))),
        hashes: hashes(consistencyRanges(number('firstSize'), number('lastSize'))).map(hex),
      }
    if (pathname === '/api/v1/log/entries' && number('logIndex') < bodies.length)
      return entryV1(number('logIndex'))
    if (pathname === '/api/v1/index/retrieve') {
      const { hash } = JSON.parse(body) as { hash: string }
      return (indexed.get(hash) ?? []).map(uuidOf)
    }
    const uuid = /^\/api\/v1\/log\/entries\/([0-9a-f]{64})$/.exec(pathname)?.[1]
    const index = bodies.findIndex((_, at) => uuidOf(at) === uuid)
    return index < 0 ? undefined : entryV1(index)
  }

  const answerV2 = ({ pathname }: URL): Buffer | string | undefined => {
    if (pathname === '/api/v2/checkpoint') return checkpoint()
    const tile = parseTilePath(pathname.slice('/api/v2/'.length))
    if (tile === undefined) return undefined
    const { level, index, width } = tile
    if (level === 'entries') {
      const found = bodies.slice(index * tileWidth, index * tileWidth + width)
      return found.length === width ? entryBundle(found) : undefined
    }
    const held = Buffer.from(tiles().get(`${level}/${index}`) ?? '')
    const cut = held.subarray(0, width * hashSize)
    return cut.length === width * hashSize ? cut : undefined
  }

  return {
    version,
    origin,
    keys,
    logId,
    bodies,
    add,
    checkpoint,
    noteOf,
    entry,
    trusted,
    indexed,
    indexedUuids: (hash: string) => (indexed.get(hash) ?? []).map(uuidOf),
    rootAt,
    answer: (url: URL, body: string): unknown =>
      version === 1 ? answerV1(url, body) : answerV2(url),
  }
}

/** The same log, by key and origin, with its first `size` entries and then others. */
export const forkOf = (
  { version, origin, keys, bodies }: OwnLog,
  size: number,
  more: readonly string[] = [],
): OwnLog => openOwnLog({ version, origin, keys, bodies: [...bodies.slice(0, size), ...more] })

export type LogServer = {
  readonly url: string
  readonly requests: string[]
  /** Which history is shown. */
  show(log: OwnLog): void
  /** Answers in place of the log, while it gives something. */
  fault: ((url: URL, response: ServerResponse) => boolean) | undefined
  close(): Promise<void>
}

export const serveLog = async (first: OwnLog): Promise<LogServer> => {
  let log = first
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://127.0.0.1')
      made.requests.push(`${url.pathname}${url.search}`)
      if (made.fault?.(url, response) === true) return
      let found: unknown
      try {
        found = log.answer(url, Buffer.concat(chunks).toString())
      } catch (error) {
        return void response.writeHead(400).end(JSON.stringify({ message: String(error) }))
      }
      if (found === undefined) response.writeHead(404).end('{"message":"not found"}')
      else if (typeof found === 'string' || Buffer.isBuffer(found)) response.end(found)
      else response.setHeader('content-type', 'application/json').end(JSON.stringify(found))
    })
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const made: LogServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    show: next => {
      log = next
    },
    fault: undefined,
    close: () =>
      new Promise(done => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
  return made
}
