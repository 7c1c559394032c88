/** GET /:pkg/-/:file.tgz: the verdict first, then the bytes that were admitted. */
import type { ServerResponse } from 'node:http'
import type { Context } from 'koa'
import { AttestryError } from '../errors.ts'
import type { Admission } from '../gate/admissions.ts'
import type { Gate } from '../gate/gate.ts'
import type { Integrity, PackageId } from '../types.ts'
import { clientOf } from './client.ts'
import { matchesEtag, rangeOf } from './conditional.ts'
import type { Pump } from './pump.ts'
import { sendRefusal } from './send-refusal.ts'

/** Of the whole; what is said of a part beside it is its range. */
export const tarballHeaders = (
  integrity: Integrity,
  length: number,
): readonly (readonly [name: string, value: string])[] => [
  ['accept-ranges', 'bytes'],
  ['etag', `"${integrity}"`],
  ['cache-control', 'public, max-age=300'],
  ['content-type', 'application/octet-stream'],
  ['content-length', String(length)],
]

/** What answers itself, called when all headers are set. Rejects with what is no client's doing. */
export type Sending = (response: ServerResponse) => Promise<void>

/** False when the bytes were evicted in between. */
const sendBytes = async (
  ctx: Context,
  gate: Gate,
  { integrity, size }: NonNullable<Admission['blob']>,
  pump: Pump,
): Promise<boolean> => {
  const range = rangeOf(ctx.get('range'), size)
  if (range === 'unsatisfiable') {
    ctx.set('content-range', `bytes */${size}`)
    ctx.status = 416
    return true
  }
  const part = range ?? { start: 0, end: size - 1 }
  const found = ctx.method === 'HEAD' ? Buffer.alloc(0) : await gate.findBlob(integrity)
  if (!found) return false
  const length = part.end - part.start + 1
  ctx.status = range ? 206 : 200
  for (const [name, value] of tarballHeaders(integrity, length)) ctx.set(name, value)
  if (range) ctx.set('content-range', `bytes ${range.start}-${range.end}/${size}`)
  if (!Buffer.isBuffer(found)) {
    const sending: Sending = response => pump(found, part, response)
    ctx.state['sending'] = sending
  } else if (ctx.method !== 'HEAD') ctx.body = found.subarray(part.start, part.end + 1)
  ctx.length = length
  return true
}

export const sendTarball = async (
  ctx: Context,
  gate: Gate,
  id: PackageId,
  pump: Pump,
): Promise<void> => {
  const client = clientOf(ctx)
  // an eviction between the verdict and the reading is answered by bringing the bytes again, once
  for (let attempt = 0; attempt < 2; attempt++) {
    const { verdict, blob } = await gate.tarball(id, client)
    if (!blob) return sendRefusal(ctx, gate, verdict)
    if (matchesEtag(ctx.get('if-none-match'), `"${blob.integrity}"`)) {
      ctx.set('etag', `"${blob.integrity}"`)
      ctx.status = 304
      return
    }
    if (await sendBytes(ctx, gate, blob, pump)) return
    gate.forget(id)
  }
  throw new AttestryError(
    'ESTORE',
    `The bytes of ${id.name}@${id.version} do not stay in the store.`,
  )
}
