/**
 * Bundles from a file, in the forms they are handed round in: one bundle, a list of them, one a
 * line, or a registry's attestations document. All become such a document, which is what the
 * examiner reads. Nothing is verified here.
 */
import { readFile, stat } from 'node:fs/promises'
import { AttestryError, messageOf } from '../../errors.ts'

export type BundleFile = {
  /** A registry's attestations document. */
  readonly document: Uint8Array
  /** What each statement calls itself, unverified. */
  readonly types: readonly string[]
}

/** As for what a registry answers. */
const LARGEST = 4 * 1024 * 1024

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const parseLines = (text: string): unknown => {
  const lines = text.split('\n').filter(line => line.trim() !== '')
  return lines.map(line => JSON.parse(line) as unknown)
}

/** JSON, or JSON one value a line. */
const parseText = (text: string, file: string): unknown => {
  try {
    return JSON.parse(text)
  } catch (error) {
    try {
      return parseLines(text)
    } catch {
      // the first complaint is about the file as a whole
      // it quotes what it read, line ends too
      const why = messageOf(error).replaceAll(/\s+/g, ' ')
      throw new AttestryError('EUSAGE', `${file}: it is not JSON: ${why}`)
    }
  }
}

const statementType = (bundle: Readonly<Record<string, unknown>>): string | undefined => {
  const envelope = isRecord(bundle['dsseEnvelope']) ? bundle['dsseEnvelope'] : {}
  const { payload } = envelope
  if (typeof payload !== 'string') return undefined
  try {
    const statement: unknown = JSON.parse(Buffer.from(payload, 'base64').toString('utf8'))
    const type = isRecord(statement) ? statement['predicateType'] : undefined
    return typeof type === 'string' ? type : undefined
  } catch {
    return undefined
  }
}

/** One element: a bundle, or a registry's `{predicateType, bundle}`. */
const entryOf = (value: unknown, place: string) => {
  const item = isRecord(value) ? value : {}
  const bundle = isRecord(item['bundle']) ? item['bundle'] : item
  if (typeof bundle['mediaType'] !== 'string')
    throw new AttestryError('EUSAGE', `${place}: no sigstore bundle; it has no "mediaType"`)
  const type = statementType(bundle)
  if (type === undefined)
    throw new AttestryError(
      'EUSAGE',
      `${place}: the bundle holds no in-toto statement in a DSSE envelope, which is what is verified here`,
    )
  const told = item['predicateType']
  return { predicateType: typeof told === 'string' ? told : type, bundle }
}

/** Throws EUSAGE, naming the file and which element of it. */
export const readBundles = async (file: string): Promise<BundleFile> => {
  const fail = (error: unknown): never => {
    throw new AttestryError('EUSAGE', `${file}: ${messageOf(error)}`, { cause: error })
  }
  const { size } = await stat(file).catch(fail)
  if (size > LARGEST)
    throw new AttestryError('EUSAGE', `${file}: ${size} bytes; at most ${LARGEST} are read`)
  const value = parseText(await readFile(file, 'utf8').catch(fail), file)
  const named = isRecord(value) && Array.isArray(value['attestations'])
  const list: readonly unknown[] = named
    ? (value['attestations'] as readonly unknown[])
    : Array.isArray(value)
      ? value
      : [value]
  if (list.length === 0) throw new AttestryError('EUSAGE', `${file}: there is no bundle in it`)
  const attestations = list.map((item, i) =>
    entryOf(item, list.length === 1 ? file : `${file}: element ${i + 1}`),
  )
  return {
    document: Buffer.from(JSON.stringify({ attestations })),
    types: attestations.map(({ predicateType }) => predicateType),
  }
}
