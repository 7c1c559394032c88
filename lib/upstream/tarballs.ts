/** Tarballs: a bounded stream of the bytes the integrity speaks of. */
import { encodingOf, tarballStream, unwrapTarball } from './body.ts'
import { faultOf } from './faults.ts'
import {
  announcedSize,
  dropReply,
  tooLargeError,
  withoutContent,
  type Reading,
} from './reply.ts'
import type { Attempt, Deadline } from './retry.ts'
import type { Reply } from './transport.ts'
import type { TarballAnswer } from './upstream.ts'

/** The deadline is cleared when the stream closes. */
export const takeTarball = async (
  reply: Reply,
  reading: Reading,
  deadline: Deadline,
): Promise<Attempt<TarballAnswer>> => {
  const settled = await withoutContent(reply, reading, false)
  if (settled) return settled as Attempt<TarballAnswer>
  const { url, headers } = reply
  const encoding = encodingOf(headers['content-encoding'])
  if (encoding !== 'identity' && encoding !== 'gzip' && encoding !== 'x-gzip')
    return dropReply(
      reply,
      reading,
      'EUPSTREAMDATA',
      'the tarball came in an encoding nobody asked for',
    )
  const length = announcedSize(reply, reading)
  const { body, wrapped } =
    encoding === 'identity'
      ? { body: reply.body, wrapped: false }
      : await unwrapTarball(reply.body)
  const size = wrapped ? undefined : length
  const stream = tarballStream(body, {
    ...(size !== undefined && { size }),
    limit: reading.limits.tarball,
    tooLarge: () => tooLargeError(reading, url),
    failed: error => {
      const asked = { upstream: reading.upstream, url }
      return faultOf(error, asked, { begun: true, late: deadline.passed() }).error
    },
    closed: () => deadline.clear(),
  })
  return { value: { kind: 'found', body: stream, ...(size !== undefined && { size }) } }
}
