/**
 * The few calls of S3 that blobs need, signed (AWS Signature Version 4), with a clock on every one.
 * Whatever speaks S3 and keeps `If-None-Match: *` will do.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { Readable } from 'node:stream'
import { AwsV4Signer } from 'aws4fetch'
import { AttestryError, isAttestryError, messageOf } from '../../errors.ts'
import type { Lifetime } from '../store-error.ts'
import { assertOpen } from '../store-error.ts'
import type { StoreLog } from '../store-event.ts'
import { openCircuit, type StoreCall } from './circuit.ts'
import { networkCodes } from './network-codes.ts'

export type S3Options = {
  /** The bucket's address: `https://host/bucket` or `https://bucket.host`, and a path below it. */
  readonly url: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** Milliseconds without an answer, or between two parts of one. */
  readonly timeout: number
  /** Milliseconds of an outage that calls wait out. */
  readonly patience: number
  readonly ca?: string | undefined
}

export type S3Tools = {
  readonly lifetime: Lifetime
  readonly log: StoreLog
  readonly onCall?: ((call: StoreCall) => void) | undefined
}

export type S3 = {
  /**
   * Writes the object unless there is one: false when there was. `body` gives the bytes anew each
   * time it is called.
   */
  put(key: string, size: number, body: () => Readable): Promise<boolean>
  /** `take` reads the body of about `size` bytes whole; `undefined` when there is no such object. */
  get<T>(
    key: string,
    size: number,
    take: (body: Readable) => Promise<T>,
  ): Promise<T | undefined>
  /** The size, `undefined` when there is no such object. */
  head(key: string): Promise<number | undefined>
  delete(key: string): Promise<void>
  /** Writes over what is there; for a look whether anything can be written. */
  overwrite(key: string, body: Buffer): Promise<void>
  close(): void
}

/** It answered that it cannot, for now: S3's own "slow down" is 503. */
class Unavailable extends Error {}

/** It answered that it does not: no right, no quota, no room. */
class Refused extends Error {
  readonly details: { readonly status: number; readonly code: string }
  constructor(message: string, details: Refused['details']) {
    super(message)
    this.details = details
  }
}

class Late extends Error {
  readonly code = 'ETIMEDOUT'
}

/** Bytes that are to come in the time in which something is to be said, however slowly they drip. */
const pace = 1024 * 1024

const systemCodes: ReadonlySet<string> = new Set(networkCodes)

/** It answers, and does not take it. */
export const isS3Refusal = (error: unknown): boolean =>
  isAttestryError(error) && error.cause instanceof Refused

export const isS3Down = (error: unknown): boolean =>
  error instanceof Unavailable ||
  (error instanceof Error && 'code' in error && systemCodes.has(String(error.code)))

/** Bytes of an error's XML that are read. */
const errorMax = 16 * 1024

const readSome = async (answer: IncomingMessage): Promise<string> => {
  let text = ''
  for await (const chunk of answer) {
    text += String(chunk)
    if (text.length > errorMax) {
      answer.destroy()
      break
    }
  }
  return text
}

type Sent = {
  readonly method: string
  readonly key: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: { readonly size: number; readonly open: () => Readable }
  /** Bytes that the answer may have, for its time; default few. */
  readonly expected?: number
}

