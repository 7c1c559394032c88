/**
 * The services of a local sigstore, run as a child process by local-sigstore.ts: Fulcio, Rekor v1
 * and v2, a timestamp authority and TUF mirrors under their usual paths, and under /lab/ the same
 * with a chosen clock. A process of its own, because both mocks import nock, which rewires
 * node:http on import. It ends when its parent goes (the IPC channel closes).
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash, verify } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { ASN1Obj } from '@sigstore/core'
import {
  issueLeaf,
  issueTimestamper,
  openAuthority,
  p256,
  validity,
  type CtLog,
  type Issuer,
} from './authority.ts'
import { canonicalProposal, canonicalRequestV2, pem, type RequestV2 } from './log-entry.ts'
import { certificateFromToken, type CertificateRequest } from './publisher.ts'

type Answer = { readonly status: number; readonly type: string; readonly body: string | Buffer }
type Handler = (body: string, bytes: Buffer) => Answer | Promise<Answer>
type Log = { publicKey: Buffer; log(entry: object): Promise<Record<string, LogEntry>> }
type LogEntry = {
  readonly body: string
  readonly integratedTime: number
  readonly logID: string
  readonly logIndex: number
  readonly verification: {
    readonly signedEntryTimestamp: string
    readonly inclusionProof: { readonly rootHash: string; readonly checkpoint: string }
  }
}

const require = createRequire(import.meta.url)
const mockPath = require.resolve('@sigstore/mock')
const mock = require('@sigstore/mock') as typeof import('@sigstore/mock')
const tufPath = require.resolve('@tufjs/repo-mock')
const tufMock = require('@tufjs/repo-mock') as typeof import('@tufjs/repo-mock')
for (const path of [mockPath, tufPath]) {
  ;(createRequire(path)('nock') as { restore(): void }).restore()
}
const pkijs = createRequire(mockPath)('pkijs') as {
  Certificate: { fromBER(der: Uint8Array): unknown }
}

// every service asks this clock; a request of /lab/ sets it for itself. Whole seconds: asn1js trims
// the zeros of a fraction and @sigstore/core reads none or three digits, so one stamp in ten would fail
const clock = new AsyncLocalStorage<Date>()
const now = () => {
  const time = clock.getStore() ?? new Date()
  return new Date(Math.floor(time.getTime() / 1000) * 1000)
}
const onOurClock = <T extends object>(service: T, changes: object = {}): T =>
  Object.assign(service, { getCurrentTime: now }, changes)

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest()
const json = (status: number, value: unknown): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify(value),
})

/** protobuf JSON of a log entry; v2 has no promise and no time, and its proof is for a tree of one. */
const transparencyEntry = (entry: LogEntry, version: 1 | 2) => {
  const { kind, apiVersion } = JSON.parse(Buffer.from(entry.body, 'base64').toString()) as {
    kind: string
    apiVersion: string
  }
  const { inclusionProof, signedEntryTimestamp } = entry.verification
  return {
    logIndex: version === 1 ? String(entry.logIndex) : '0',
    logId: { keyId: Buffer.from(entry.logID, 'hex').toString('base64') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: version === 1 ? String(entry.integratedTime) : '0',
    ...(version === 1 ? { inclusionPromise: { signedEntryTimestamp } } : {}),
    inclusionProof: {
      logIndex: '0',
      rootHash: Buffer.from(inclusionProof.rootHash, 'hex').toString('base64'),
      treeSize: '1',
      hashes: [],
      checkpoint: { envelope: inclusionProof.checkpoint },
    },
    canonicalizedBody: entry.body,
  }
}

const logged = async (log: Log, body: object) => {
  const [entry] = Object.values(await log.log(body))
  if (entry === undefined) throw new Error('the log made no entry')
  return entry
}

type Services = {
  readonly fulcio: Issuer
  readonly tsaChain: readonly Buffer[]
  readonly ct: CtLog & { publicKey: Buffer }
  readonly rekor: Log
  readonly rekor2: Log
  readonly stamp: (body: string) => Promise<Buffer>
}

const openServices = async (url: string): Promise<Services> => {
  const [fulcio, tsaIssuer] = await Promise.all([openAuthority('fulcio'), openAuthority('tsa')])
  const tsaKeys = p256()
  const tsaLeaf = await issueTimestamper(tsaIssuer, tsaKeys.publicKey)
  const tsa = onOurClock(await mock.initializeTSA(tsaKeys), {
    intCert: pkijs.Certificate.fromBER(tsaLeaf),
  })
  const { fn } = mock.tsaHandler(tsa)
  return {
    fulcio,
    tsaChain: [tsaLeaf, ...tsaIssuer.chain],
    ct: onOurClock(await mock.initializeCTLog(p256())) as unknown as Services['ct'],
    rekor: onOurClock(await mock.initializeTLog(url, p256())) as unknown as Log,
    rekor2: onOurClock(await mock.initializeTLog(url, p256())) as unknown as Log,
    stamp: async body => (await fn(body)).response as Buffer,
  }
}

/** The trusted_root.json document for these services. */
const trustedRootOf = (url: string, s: Services) => {
  const validFor = { start: validity.notBefore.toISOString() }
  const log = (publicKey: Buffer, baseUrl: string) => ({
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: publicKey.toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor,
    },
    logId: { keyId: sha256(publicKey).toString('base64') },
  })
  const authority = (chain: readonly Buffer[], commonName: string) => ({
    subject: { organization: 'local sigstore', commonName },
    uri: url,
    certChain: { certificates: chain.map(der => ({ rawBytes: der.toString('base64') })) },
    validFor,
  })
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [log(s.rekor.publicKey, url), log(s.rekor2.publicKey, `${url}/v2`)],
    certificateAuthorities: [authority(s.fulcio.chain, 'fulcio')],
    ctlogs: [log(s.ct.publicKey, url)],
    timestampAuthorities: [authority(s.tsaChain, 'tsa')],
  }
}

