/** Packuments, attestations and keys: JSON objects, whole and decompressed. */
import { encodingOf, isDecodingError, readWhole } from './body.ts'
import { upstreamError } from './faults.ts'
import {
  announcedSize,
  dropReply,
  tooLargeError,
  withoutContent,
  type NoContent,
  type Reading,
} from './reply.ts'
import type { Attempt } from './retry.ts'
import type { Reply } from './transport.ts'
import type { Validators } from './upstream.ts'

export type Document = {
  readonly kind: 'found'
  readonly body: Buffer
  /** The same as it came, where it came like that. */
  readonly gzip?: Buffer
} & Validators

/** The first byte that is not white space says whether it can be a JSON object at all. */
const startsObject = (body: Buffer): boolean => {
  let i = 0
  while (i < body.length && [0x20, 0x09, 0x0a, 0x0d].includes(body[i] ?? 0)) i++
  return body[i] === 0x7b
}

export const takeDocument = async (
  reply: Reply,
  reading: Reading,
  conditional: boolean,
): Promise<Attempt<Document | NoContent>> => {
  const settled = await withoutContent(reply, reading, conditional)
  if (settled) return settled
  const { headers, url, body } = reply
  if (/^\s*text\/html\b/i.test(headers['content-type'] ?? ''))
    return dropReply(reply, reading, 'EUPSTREAMDATA', 'answered with a web page')
  const encoding = encodingOf(headers['content-encoding'])
  if (!encoding)
    return dropReply(
      reply,
      reading,
      'EUPSTREAMDATA',
      'answered in an encoding nobody asked for',
    )
  announcedSize(reply, reading)
  const { bytes: document, gzip } = await readWhole(body, {
    encoding,
    limit: reading.limits[reading.request],
    tooLarge: () => tooLargeError(reading, url),
  }).catch((error: unknown) => {
    if (!isDecodingError(error)) throw error
    const asked = { upstream: reading.upstream, url }
    throw upstreamError('EUPSTREAMDATA', asked, `the answer is not ${encoding}`)
  })
  if (!startsObject(document))
    return dropReply(reply, reading, 'EUPSTREAMDATA', 'the answer is not a JSON object')
  const { etag, 'last-modified': lastModified } = headers
  return {
    value: {
      kind: 'found',
      body: document,
      ...(gzip !== undefined && { gzip }),
      ...(etag !== undefined && { etag }),
      ...(lastModified !== undefined && { lastModified }),
    },
  }
}
