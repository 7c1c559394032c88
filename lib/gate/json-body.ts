/** JSON answers of an upstream that was passed a request, whole. */
import { AttestryError } from '../errors.ts'
import { encodingOf, isDecodingError, readBody } from '../upstream/body.ts'
import type { ForwardAnswer } from '../upstream/upstream.ts'

/**
 * Throws EUPSTREAMDATA when it is not JSON, EUPSTREAMSIZE when it is larger than `limit` bytes, also
 * unpacked.
 */
export const jsonBody = async (
  { headers, body }: ForwardAnswer,
  {
    upstream,
    limit,
    key,
  }: { readonly upstream: string; readonly limit: number; readonly key: string },
): Promise<unknown> => {
  const bad = (what: string, cause?: unknown) =>
    new AttestryError('EUPSTREAMDATA', `upstream ${upstream}: ${what}`, { cause })
  const encoding = encodingOf(headers['content-encoding'])
  if (!encoding) {
    body.destroy()
    throw bad('answered in an encoding nobody asked for')
  }
  const text = await readBody(body, {
    encoding,
    limit,
    tooLarge: () =>
      new AttestryError(
        'EUPSTREAMSIZE',
        `upstream ${upstream}: more than ${limit} bytes; the limit is ${key}`,
        { details: { limit, key } },
      ),
  }).catch((error: unknown) => {
    throw isDecodingError(error) ? bad(`the answer is not ${encoding}`, error) : error
  })
  try {
    return JSON.parse(text.toString('utf8'))
  } catch (error) {
    throw bad('the answer is not JSON', error)
  }
}