const spkiOf = (text: string) =>
  Buffer.from(text.replace(/-----[^-]+-----/g, '').replace(/\s/g, ''), 'base64')

const fulcioAnswer = (s: Services, leaf: Buffer) =>
  json(201, {
    signedCertificateEmbeddedSct: {
      chain: {
        certificates: [leaf, ...s.fulcio.chain].map(der => pem({ kind: 'certificate', der })),
      },
    },
  })

const publicHandlers = (s: Services): Record<string, Handler> => ({
  '/api/v2/signingCert': async body => {
    const { credentials, publicKeyRequest } = JSON.parse(body) as {
      credentials: { oidcIdentityToken: string }
      publicKeyRequest: { publicKey: { content: string }; proofOfPossession: string }
    }
    const part = credentials.oidcIdentityToken.split('.')[1] ?? ''
    const claims = JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<
      string,
      string
    >
    const publicKey = spkiOf(publicKeyRequest.publicKey.content)
    const proof = Buffer.from(publicKeyRequest.proofOfPossession, 'base64')
    const proven = Buffer.from(claims.email ?? claims.sub ?? '')
    if (!verify('sha256', proven, publicKeyRequest.publicKey.content, proof))
      throw new Error('the proof of possession does not fit the key and the subject')
    const request = { ...certificateFromToken(claims), publicKey }
    return fulcioAnswer(s, await issueLeaf(s.fulcio, request, now(), s.ct))
  },
  '/api/v1/log/entries': async body => {
    const proposal = JSON.parse(body) as Parameters<typeof canonicalProposal>[0]
    return json(201, await s.rekor.log(canonicalProposal(proposal)))
  },
  '/api/v2/log/entries': async body => {
    const entry = await logged(s.rekor2, canonicalRequestV2(JSON.parse(body) as RequestV2))
    return json(201, transparencyEntry(entry, 2))
  },
  '/api/v1/timestamp': async (body, bytes) => ({
    status: 201,
    type: 'application/timestamp-reply',
    body: await s.stamp(bytes[0] === 0x30 ? stampRequest(bytes) : body),
  }),
})

