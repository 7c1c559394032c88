/** Asks a running Attestry for an explanation. */
import type { Why } from '../../gate/assessments.ts'
import type { Timeline } from '../../gate/timeline.ts'
import { AttestryError, errorTable, messageOf, type ErrorCode } from '../../errors.ts'
import type { PackageId } from '../../types.ts'

export type Explained = Why & { readonly timeline?: Timeline }

/** Milliseconds; a server that has to ask its upstream and verify takes a while. */
const PATIENCE = 60_000
/** Bytes; a package with thousands of versions has a long timeline. */
const LARGEST = 64 * 1024 * 1024

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
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

/** As far as the report reads it without asking. */
const isExplained = (value: unknown): value is Explained =>
  isRecord(value) &&
  ['allow', 'refuse', 'unavailable'].includes(String(value['decision'])) &&
  isRecord(value['package']) &&
  isRecord(value['evidence']) &&
  ['reasons', 'layers', 'notes', 'addTo'].every(key => Array.isArray(value[key])) &&
  ['advice', 'lines', 'upstream'].every(key => typeof value[key] === 'string')

/**
 * `server`: the address clients use. Throws ESERVER when nobody answers there or what answers is
 * not Attestry, and the server's own error when it could not explain.
 */
export const askServer = async (server: string, id: PackageId): Promise<Explained> => {
  let url: URL
  try {
    url = new URL(`-/attestry/why/${id.name}@${id.version}`, server.replace(/\/*$/, '/'))
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
      headers: { accept: 'application/json' },
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
  if (status === 200 && isExplained(body)) return body
  const { code, message } = isRecord(body) ? body : {}
  if (isErrorCode(code) && typeof message === 'string')
    // the server says what to do as well, and so does whoever prints this error
    throw new AttestryError(
      code,
      `${from} says: ${message.replace(errorTable[code].todo, '').trim()}`,
    )
  throw new AttestryError('ESERVER', `${from} is no Attestry, or another version of it.`)
}
