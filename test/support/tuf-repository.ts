/**
 * A TUF repository on loopback with keys of its own, which can be rotated, aged, rolled back and
 * broken: what is served is a map of files, changed by publishing or by hand.
 */
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { Metadata, MetadataKind, Signature } from '@tufjs/models'
import { create } from 'tar'

type Key = {
  readonly id: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}
type Role = 'root' | 'timestamp' | 'snapshot' | 'targets'
const roles = ['root', 'timestamp', 'snapshot', 'targets'] as const

export type PublishOptions = {
  readonly targets?: Readonly<Record<string, string>>
  /** ISO 8601, by role; default in a year. */
  readonly expires?: Partial<Record<Role, string>>
  /** New keys for the roles named, with a new root that the old keys sign too. */
  readonly rotate?: readonly Role[]
  /** Leaves out one of the two signatures of the root before. */
  readonly underSigned?: boolean
  /** Do not count on; publish at these versions. */
  readonly versions?: Partial<Record<Exclude<Role, 'root'>, number>>
}

export type TufFaults = {
  /** Closes connections. */
  down: boolean
  /** Takes the request and never answers. */
  hang: boolean
  /** Sends a byte every so many milliseconds, for ever. */
  trickle: number | undefined
  status: number | undefined
  /** Answers these paths with so many bytes. */
  oversized: { readonly path: RegExp; readonly bytes: number } | undefined
}

export type TufRepository = {
  readonly mirror: string
  /** The first root metadata. */
  readonly root: string
  /** What is served, by path below the mirror. */
  readonly files: Map<string, Buffer>
  readonly faults: TufFaults
  readonly requests: string[]
  readonly publish: (options?: PublishOptions) => void
  /** Writes what is served as tar.gz, below the folder in it. */
  readonly archive: (file: string, folder?: string) => Promise<void>
  readonly close: () => Promise<void>
}

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')

const newKey = (): Key => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    id: sha256(publicKey.export({ format: 'der', type: 'spki' })),
    publicKey,
    privateKey,
  }
}

/** The root takes two of two signatures, the others one. */
const newKeys = (role: Role): readonly Key[] =>
  role === 'root' ? [newKey(), newKey()] : [newKey()]

const inAYear = () => new Date(Date.now() + 365 * 86_400_000).toISOString().replace(/\.\d+/, '')

const signed = (kind: MetadataKind, content: object, keys: readonly Key[]): Buffer => {
  const data = { signed: content, signatures: [] } as unknown as Parameters<
    typeof Metadata.fromJSON
  >[1]
  const metadata = Metadata.fromJSON(kind as MetadataKind.Root, data)
  for (const { id, privateKey } of keys)
    metadata.sign(
      bytes =>
        new Signature({ keyID: id, sig: sign('sha256', bytes, privateKey).toString('hex') }),
    )
  return Buffer.from(JSON.stringify(metadata.toJSON()))
}

