/** Asks a running Attestry for an explanation. */
import type { Why } from '../../gate/assessments.ts'
import type { Timeline } from '../../gate/timeline.ts'
import type { PackageId } from '../../types.ts'
import { askServer, isRecord, notAttestry } from '../server.ts'

export type Explained = Why & { readonly timeline?: Timeline }

/** As far as the report reads it without asking. */
const isExplained = (value: unknown): value is Explained =>
  isRecord(value) &&
  ['allow', 'refuse', 'unavailable'].includes(String(value['decision'])) &&
  isRecord(value['package']) &&
  isRecord(value['evidence']) &&
  ['reasons', 'layers', 'notes', 'addTo'].every(key => Array.isArray(value[key])) &&
  ['advice', 'lines', 'upstream'].every(key => typeof value[key] === 'string')

/** Throws what `askServer` throws; the server's own error when it could not explain. */
export const askWhy = async (server: string, id: PackageId): Promise<Explained> => {
  const body = await askServer(server, { path: `-/attestry/why/${id.name}@${id.version}` })
  if (isExplained(body)) return body
  throw notAttestry(server)
}
