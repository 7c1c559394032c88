/** Entries in a transparency log: Rekor v1 (dsse, hashedrekord) and v2, for certificates and keys. */
import type { TransparencyLogEntry } from '@sigstore/bundle'
import { TransparencyLogEntry as Entry } from '@sigstore/protobuf-specs'
import { z } from 'zod'
import { AttestryError } from '../errors.ts'
import {
  askService,
  readAnswer,
  serviceAddress,
  type ServiceAnswer,
  type ServiceLimits,
} from './service.ts'

export type Log = { readonly url: string; readonly version: 1 | 2 }

/** What was signed, and what its signature is checked with. */
export type Signed = {
  readonly content:
    /** The envelope as JSON. */
    | { readonly kind: 'dsse'; readonly envelope: object }
    | {
        readonly kind: 'message'
        /** SHA-256. */
        readonly digest: Buffer
        readonly signature: Buffer
      }
  readonly verifier: {
    readonly kind: 'certificate' | 'key'
    readonly der: Buffer
    readonly pem: string
  }
}

const service = 'Rekor'
const base64 = (data: Uint8Array | string) => Buffer.from(data).toString('base64')

const proposalV1 = ({ content, verifier }: Signed): object =>
  content.kind === 'dsse'
    ? {
        apiVersion: '0.0.1',
        kind: 'dsse',
        spec: {
          proposedContent: {
            envelope: JSON.stringify(content.envelope),
            verifiers: [base64(verifier.pem)],
          },
        },
      }
    : {
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: { hash: { algorithm: 'sha256', value: content.digest.toString('hex') } },
          signature: {
            content: base64(content.signature),
            publicKey: { content: base64(verifier.pem) },
          },
        },
      }

const proposalV2 = ({ content, verifier: { kind, der } }: Signed): object => {
  const rawBytes = base64(der)
  const verifier = {
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    ...(kind === 'certificate'
      ? { x509Certificate: { rawBytes } }
      : { publicKey: { rawBytes } }),
  }
  return content.kind === 'dsse'
    ? { dsseRequestV002: { envelope: content.envelope, verifiers: [verifier] } }
    : {
        hashedRekordRequestV002: {
          digest: base64(content.digest),
          signature: { content: base64(content.signature), verifier },
        },
      }
}

const hex = z.string().regex(/^([0-9a-f]{2})*$/)
const answerV1 = z.record(
  z.string(),
  z.object({
    body: z.base64(),
    integratedTime: z.int(),
    logID: hex,
    logIndex: z.int(),
    verification: z.object({
      signedEntryTimestamp: z.base64().optional(),
      inclusionProof: z
        .object({
          logIndex: z.int(),
          treeSize: z.int(),
          rootHash: hex,
          hashes: z.array(hex),
          checkpoint: z.string(),
        })
        .optional(),
    }),
  }),
)

const readV1 = (json: unknown): TransparencyLogEntry => {
  const [entry, ...more] = Object.values(answerV1.parse(json))
  if (entry === undefined || more.length > 0) throw new Error('wanted one entry')
  const { signedEntryTimestamp: promise, inclusionProof: proof } = entry.verification
  const { kind, apiVersion } = z
    .object({ kind: z.string(), apiVersion: z.string() })
    .parse(JSON.parse(Buffer.from(entry.body, 'base64').toString('utf8')))
  return {
    logIndex: String(entry.logIndex),
    logId: { keyId: Buffer.from(entry.logID, 'hex') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: String(entry.integratedTime),
    inclusionPromise:
      promise === undefined
        ? undefined
        : { signedEntryTimestamp: Buffer.from(promise, 'base64') },
    inclusionProof: proof && {
      logIndex: String(proof.logIndex),
      treeSize: String(proof.treeSize),
      rootHash: Buffer.from(proof.rootHash, 'hex'),
      hashes: proof.hashes.map(hash => Buffer.from(hash, 'hex')),
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: Buffer.from(entry.body, 'base64'),
  }
}

const readV2 = (json: unknown): TransparencyLogEntry => {
  const { logId, kindVersion, ...entry } = Entry.fromJSON(json)
  if (logId === undefined || kindVersion === undefined)
    throw new Error('the entry names no log or no kind')
  return { ...entry, logId, kindVersion }
}

/** v1 answers 409 where the same was logged before, with the entry's address: that entry is taken. */
const known = async (
  url: string,
  { location }: ServiceAnswer,
  limits: ServiceLimits,
): Promise<ServiceAnswer> => {
  const uuid = /\/([0-9a-f]{64,80})$/.exec(location ?? '')?.[1]
  if (uuid === undefined)
    throw new AttestryError(
      'ESIGNSERVICE',
      `${service}: it has the entry and does not say where`,
    )
  return askService({ service, url: `${url}/${uuid}`, method: 'GET' }, limits)
}

/** Throws ESIGNSERVICE. What is answered is verified with the whole bundle, not here. */
export const logEntry = async (
  log: Log,
  signed: Signed,
  limits: ServiceLimits,
): Promise<TransparencyLogEntry> => {
  const [path, proposal, read] =
    log.version === 1
      ? (['/api/v1/log/entries', proposalV1, readV1] as const)
      : (['/api/v2/log/entries', proposalV2, readV2] as const)
  const url = serviceAddress(service, log.url, path)
  const answer = await askService(
    {
      service,
      url,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(proposal(signed)),
    },
    limits,
    [200, 201, 409],
  )
  const entry = answer.status === 409 ? await known(url, answer, limits) : answer
  return readAnswer(service, entry, read)
}