export const openTufRepository = async (first: PublishOptions = {}): Promise<TufRepository> => {
  const files = new Map<string, Buffer>()
  const requests: string[] = []
  const faults: TufFaults = {
    down: false,
    hang: false,
    trickle: undefined,
    status: undefined,
    oversized: undefined,
  }
  const keys = Object.fromEntries(roles.map(role => [role, newKeys(role)])) as Record<
    Role,
    readonly Key[]
  >
  const versions: Record<Role, number> = { root: 0, timestamp: 0, snapshot: 0, targets: 0 }
  let contents: Readonly<Record<string, string>> = {}

  const common = (type: Role, expires: PublishOptions['expires']) => ({
    _type: type,
    spec_version: '1.0.31',
    version: versions[type],
    expires: expires?.[type] ?? inAYear(),
  })

  const publishRoot = (options: PublishOptions, signers: readonly Key[]) => {
    versions.root++
    const content = {
      ...common('root', options.expires),
      consistent_snapshot: true,
      keys: Object.fromEntries(
        Object.values(keys)
          .flat()
          .map(({ id, publicKey }) => [
            id,
            {
              keytype: 'ecdsa',
              scheme: 'ecdsa-sha2-nistp256',
              keyval: { public: publicKey.export({ format: 'pem', type: 'spki' }) },
            },
          ]),
      ),
      roles: Object.fromEntries(
        roles.map(role => [
          role,
          { keyids: keys[role].map(({ id }) => id), threshold: keys[role].length },
        ]),
      ),
    }
    files.set(`${versions.root}.root.json`, signed(MetadataKind.Root, content, signers))
  }

  const publish = (options: PublishOptions = {}) => {
    const { targets, expires, rotate = [], underSigned = false } = options
    if (versions.root === 0) publishRoot(options, keys.root)
    else if (rotate.length > 0 || expires?.root !== undefined) {
      const before = keys.root.slice(underSigned ? 1 : 0)
      for (const role of rotate) keys[role] = newKeys(role)
      publishRoot(options, [...new Set([...before, ...keys.root])])
    }
    contents = targets ?? contents
    for (const role of ['timestamp', 'snapshot', 'targets'] as const)
      versions[role] = options.versions?.[role] ?? versions[role] + 1
    const listed = Object.entries(contents).map(([path, text]) => {
      const bytes = Buffer.from(text)
      const digest = sha256(bytes)
      files.set(`targets/${join(dirname(path), `${digest}.${basename(path)}`)}`, bytes)
      return [path, { length: bytes.length, hashes: { sha256: digest } }] as const
    })
    const put = (name: string, kind: MetadataKind, role: Role, content: object) => {
      const bytes = signed(kind, { ...common(role, expires), ...content }, keys[role])
      files.set(name, bytes)
      return {
        version: versions[role],
        length: bytes.length,
        hashes: { sha256: sha256(bytes) },
      }
    }
    const targetsMeta = put(
      `${versions.targets}.targets.json`,
      MetadataKind.Targets,
      'targets',
      { targets: Object.fromEntries(listed) },
    )
    const snapshotMeta = put(
      `${versions.snapshot}.snapshot.json`,
      MetadataKind.Snapshot,
      'snapshot',
      { meta: { 'targets.json': targetsMeta } },
    )
    put('timestamp.json', MetadataKind.Timestamp, 'timestamp', {
      meta: { 'snapshot.json': snapshotMeta },
    })
  }
  publish(first)

  const timers = new Set<NodeJS.Timeout>()
  const trickle = (response: ServerResponse, every: number) => {
    response.writeHead(200)
    const timer = setInterval(() => response.write(' '), every)
    timers.add(timer)
    response.on('close', () => clearInterval(timer))
  }
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '/').slice(1))
    requests.push(path)
    if (faults.down) return void request.socket.destroy()
    if (faults.hang) return
    if (faults.trickle !== undefined) return trickle(response, faults.trickle)
    if (faults.status !== undefined) return void response.writeHead(faults.status).end()
    if (faults.oversized?.path.test(path))
      return void response.end(Buffer.alloc(faults.oversized.bytes, ' '))
    const bytes = files.get(path)
    if (bytes === undefined) return void response.writeHead(404).end('nothing here')
    response.end(bytes)
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo

  return {
    mirror: `http://127.0.0.1:${port}/`,
    root: files.get('1.root.json')?.toString() ?? '',
    files,
    faults,
    requests,
    publish,
    archive: async (file, folder = '.') => {
      const at = mkdtempSync(join(tmpdir(), 'attestry-tuf-'))
      try {
        for (const [name, bytes] of files) {
          const path = join(at, folder, name)
          mkdirSync(dirname(path), { recursive: true })
          writeFileSync(path, bytes)
        }
        await create({ file, cwd: at, gzip: true }, ['.'])
      } finally {
        rmSync(at, { recursive: true, force: true })
      }
    },
    close: async () => {
      for (const timer of timers) clearInterval(timer)
      server.closeAllConnections()
      await new Promise<void>(done => {
        server.close(() => done())
      })
    },
  }
}
