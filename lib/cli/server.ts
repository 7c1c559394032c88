/** Asks a running Attestry: one request, one JSON answer, with a time and a size limit. */
import { AttestryError, errorTable, messageOf, type ErrorCode } from '../errors.ts'

/** Milliseconds; a server that has to ask its upstream and verify takes a while. */
const PATIENCE = 60_000
/** Bytes; a package with thousands of versions has a long timeline. */
const LARGEST = 64 * 1024 * 1024

export const notAttestry = (from: string) =>
  new AttestryError('ESERVER', `${from} is no Attestry, or another version of it.`)

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const textOf = async (response: Response, from: string): Promise<string> => {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > LARGEST)
      throw new AttestryError('ESERVER', `${from} sent more than ${LARGEST} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorTable, code)

export type ServerRequest = {
  /** Behind the server's address. */
  readonly path: string
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/**
 * `server`: the address clients use. Gives what is answered with a status below 300. Throws ESERVER
 * when nobody answers there or what answers is not Attestry, and the server's own error else.
 */
export const askServer = async (
  server: string,
  { path, method = 'GET', headers, body: sent }: ServerRequest,
): Promise<unknown> => {
  let url: URL
  try {
    url = new URL(path, server.replace(/\/*$/, '/'))
  } catch {
    throw new AttestryError('EUSAGE', `--server: ${JSON.stringify(server)} is not a URL.`)
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new AttestryError('EUSAGE', `--server: wanted an http or https URL, found ${server}`)
  const from = url.origin
  let status: number
  let body: unknown
  try {
    const response = await fetch(url, {
      method,
      headers: { accept: 'application/json', ...headers },
      ...(sent !== undefined && { body: sent }),
      redirect: 'error',
      signal: AbortSignal.timeout(PATIENCE),
    })
    status = response.status
    body = JSON.parse(await textOf(response, from))
  } catch (error) {
    if (error instanceof AttestryError) throw error
    if (error instanceof SyntaxError)
      throw new AttestryError('ESERVER', `${from} is no Attestry: its answer is not JSON.`)
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    throw new AttestryError('ESERVER', `${from} does not answer: ${messageOf(cause)}`, {
      cause: error,
    })
  }
  if (status >= 200 && status < 300) return body
  const { code, message } = isRecord(body) ? body : {}
  if (isErrorCode(code) && typeof message === 'string')
    // the server says what to do as well, and so does whoever prints this error
    throw new AttestryError(
      code,
      `${from} says: ${message.replace(errorTable[code].todo, '').trim()}`,
    )
  throw notAttestry(from)
}