export const openS3 = (options: S3Options, tools: S3Tools): S3 => {
  const base = options.url.replace(/\/+$/, '')
  const secure = base.startsWith('https:')
  const agent = secure
    ? new HttpsAgent({ keepAlive: true, maxSockets: 64, ...(options.ca && { ca: options.ca }) })
    : new HttpAgent({ keepAlive: true, maxSockets: 64 })
  const { timeout } = options
  const circuit = openCircuit({
    part: 's3',
    name: 'the object store',
    isDown: isS3Down,
    isSilent: error => error instanceof Late,
    patience: options.patience,
    onCall: tools.onCall,
    onDown: detail => tools.log({ event: 'unreachable', part: 's3', detail }),
    onUp: milliseconds => tools.log({ event: 'reachable', part: 's3', milliseconds }),
  })

  /** Resolves with the head of the answer; its body is the caller's to read. */
  const send = async (what: Sent): Promise<IncomingMessage> => {
    const { method, key, headers = {}, body, expected = 0 } = what
    const { accessKeyId, secretAccessKey, sessionToken, region } = options
    const signed = await new AwsV4Signer({
      method,
      url: `${base}/${key}`,
      headers: { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      accessKeyId,
      secretAccessKey,
      ...(sessionToken !== undefined && { sessionToken }),
      service: 's3',
      region,
    }).sign()
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const source = body?.open()
      let answered: IncomingMessage | undefined
      const end = (error: Late) => (answered ?? sent).destroy(error)
      const late = () => end(new Late(`no answer in ${timeout} ms`))
      // from now on, the wait for a connection and all
      const most = Math.ceil(timeout * (1 + ((body?.size ?? 0) + expected) / pace))
      const timer = setTimeout(() => end(new Late(`not done in ${most} ms`)), most)
      const sent = (secure ? httpsRequest : httpRequest)(
        signed.url,
        {
          agent,
          method,
          timeout,
          headers: {
            ...Object.fromEntries(signed.headers),
            ...(method === 'PUT' && { 'content-length': String(body?.size ?? 0) }),
          },
        },
        answer => {
          answered = answer
          answer.setTimeout(timeout, late)
          answer.once('close', () => clearTimeout(timer))
          // of an answer that nobody reads
          answer.on('error', () => undefined)
          resolve(answer)
        },
      )
      sent.setTimeout(timeout, late)
      sent.on('error', error => {
        clearTimeout(timer)
        source?.destroy()
        reject(error)
      })
      if (source === undefined) sent.end()
      else {
        source.on('error', error => sent.destroy(error))
        source.pipe(sent)
      }
    })
  }

  /** The answer where it is one of `wanted`, else what it says as an error. */
  const expect = async (sent: Sent, wanted: readonly number[]): Promise<IncomingMessage> => {
    const answer = await send(sent)
    const status = answer.statusCode ?? 0
    if (wanted.includes(status)) return answer
    const text = await readSome(answer)
    const said = /<Code>([^<]{1,80})/.exec(text)?.[1] ?? ''
    const message = `${sent.method} was answered with ${status} ${said}`.trim()
    // 409: somebody else is writing it at this moment; 507: no room, and what is there can be read
    if ((status >= 500 && status !== 507) || status === 429 || status === 409)
      throw new Unavailable(message)
    throw new Refused(message, { status, code: said })
  }

  const run = async <T>(doing: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await circuit.run(doing, () => {
        assertOpen(tools.lifetime)
        return call()
      })
    } catch (error) {
      if (isAttestryError(error)) throw error
      if (error instanceof Refused)
        throw new AttestryError(
          'ESTORE',
          `The object store does not ${doing}: ${error.message}.`,
          {
            cause: error,
            details: error.details,
          },
        )
      throw new AttestryError(
        'ESTORE',
        `Cannot ${doing} in the object store: ${messageOf(error)}.`,
        { cause: error },
      )
    }
  }

  return {
    put: (key, size, open) =>
      run('write a blob', async () => {
        const headers = { 'if-none-match': '*', 'content-type': 'application/octet-stream' }
        const sent = { method: 'PUT', key, headers, body: { size, open } }
        const answer = await expect(sent, [200, 201, 412])
        answer.resume()
        return answer.statusCode !== 412
      }),
    get: (key, size, take) =>
      run('read a blob', async () => {
        const answer = await expect({ method: 'GET', key, expected: size }, [200, 404])
        if (answer.statusCode === 404) {
          answer.resume()
          return undefined
        }
        return await take(answer)
      }),
    head: key =>
      run('look for a blob', async () => {
        const answer = await expect({ method: 'HEAD', key }, [200, 404])
        answer.resume()
        return answer.statusCode === 404 ? undefined : Number(answer.headers['content-length'])
      }),
    delete: key =>
      run('remove a blob', async () => {
        const answer = await expect({ method: 'DELETE', key }, [200, 204, 404])
        answer.resume()
      }),
    overwrite: (key, bytes) => {
      const body = { size: bytes.length, open: () => Readable.from([bytes]) }
      return run('write to the bucket', async () => {
        const answer = await expect({ method: 'PUT', key, body }, [200, 201])
        answer.resume()
      })
    },
    close: () => agent.destroy(),
  }
}
