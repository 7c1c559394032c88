/** One small JSON document over HTTP: a time and a size limit, no redirects, no credentials. */
import { AttestryError, isAttestryError, messageOf } from '../errors.ts'

export type FetchLimits = {
  /** Milliseconds, altogether. */
  readonly timeout: number
  /** Bytes. */
  readonly size: number
  readonly userAgent: string
}

export const fetchDocumentWith =
  ({ timeout, size, userAgent }: FetchLimits) =>
  async (url: string): Promise<unknown> => {
    const fail = (why: string, cause?: unknown) =>
      new AttestryError('EISSUER', `${url}: ${why}`, { cause })
    try {
      const { request } = await import('undici')
      const { statusCode, body } = await request(url, {
        headers: { accept: 'application/json', 'user-agent': userAgent },
        signal: AbortSignal.timeout(timeout),
      })
      if (statusCode !== 200) {
        await body.dump()
        throw fail(`it answered ${statusCode}`)
      }
      const chunks: Buffer[] = []
      let total = 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        total += chunk.length
        if (total > size) throw fail(`it has more than ${size} bytes`)
        chunks.push(chunk)
      }
      return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
    } catch (error) {
      throw isAttestryError(error) ? error : fail(messageOf(error), error)
    }
  }