/** A TimeStampReq (RFC 3161, 2.4.1) as the JSON that the mock takes. */
const stampRequest = (der: Buffer): string => {
  const [, imprint] = ASN1Obj.parseBuffer(Buffer.from(der)).subs
  const hash = imprint?.subs[1]?.value ?? Buffer.alloc(0)
  return JSON.stringify({
    artifactHash: hash.toString('base64'),
    hashAlgorithm: 'sha256',
    certificates: true,
  })
}

export type LabCertificate = CertificateRequest & {
  readonly spki: string
  readonly sct: boolean
}
export type LabEntry = { readonly version: 1 | 2; readonly body: object }
export type LabTimestamp = { readonly artifactHash: string }

const labHandlers = (s: Services): Record<string, Handler> => ({
  '/lab/certificate': async body => {
    const { spki, sct, ...request } = JSON.parse(body) as LabCertificate
    const publicKey = Buffer.from(spki, 'base64')
    const leaf = await issueLeaf(
      s.fulcio,
      { ...request, publicKey },
      now(),
      sct ? s.ct : undefined,
    )
    return json(200, { chain: [leaf, ...s.fulcio.chain].map(der => der.toString('base64')) })
  },
  '/lab/entry': async body => {
    const { version, body: entry } = JSON.parse(body) as LabEntry
    const log = version === 1 ? s.rekor : s.rekor2
    return json(200, transparencyEntry(await logged(log, entry), version))
  },
  '/lab/timestamp': async body => {
    const { artifactHash } = JSON.parse(body) as LabTimestamp
    const request = { artifactHash, hashAlgorithm: 'sha256', certificates: true }
    return json(200, { stamp: (await s.stamp(JSON.stringify(request))).toString('base64') })
  },
})

const mountTuf = (gets: Map<string, Handler>, url: string, trustedRoot: object) => {
  let mounted = 0
  return (body: string): Answer => {
    const targets = JSON.parse(body) as Record<string, string>
    const path = `/tuf/${++mounted}`
    const repo = tufMock.initializeTUFRepo(
      Object.entries({ 'trusted_root.json': JSON.stringify(trustedRoot), ...targets }).map(
        ([name, content]) => ({ name, content: Buffer.from(content) }),
      ),
    )
    const options = { metadataPathPrefix: path, targetPathPrefix: `${path}/targets` }
    for (const handler of tufMock.tufHandlers(repo, options)) {
      gets.set(handler.path, () => {
        const { statusCode, response, contentType } = handler.fn()
        return { status: statusCode, type: contentType ?? 'text/plain', body: response }
      })
    }
    return json(200, { mirror: url + path, root: repo.rootMeta.toJSON() })
  }
}

const read = async (request: IncomingMessage) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

if (process.send === undefined) {
  throw new Error(
    'started by local-sigstore.ts only: it ends when the channel to its parent does',
  )
}

const server = createServer()
// a machine that is busy with other tests may leave a connection unused for longer than the usual five seconds
server.keepAliveTimeout = 120_000
await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const services = await openServices(url)
const trustedRoot = trustedRootOf(url, services)
const gets = new Map<string, Handler>()
const posts = new Map(
  Object.entries({
    ...publicHandlers(services),
    ...labHandlers(services),
    '/lab/tuf': mountTuf(gets, url, trustedRoot),
  }),
)

server.on('request', (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', url)
  const answer = async (): Promise<Answer> => {
    const bytes = await read(request)
    const body = bytes.toString()
    const handler = (request.method === 'POST' ? posts : gets).get(decodeURIComponent(pathname))
    if (handler === undefined) return json(404, { error: `nothing at ${pathname}` })
    const at = searchParams.get('at')
    return at === null
      ? handler(body, bytes)
      : clock.run(new Date(at), () => handler(body, bytes))
  }
  void answer()
    .catch((error: unknown) => json(400, { error: String(error) }))
    .then(({ status, type, body }) =>
      response.writeHead(status, { 'content-type': type }).end(body),
    )
})

process.on('disconnect', () => process.exit(0))
process.send({ url, trustedRoot })
